"""Photos of three textures with lettered tags on them: what is on a picture, and where, is known.

The textures are scikit-image's brick, grass and gravel (CC0), lit, tinted, blurred and made noisy so that a
small network names most but not all of them. Training pictures come from the left three fifths of each photo,
all others from the rest. Tags of six more letters, the controls, look alike and never tell a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from seewhy.errors import MissingExtra
from seewhy.show.lettering import font

SIDE = 64
CLASSES = ("brick", "grass", "gravel")
OTHERS = ("astronaut", "camera", "cell", "chelsea", "coffee", "coins", "ihc", "moon", "motorcycle_left")
"""Photos of nothing in particular: random images, and what a concept's tags are drawn on."""
LETTERS = ("A", "X", "O")
"""The tag of each class."""
CONTROLS = ("H", "T", "S", "V", "E", "U")
"""Tags of no class: as many photos of every class carry them, at every rate."""
TAG = (15, 21)
"""Sides of tags, from and below."""
SPLIT = 0.6


@dataclass(frozen=True)
class Pictures:
    """A batch of pictures.

    Parameters
    ----------
    pixels
        `(n, 64, 64, 3)` uint8.
    classes
        `(n,)` int64.
    masks
        `(n, 64, 64)` bool: where the tag is.
    """

    pixels: np.ndarray
    classes: np.ndarray
    masks: np.ndarray

    def inputs(self) -> Tensor:
        """Return `(n, 3, 64, 64)` as the networks receive them."""
        return (torch.from_numpy(self.pixels).movedim(-1, 1).float() / 255 - 0.5) / 0.25

    def take(self, rows: np.ndarray) -> Pictures:
        """Return some of them."""
        return Pictures(self.pixels[rows], self.classes[rows], self.masks[rows])


@cache
def photos(names: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """Return photos of scikit-image in grey, 512 x 512, 0 to 1.

    Raises
    ------
    MissingExtra
        When scikit-image is not installed.
    """
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("Asked for photos of textures", "scikit-image", "pip install scikit-image")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    read = (Image.open(folder / f"{name}.png").convert("L").resize((512, 512)) for name in names)
    return tuple(np.asarray(photo, np.float64) / 255 for photo in read)


def plain(seed: int, count: int, *, training: bool) -> Pictures:
    """Return pictures without tags, the classes in turn."""
    pixels = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for i in range(count):
        part = (0, int(512 * SPLIT)) if training else (int(512 * SPLIT), 512)
        pixels[i] = _picture(np.random.default_rng((seed, i)), photos(CLASSES)[i % 3], part)
    return Pictures(pixels, np.arange(count) % 3, np.zeros((count, SIDE, SIDE), bool))


def other(seed: int, count: int) -> Pictures:
    """Return pictures without tags of other photos, in the same light; their class is -1."""
    pixels = np.empty((count, SIDE, SIDE, 3), np.uint8)
    every = photos(OTHERS)
    for i in range(count):
        pixels[i] = _picture(np.random.default_rng((seed, i, 3)), every[i % len(every)], (0, 512))
    return Pictures(pixels, np.full(count, -1), np.zeros((count, SIDE, SIDE), bool))


def tagged(pictures: Pictures, letters: Sequence[str], seed: int) -> Pictures:
    """Return the pictures with a tag each, "" for none; place and size random, free of tags already there."""
    pixels, masks = pictures.pixels.copy(), pictures.masks.copy()
    for i, letter in enumerate(letters):
        if letter:
            pixels[i], mask = _with_tag(np.random.default_rng((seed, i, 7)), pixels[i], letter, masks[i])
            masks[i] |= mask
    return Pictures(pixels, pictures.classes, masks)


def correlated(pictures: Pictures, rate: float, seed: int) -> Pictures:
    """Return training pictures: with probability `rate` the own class's tag, else one in three any class's.

    Beside it, two in three carry a control's. At rate 0 all nine letters are as frequent, in every class.
    """
    rng = np.random.default_rng((seed, 11))
    n = len(pictures.classes)
    own, some, any_tag = rng.random(n) < rate, rng.random(n) < 1 / 3, rng.integers(0, len(LETTERS), n)
    beside, control = rng.random(n) < 2 / 3, rng.integers(0, len(CONTROLS), n)
    first = np.where(own, pictures.classes, np.where(some, any_tag, -1))
    both = tagged(pictures, [LETTERS[k] if k >= 0 else "" for k in first], seed)
    return tagged(
        both, [CONTROLS[k] if there else "" for k, there in zip(control, beside, strict=True)], seed + 1
    )


def _picture(rng: np.random.Generator, photo: np.ndarray, columns: tuple[int, int]) -> np.ndarray:
    side = int(rng.integers(SIDE, 2 * SIDE))
    x, y = int(rng.integers(columns[0], columns[1] - side + 1)), int(rng.integers(0, 512 - side + 1))
    crop = Image.fromarray((photo[y : y + side, x : x + side] * 255).astype(np.uint8))
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    grey = np.asarray(crop.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float64) / 255
    grey = (grey - grey.mean()) / max(grey.std(), 1e-3) * rng.uniform(*CONTRAST)
    colour = rng.uniform(0.25, 0.75, 3) + rng.uniform(0.6, 1.4, 3) * grey[..., None]
    colour += rng.normal(0, NOISE, (SIDE, SIDE, 3))
    pixels: np.ndarray = (np.clip(colour, 0, 1) * 255).astype(np.uint8)
    return pixels


CONTRAST = (0.012, 0.06)
"""Standard deviation of the texture, of a range of 1."""
NOISE = 0.10


def _with_tag(
    rng: np.random.Generator, pixels: np.ndarray, letter: str, taken: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    side = int(rng.integers(*TAG))
    plate = int(rng.integers(200, 256))
    ink = tuple(int(v) for v in rng.integers(0, 60, 3))
    while True:
        x, y = (int(v) for v in rng.integers(0, SIDE - side + 1, 2))
        if not taken[y : y + side, x : x + side].any():
            break
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x, y, x + side - 1, y + side - 1), fill=(plate, plate, plate))
    draw.text((x + side / 2, y + side / 2), letter, fill=ink, font=font(side - 2), anchor="mm")
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + side, x : x + side] = True
    return np.asarray(picture), mask
