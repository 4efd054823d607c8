"""Composites: cut-outs at random places of real photos, so that the object's outline is known to the pixel.

Scene `i` of a seed is the same on every machine. The middle of an object falls anywhere in the picture with
the same chance, and what sticks out is cut off (at least 60 % stays): the centre of the picture is no gift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from benchmarks.ground_truth.stamps import CutOut
from seewhy.errors import MissingExtra
from seewhy.inputs.images import read_image
from seewhy.perturb.counters import uniform

SIDE, VISIBLE, TRIES = 224, 0.6, 16
SCALE = {1: 0.55, 2: 0.5}
"""Longer side of an object over the picture's, by the number of objects."""
_BACKGROUNDS = {
    "skimage": (
        "scikit-image",
        "data",
        "brick.png",
        "grass.png",
        "gravel.png",
        "hubble_deep_field.jpg",
        "ihc.png",
    ),
    "sklearn": ("scikit-learn", "datasets/images", "china.jpg", "flower.jpg"),
}


@dataclass(frozen=True)
class Scene:
    """One composite.

    Parameters
    ----------
    name, photo
        What is on it and its number; the photo behind.
    picture
        RGB, 224 x 224.
    classes
        The class of each object.
    masks
        `(objects, 224, 224)` bool, where each is; they do not overlap.
    """

    name: str
    photo: str
    picture: Image.Image
    classes: tuple[int, ...]
    masks: np.ndarray


def backgrounds() -> dict[str, Image.Image]:
    """Return real photos by name: walls, lawn, gravel, sky, tissue, a palace, flowers.

    Raises
    ------
    MissingExtra
        When scikit-image or scikit-learn, whose photos these are, is not installed.
    """
    found = {}
    for package, (install, folder, *files) in _BACKGROUNDS.items():
        spec = find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        if not places:
            raise MissingExtra("Asked for photos as backgrounds", install, f"pip install {install}")
        for file in files:
            found[Path(file).stem] = read_image(Path(places[0]) / folder / file).convert("RGB")
    return found


def scene(
    seed: int, index: int, objects: int, cut_outs: Sequence[CutOut], photos: dict[str, Image.Image]
) -> Scene | None:
    """Return composite `index` of a seed with one or two objects of different classes.

    None where no place was found for two that do not overlap.
    """
    for attempt in range(TRIES):
        u = iter(uniform(seed, torch.tensor([index * TRIES + attempt]), 5 + 3 * objects)[0].tolist())
        name = sorted(photos)[int(next(u) * len(photos))]
        canvas = _window(photos[name], next(u), next(u), next(u), mirrored=next(u) < 0.5)
        chosen, masks = [], []
        for _ in range(objects):
            thing = cut_outs[int(next(u) * len(cut_outs))]
            masks.append(_paste(canvas, thing, SCALE[objects], next(u), next(u)))
            chosen.append(thing)
        different = len({thing.index for thing in chosen}) == objects
        if different and all(m is not None for m in masks) and np.sum(masks, 0).max() <= 1:
            title = f"{' and '.join(thing.name for thing in chosen)} on {name}, scene {index}"
            return Scene(title, name, canvas, tuple(thing.index for thing in chosen), np.stack(masks))
    return None


def _window(photo: Image.Image, size: float, x: float, y: float, *, mirrored: bool) -> Image.Image:
    """Return a square of the photo, half to all of its shorter side, resized."""
    side = round(min(photo.size) * (0.5 + 0.5 * size))
    left, top = round(x * (photo.width - side)), round(y * (photo.height - side))
    cut = photo.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return ImageOps.mirror(cut) if mirrored else cut


def _paste(canvas: Image.Image, thing: CutOut, scale: float, x: float, y: float) -> np.ndarray | None:
    """Paste an object around (x, y), shares of the picture; return its mask, or None if too little shows."""
    factor = scale * SIDE / max(thing.picture.size)
    size = (max(1, round(thing.picture.width * factor)), max(1, round(thing.picture.height * factor)))
    picture = thing.picture.resize(size, Image.Resampling.LANCZOS)
    opaque = np.asarray(picture.getchannel("A")) > 127
    left, top = round(x * SIDE - size[0] / 2), round(y * SIDE - size[1] / 2)
    mask = np.zeros((SIDE, SIDE), bool)
    rows, columns = slice(max(0, top), top + size[1]), slice(max(0, left), left + size[0])
    shown = opaque[rows.start - top : SIDE - top, columns.start - left : SIDE - left]
    if shown.sum() < VISIBLE * opaque.sum():
        return None
    mask[rows, columns][: shown.shape[0], : shown.shape[1]] = shown
    canvas.paste(picture, (left, top), picture)
    return mask
