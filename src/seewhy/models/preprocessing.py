"""From a photo or clip to the tensor that a network expects, and back to display pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, floor
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seewhy.errors import BadInput
from seewhy.inputs.images import as_photo
from seewhy.types import Json, Size

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Fit = Literal["crop", "squash", "pad", "none"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop, scale to [0, 1], normalise: the four steps of nearly every vision model.

    Parameters
    ----------
    size
        Height and width in pixels that the model receives.
    fit
        How the photo is brought to `size`; what then overlaps is cut off around the centre, what is missing
        is filled. "crop": keep the aspect ratio, cover. "pad": keep the aspect ratio, everything visible,
        bars in the mean colour. "squash": lose the aspect ratio. "none": keep the photo's own size.
    resize
        What the photo is resized to before the centre is cut out. An int is the length of the shorter edge
        (fit "crop"); a pair (height, width) is covered ("crop"), fitted into ("pad") or met ("squash"). None
        means `size`.
    interpolation
        PIL filter of the resizing.
    mean, std
        Per channel, on the scale that `scale` leads to.
    scale
        Factor from 8-bit values to the scale of `mean`: 1/255, or 1/127.5 with mean 1 in some TF models.
    antialias
        Whether shrinking averages over all source pixels. Video models of torchvision do without.
    centre
        Where an odd number of pixels is to be cut away: "even" rounds the half to even as torchvision and
        timm do, "down" takes the smaller half first as transformers does.
    frames
        Frames of a clip for video models; None for models of single images.
    """

    size: Size = (224, 224)
    fit: Fit = "crop"
    resize: int | Size | None = None
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    scale: float = 1 / 255
    antialias: bool = True
    centre: Literal["even", "down"] = "even"
    frames: int | None = None

    def __post_init__(self) -> None:
        asked = "Asked for a preprocessing"
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3) or any(s <= 0 for s in self.std):
            raise BadInput(
                asked,
                f"Found mean {self.mean} and std {self.std}",
                "Give one mean and one positive deviation a channel, for 1 or 3 channels",
            )
        pairs = (
            [self.size] if self.resize is None or isinstance(self.resize, int) else [self.size, self.resize]
        )
        if any(len(p) != 2 or min(p) < 1 for p in pairs) or (
            isinstance(self.resize, int) and self.resize < 1
        ):
            raise BadInput(
                asked, f"Found size {self.size} and resize {self.resize}", "Give (height, width) in pixels"
            )
        if isinstance(self.resize, int) and self.fit in ("squash", "pad"):
            raise BadInput(
                asked, f"Found fit {self.fit!r} with resize {self.resize}", "Give resize as (height, width)"
            )
        if self.frames is not None and self.frames < 1:
            raise BadInput(asked, f"Found {self.frames} frames", "Give at least one")
        if not self.antialias and self.interpolation not in ("nearest", "bilinear", "bicubic"):
            raise BadInput(
                asked, f"Found {self.interpolation} without antialiasing", "Use nearest, bilinear or bicubic"
            )

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the `(c, h, w)` float32 tensor of one photo of any mode (see `inputs.images.as_photo`)."""
        pixels = np.array(self.frame(image), dtype=np.float32)
        array = torch.from_numpy(pixels) * self.scale
        channels = array.permute(2, 0, 1) if array.ndim == 3 else array[None]
        return ((channels - self._column(self.mean)) / self._column(self.std)).contiguous()

    def clip(self, frames: Sequence[Image.Image]) -> Tensor:
        """Return the `(c, t, h, w)` float32 tensor of the frames of one clip.

        Raises
        ------
        BadInput
            When there are no frames, or their sizes differ.
        """
        if not frames:
            raise BadInput("Asked to read a clip", "It has no frames", "Give at least one")
        if len({f.size for f in frames}) > 1:
            raise BadInput("Asked to read a clip", "Its frames differ in size", "Give frames of one size")
        return torch.stack([self(f) for f in frames], 1)

    def frame(self, image: Image.Image) -> Image.Image:
        """Return the part of the photo that the model sees, at the size at which it sees it, "RGB" or "L"."""
        image = as_photo(image).convert("RGB" if len(self.mean) == 3 else "L")
        if self.fit == "none":
            return image
        height, width = self._resized(image.height, image.width)
        return self._cut(self._resize(image, max(height, 1), max(width, 1)))

    def finely(self, image: Image.Image, most: int) -> Image.Image:
        """Return `frame` in as much detail as the photo has: for pictures, not for models.

        Parameters
        ----------
        image
            Of any mode.
        most
            Longest side in pixels; it is passed where `size` is longer.

        Returns
        -------
        PIL.Image.Image
            A whole multiple of `size` (fit "none": the photo itself), "RGB" or "L".
        """
        image = as_photo(image)
        if self.fit == "none":
            return self.frame(image)
        height, width = self._grown(image.height, image.width)
        detail = ceil(max(image.height / height, image.width / width))
        factor = max(min(detail, most // max(self.size)), 1)
        return self.at((factor * self.size[0], factor * self.size[1])).frame(image)

    def mask(self, image: Image.Image) -> Tensor:
        """Return `(h, w)` bool: which pixels of the model's input show a pixel of the mask.

        The mask is resized and cut as a photo of its size is, but without interpolation: each pixel takes the
        nearest one's value. What lies beside the photo is False.

        Parameters
        ----------
        image
            Mode "L": 0 for outside, anything else for inside (see `inputs.masks.read_mask`).
        """
        plain = replace(self, interpolation="nearest", antialias=True, mean=(0.0,), std=(1.0,), scale=1.0)
        return torch.from_numpy(np.array(plain.frame(image)) > 0)

    def fixations(self, image: Image.Image) -> Tensor:
        """Return `(h, w)` bool: the pixels of the model's input in which a fixated pixel comes to lie.

        However small the photo becomes, none is lost but those that are cut away.

        Parameters
        ----------
        image
            Mode "L": anything but 0 where somebody looked.
        """
        there = np.array(image) > 0
        height, width = self._grown(*there.shape)
        rows, columns = np.nonzero(there)
        grown = np.zeros((height, width), dtype=np.uint8)
        grown[
            ((rows + 0.5) * height / there.shape[0]).astype(int),
            ((columns + 0.5) * width / there.shape[1]).astype(int),
        ] = 255
        return torch.from_numpy(np.array(self._seen(Image.fromarray(grown))) > 0)

    def density(self, image: Image.Image) -> Tensor:
        """Return `(h, w)` float32: a density of fixations where the model sees the photo, 0 beside it.

        Parameters
        ----------
        image
            Mode "F", none negative.
        """
        height, width = self._grown(image.height, image.width)
        grown = image.resize((width, height), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(self._seen(grown), dtype=np.float32))

    def _grown(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of a photo of `(height, width)` before it is cut."""
        if self.fit == "none":
            return height, width
        height, width = self._resized(height, width)
        return max(height, 1), max(width, 1)

    def _seen(self, grown: Image.Image) -> Image.Image:
        """Cut what is not a photo as a photo of its size is; 0 beside it."""
        plain = replace(self, mean=(0.0,), std=(1.0,), scale=1.0)
        return grown if self.fit == "none" else plain._cut(grown)

    def display(self, x: Tensor) -> Tensor:
        """Return `(c, *size)` model input as uint8 pixels of its shape: `__call__` undone, but rounded."""
        mean, std = (
            self._column(v).reshape(-1, *[1] * (x.ndim - 1)).to(x.device) for v in (self.mean, self.std)
        )
        pixels = x.detach().float() * std
        return pixels.add_(mean).div_(self.scale).round_().clamp_(0, 255).to(torch.uint8)

    def normalised(self, level: float) -> Tensor:
        """Return, per channel `(c,)`, the model-input value of a grey level on the 0..255 scale."""
        return (level * self.scale - torch.tensor(self.mean)) / torch.tensor(self.std)

    def at(self, size: Size) -> Preprocessing:
        """Return the same for another `(height, width)`; the share of the photo that is cut away stays."""
        if self.resize is None:
            return replace(self, size=size)
        before = (self.resize,) * 2 if isinstance(self.resize, int) else self.resize
        if isinstance(self.resize, int):
            before = (
                self.resize * self.size[0] // min(self.size),
                self.resize * self.size[1] // min(self.size),
            )
        grown = tuple(
            floor(new * b / old + 1e-9) for new, b, old in zip(size, before, self.size, strict=True)
        )
        simple = isinstance(self.resize, int) and size[0] == size[1]
        return replace(self, size=size, resize=grown[0] if simple else grown)

    def to_json(self) -> Json:
        """Return the parameters as plain JSON, for provenance."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, parameters: Json) -> Preprocessing:
        """Return what `to_json` was called on."""
        plain: Json = {k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()}
        return cls(**plain)

    def _resized(self, h: int, w: int) -> tuple[int, int]:
        """Return the `(height, width)` before the centre is cut out."""
        goal = self.resize
        if goal is None:
            goal = min(self.size) if self.fit == "crop" and self.size[0] == self.size[1] else self.size
        if isinstance(goal, int):
            # The longer edge is truncated, not rounded, as torchvision, timm and transformers do.
            return (int(goal * h / w), goal) if w <= h else (goal, int(goal * w / h))
        if self.fit == "squash":
            return goal[0], goal[1]
        ratios = h / goal[0], w / goal[1]
        ratio = max(ratios) if self.fit == "pad" else min(ratios)
        return round(h / ratio), round(w / ratio)

    def _resize(self, image: Image.Image, height: int, width: int) -> Image.Image:
        if (image.height, image.width) == (height, width):
            return image
        if self.antialias:
            return image.resize((width, height), Image.Resampling[self.interpolation.upper()])
        levels = torch.from_numpy(np.array(image, dtype=np.float32)).reshape(image.height, image.width, -1)
        kind = {} if self.interpolation == "nearest" else {"align_corners": False}
        resized = torch.nn.functional.interpolate(
            levels.permute(2, 0, 1)[None], (height, width), mode=self.interpolation, **kind
        )[0]
        pixels = resized.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])

    def _cut(self, image: Image.Image) -> Image.Image:
        """Cut `size` out of the centre; where the image is smaller, fill: black, or for "pad" the mean."""
        (height, width), (w, h) = self.size, image.size
        if h < height or w < width:
            colour = (
                tuple(round(m / self.scale) for m in self.mean)
                if self.fit == "pad"
                else (0,) * len(self.mean)
            )
            canvas = Image.new(
                image.mode, (max(w, width), max(h, height)), colour if len(colour) == 3 else colour[0]
            )
            # Of an odd margin the larger half goes below and to the right, as in torchvision.
            canvas.paste(image, (max(width - w, 0) // 2, max(height - h, 0) // 2))
            image, (w, h) = canvas, canvas.size
        halve = round if self.centre == "even" else floor
        left, top = halve((w - width) / 2), halve((h - height) / 2)
        return image.crop((left, top, left + width, top + height))

    @staticmethod
    def _column(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)
