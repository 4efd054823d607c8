"""From a photo to the tensor that a network expects, and back to display pixels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seewhy.errors import BadInput
from seewhy.types import Json, Size

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Fit = Literal["crop", "squash", "none"]

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
        "crop": resize so that the shorter edge measures `resize` pixels, then cut `size` out of the centre.
        "squash": resize to `size`, aspect ratio lost. "none": keep the photo's own size.
    resize
        Shorter edge before the crop, in pixels; None means the shorter edge of `size`.
    interpolation
        PIL filter of the resizing (always antialiased).
    mean, std
        Per channel, on the [0, 1] scale.
    scale
        Factor from 8-bit values to the scale of `mean`: 1/255, or 1/127.5 with mean 1 in some TF models.
    """

    size: Size = (224, 224)
    fit: Fit = "crop"
    resize: int | None = None
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    scale: float = 1 / 255

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or any(s <= 0 for s in self.std):
            raise BadInput("Asked for a preprocessing", f"Found mean {self.mean} and std {self.std}",
                           "Give as many positive deviations as means")

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the `(c, h, w)` float32 tensor of one RGB (or, for one mean, greyscale) photo."""
        pixels = self.frame(image.convert("RGB" if len(self.mean) == 3 else "L"))
        array = torch.from_numpy(np.array(pixels, dtype=np.float32)) * self.scale
        channels = array.permute(2, 0, 1) if array.ndim == 3 else array[None]
        return (channels - self._column(self.mean)) / self._column(self.std)

    def frame(self, image: Image.Image) -> Image.Image:
        """Return the part of the photo that the model sees, at the size at which it sees it."""
        if self.fit == "none":
            return image
        filter_ = Image.Resampling[self.interpolation.upper()]
        height, width = self.size
        if self.fit == "squash":
            return image.resize((width, height), filter_)
        shorter = self.resize or min(height, width)
        w, h = image.size
        ratio = shorter / min(w, h)
        # The longer edge is truncated, not rounded, as torchvision and timm do.
        w, h = (shorter, int(shorter * h / w)) if w <= h else (int(shorter * w / h), shorter)
        image = image.resize((max(w, 1), max(h, 1)), filter_) if ratio != 1 else image
        left, top = round((image.width - width) / 2), round((image.height - height) / 2)
        return image.crop((left, top, left + width, top + height))

    def display(self, x: Tensor) -> Tensor:
        """Return `(c, *size)` model input as uint8 pixels of the same shape: the inverse of `__call__` up to rounding."""
        mean, std = (self._column(v).reshape(-1, *[1] * (x.ndim - 1)) for v in (self.mean, self.std))
        return ((x.detach().float().cpu() * std + mean) / self.scale).round().clamp(0, 255).to(torch.uint8)

    def normalised(self, level: float) -> Tensor:
        """Return, per channel `(c,)`, the model-input value of a grey level on the 0..255 scale."""
        return (level * self.scale - torch.tensor(self.mean)) / torch.tensor(self.std)

    def to_json(self) -> Json:
        """Return the parameters as plain JSON, for provenance."""
        return asdict(self)

    @staticmethod
    def _column(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)
