"""Where training images come from. Image `i` of a run follows from the seed and `i` alone.

So a batch equals its singles, and a run that was interrupted goes on with the images it would have seen.
Labels are never read: the explained model's own answers are the labels.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.inputs.images import SUFFIXES, as_photo, read_image
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.perturb.counters import uniform
from seewhy.types import Batch, Size

_CACHE = 4 << 30
"""Bytes of decoded images that are kept; beyond, images are decoded whenever they are drawn."""


class Source(ABC):
    """Training images, as inputs of the explained model."""

    @property
    @abstractmethod
    def shape(self) -> Size:
        """`(c, h, w)` of one input."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """What tells two sources apart: a checkpoint goes on with the source it was made with."""

    @abstractmethod
    def batch(self, seed: int, indices: Tensor) -> Batch:
        """Return `(k, c, h, w)` inputs number `indices`, `(k,)` int64, of a run, on their device."""

    @abstractmethod
    def held_out(self) -> Batch:
        """Return inputs that no `batch` ever shows; `(0, c, h, w)` where there are none."""


class Photos(Source):
    """Photos: resized, cut at random, mirrored; decoded once and kept as bytes where they fit.

    Parameters
    ----------
    photos
        Paths or PIL images, in a fixed order.
    look
        The explained model's preprocessing.
    held_out
        How many are set apart for looks; evenly spread over the order.
    mirror
        Whether half of the images are mirrored.
    """

    def __init__(
        self,
        photos: Sequence[Path | Image.Image],
        look: Preprocessing,
        held_out: int = 0,
        *,
        mirror: bool = True,
    ) -> None:
        if len(photos) < held_out + 2:
            raise BadInput(
                f"Asked to train on photos with {held_out} held out",
                f"Found {len(photos)}",
                "Give more photos, or hold out fewer",
            )
        apart = {i * len(photos) // held_out for i in range(held_out)} if held_out else set()
        self.look, self.mirror = look, mirror
        self.apart = [photos[i] for i in sorted(apart)]
        self.photos = [p for i, p in enumerate(photos) if i not in apart]
        self.classes: list[Tensor] = []
        self._kept: dict[int, Tensor] = {}
        self._bytes = 0

    @property
    def shape(self) -> Size:
        """See `Source.shape`."""
        return (len(self.look.mean), *self.look.size)

    @property
    def fingerprint(self) -> str:
        """See `Source.fingerprint`: names and sizes of files, or the pixels of images."""
        sha = hashlib.sha256(f"{len(self.photos)} {self.mirror} {self.look.to_json()}".encode())
        for photo in (*self.photos, *self.apart):
            sha.update(
                photo.tobytes()
                if isinstance(photo, Image.Image)
                else f"{photo.name} {photo.stat().st_size}".encode()
            )
        return sha.hexdigest()[:16]

    def batch(self, seed: int, indices: Tensor) -> Batch:
        """See `Source.batch`."""
        draws = uniform(seed, indices.cpu(), 5).tolist()
        each = [
            self._cut(self.pixels(which), *draw[:3])
            for which, draw in zip(self._which(seed, indices.tolist(), draws), draws, strict=True)
        ]
        return self._prepared(torch.stack(each).to(indices.device))

    def held_out(self) -> Batch:
        """See `Source.held_out`: whole, as the model's own preprocessing cuts them."""
        if not self.apart:
            return torch.empty(0, *self.shape)
        return torch.stack([self.look(_opened(photo)) for photo in self.apart])

    def balance(self, model: Model, execution: Execution) -> None:
        """Draw classes alike from now on, and photos alike within a class: the model is asked about each."""
        answers = []
        with model.untouched(execution.device), torch.no_grad():
            for start in range(0, len(self.photos), 32):
                execution.step(start, len(self.photos), "asking the model about the photos")
                x = torch.stack([self.look(_opened(p)) for p in self.photos[start : start + 32]])
                answers.append(model.answer(x).output.argmax(1).cpu())
        found = torch.cat(answers)
        self.classes = [(found == c).nonzero()[:, 0] for c in found.unique()]

    def _which(self, seed: int, indices: list[int], draws: list[list[float]]) -> list[int]:
        if self.classes:
            groups = [self.classes[int(d[3] * len(self.classes))] for d in draws]
            return [int(g[int(d[4] * len(g))]) for g, d in zip(groups, draws, strict=True)]
        count = len(self.photos)
        orders = {e: self._order(seed, e) for e in {i // count for i in indices}}
        return [int(orders[i // count][i % count]) for i in indices]

    def _order(self, seed: int, epoch: int) -> Tensor:
        count = len(self.photos)
        return uniform(~seed, torch.arange(count) + epoch * count, 1)[:, 0].argsort(stable=True)

    def pixels(self, which: int) -> Tensor:
        """Return `(c, h, w)` uint8 of a photo, its shorter side resized, not yet cut."""
        if which in self._kept:
            return self._kept[which]
        mode = "RGB" if len(self.look.mean) == 3 else "L"
        photo = as_photo(_opened(self.photos[which])).convert(mode)
        height, width = self.look.size
        goal = self.look.resize
        margin = (goal if isinstance(goal, int) else min(goal) if goal else min(height, width) * 8 / 7) / min(
            height, width
        )
        factor = max(height * margin / photo.height, width * margin / photo.width)
        size = max(width, round(photo.width * factor)), max(height, round(photo.height * factor))
        array = np.array(photo.resize(size, Image.Resampling[self.look.interpolation.upper()]))
        t = torch.from_numpy(array).reshape(*array.shape[:2], -1).permute(2, 0, 1).contiguous()
        if self._bytes + t.numel() <= _CACHE:
            self._kept[which], self._bytes = t, self._bytes + t.numel()
        return t

    def _cut(self, pixels: Tensor, down: float, across: float, side: float) -> Tensor:
        height, width = self.look.size
        top, left = int(down * (pixels.shape[1] - height + 1)), int(across * (pixels.shape[2] - width + 1))
        cut = pixels[:, top : top + height, left : left + width]
        return cut.flip(-1) if self.mirror and side < 0.5 else cut

    def _prepared(self, pixels: Tensor) -> Batch:
        mean, std = (
            torch.tensor(v, device=pixels.device).reshape(1, -1, 1, 1)
            for v in (self.look.mean, self.look.std)
        )
        return (pixels.float() * self.look.scale - mean) / std


def folder(path: str | Path, model: Model, held_out: int = 0) -> Photos:
    """Return the photos below a folder, in order of name, for training with a model.

    Raises
    ------
    BadInput
        When there are too few, or the model has no preprocessing of images.
    """
    root = Path(path)
    if not root.is_dir():
        raise BadInput(f"Asked to train on the photos in {root}", "There is no such folder", "Check the path")
    found = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return photos(found, model, held_out)


def photos(found: Iterable[Path | Image.Image], model: Model, held_out: int = 0) -> Photos:
    """Return paths or PIL images as a source for training with a model; see `folder`."""
    look: Any = model.preprocess
    if look is None or look.frames is not None or look.fit == "none":
        raise BadInput(
            f"Asked to train an explainer of {model.name} on photos",
            "It has no preprocessing that brings photos to one size",
            "Give Model(module, preprocess=Preprocessing(...)), or a Source of tensors in Python",
        )
    return Photos(list(found), look, held_out)


def _opened(photo: Path | Image.Image) -> Image.Image:
    return photo if isinstance(photo, Image.Image) else read_image(photo)
