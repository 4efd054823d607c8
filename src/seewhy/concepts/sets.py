"""Sets of example images: of a concept, of nothing in particular (random), or of a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seewhy.errors import BadInput, did_you_mean, nearest
from seewhy.inputs.batch import Inputs
from seewhy.inputs.images import SUFFIXES
from seewhy.models.model import Model

FEWEST = 6
"""Images of a concept, and random ones, below which nothing can be fitted and held out."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images under one name. They are read when they are needed, a batch at a time.

    Parameters
    ----------
    name
        Of the concept or class.
    source
        A normalised tensor `(n, c, *size)`, or paths and PIL images.
    """

    name: str
    source: Tensor | tuple[Any, ...]

    def __post_init__(self) -> None:
        if len(self.source) == 0:
            raise BadInput(f"Asked for the images of {self.name!r}", "There is none", "Give at least one")
        if isinstance(self.source, Tensor):
            Inputs.of(self.source)

    def __len__(self) -> int:
        return len(self.source)

    @classmethod
    def of(cls, name: str, source: Any) -> ImageSet:
        """Return whatever `source` is as a set: one already, a folder, a tensor, images, paths or one path.

        Raises
        ------
        BadInput
            For a folder that is missing or holds no photo.
        """
        if isinstance(source, ImageSet):
            return source
        if isinstance(source, str | Path) and Path(source).is_dir():
            return cls.read(source, name)
        if isinstance(source, Tensor):
            return cls(name, source if source.ndim > 3 else source[None])
        alone = isinstance(source, str | Path) or not isinstance(source, Sequence)
        return cls(name, (source,) if alone else tuple(source))

    @classmethod
    def read(cls, folder: str | Path, name: str = "") -> ImageSet:
        """Return the photos directly in a folder, in order of name, under the folder's name.

        Raises
        ------
        BadInput
            When the folder is missing or holds no photo.
        """
        folder = Path(folder)
        asked = f"Asked for the images in {folder}"
        if not folder.is_dir():
            beside = [p.name for p in folder.parent.iterdir()] if folder.parent.is_dir() else []
            raise BadInput(
                asked, "There is no such folder", did_you_mean(nearest(folder.name, beside)) or "Check it"
            )
        files = _photos(folder)
        if not files:
            raise BadInput(asked, "It holds no photo", f"Put photos there ({', '.join(SUFFIXES[:4])} ...)")
        return cls(name or folder.name, tuple(files))

    def take(self, rows: Sequence[int]) -> ImageSet:
        """Return the images at `rows`, in that order."""
        if isinstance(self.source, Tensor):
            return ImageSet(self.name, self.source[torch.as_tensor(list(rows))])
        return ImageSet(self.name, tuple(self.source[i] for i in rows))

    def prepared(self, model: Model, start: int, stop: int) -> Inputs:
        """Return images `start .. stop` as the model receives them."""
        part = self.source[start:stop]
        if isinstance(part, Tensor):
            return Inputs(part, tuple(f"{self.name} {i}" for i in range(start, start + len(part))))
        batch = model.prepare(list(part))
        paths = isinstance(part[0], str | Path)
        names = batch.names if paths else tuple(f"{self.name} {i}" for i in range(start, start + len(part)))
        return Inputs(batch.tensor, names)


def read_sets(folder: str | Path) -> tuple[ImageSet, ...]:
    """Return the sub-folders that hold photos, one set each, in order of name; or the folder itself as one.

    Raises
    ------
    BadInput
        When there is no photo.
    """
    folder = Path(folder)
    if folder.is_dir():
        inside = [p for p in sorted(folder.iterdir()) if p.is_dir() and _photos(p)]
        if inside:
            return tuple(ImageSet.read(p) for p in inside)
    return (ImageSet.read(folder),)


def pooled(name: str, sets: Sequence[ImageSet]) -> ImageSet:
    """Return several sets as one: tensors joined, paths one after the other."""
    tensors = [s.source for s in sets if isinstance(s.source, Tensor)]
    if len(tensors) == len(sets):
        return ImageSet(name, torch.cat(tensors))
    return ImageSet(name, tuple(image for s in sets for image in s.source))


def named_sets(concepts: Mapping[str, Any] | Sequence[ImageSet]) -> list[ImageSet]:
    """Return concepts as sets with names of their own.

    Raises
    ------
    BadInput
        For no concept, one of too few images, or two of one name.
    """
    items = [ImageSet.of(k, v) for k, v in concepts.items()] if isinstance(concepts, Mapping) else concepts
    names = [c.name for c in items]
    if not names:
        raise BadInput("Asked for concepts", "There is none", "Give at least one folder of examples")
    if twice := {n for n in names if names.count(n) > 1}:
        raise BadInput("Asked for concepts", f"{sorted(twice)} come twice", "Give each a name of its own")
    for c in items:
        _enough(c, "concept")
    return list(items)


def random_set(random: Any) -> ImageSet:
    """Return random images as one set, several pooled; refuse too few."""
    if isinstance(random, Sequence) and random and all(isinstance(r, ImageSet) for r in random):
        random = pooled("random", random)
    chance = ImageSet.of("random", random)
    _enough(chance, "random set")
    return chance


def _enough(images: ImageSet, what: str) -> None:
    if len(images) < FEWEST:
        raise BadInput(
            f"Asked for the {what} {images.name!r}",
            f"It has {len(images)} images",
            f"Give at least {FEWEST}; 50 or more are usual",
        )


def _photos(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
