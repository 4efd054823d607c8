"""Data sets: a fixed list of named samples, each read when it is asked for.

Nothing is read when a data set is opened but the list of what is there, so that one damaged photo costs
itself and not the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol, runtime_checkable

from PIL.Image import Image

from seewhy.errors import UnreadableInput, did_you_mean, nearest
from seewhy.registry import Registry

Offer = Literal["target", "truth"]
"""What a data set may know of its samples besides the photo: see `Sample`."""


@dataclass(frozen=True)
class Category:
    """What an object or photo is, in the words of the data set.

    Parameters
    ----------
    name
        As the data set spells it.
    index
        Its number, where the data set counts its classes from 0 as a classifier does; None elsewhere.
    classes
        How many classes it counts then; 0 where that is not known.
    """

    name: str
    index: int | None = None
    classes: int = 0


@dataclass(frozen=True)
class Sample:
    """One photo, and what is known of it.

    Parameters
    ----------
    image
        The photo: mode "RGB" or "L", upright (see `read_image`).
    target
        Index or label of its class; None where it is not known.
    truth
        Mode "L", of the photo's size: 0 where there is no evidence for the target. Boxes come filled.
    """

    image: Image
    target: int | str | None = None
    truth: Image | None = None


@runtime_checkable
class Dataset(Protocol):
    """A fixed list of samples.

    Opened anew by every worker from the same spec, so the order must follow from the files alone.
    """

    @property
    def offers(self) -> frozenset[Offer]:
        """What at least some samples have besides the photo."""

    def __len__(self) -> int:
        """Return how many samples there are."""

    def name(self, i: int) -> str:
        """Return the name of sample `i`: the same in every run, no other sample has it."""

    def category(self, i: int) -> Category | None:
        """Return what sample `i` shows, without reading it; None where that is not known."""

    def load(self, i: int) -> Sample:
        """Read sample `i`.

        Raises
        ------
        BadInput
            For a file that cannot be read; other samples are not touched by it.
        """


class Family(Protocol):
    """A way in which data lie on disks: what a reader registers."""

    name: ClassVar[str]
    """What stands before the colon of a spec."""
    example: ClassVar[str]
    """A spec."""

    @staticmethod
    def open(where: str) -> Dataset:
        """Return the data set at `where`.

        More keywords, each with a default of its type, are the options of the spec; `**rest` takes the rest.
        """


DATASETS: Registry[Family] = Registry("kind of data set", "seewhy.inputs.datasets")


def fingerprint(dataset: Dataset, count: int | None = None) -> str:
    """Return 16 hexadecimal digits that stand for the names and categories of the first `count` samples."""
    digest = hashlib.sha256()
    for i in range(len(dataset) if count is None else count):
        known = dataset.category(i)
        told = "" if known is None else f"{known.name}\0{known.index}"
        digest.update(f"{dataset.name(i)}\0{told}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def existing(path: str | Path, asked: str, what: str, *, folder: bool) -> Path:
    """Return `path` if it is there and is a folder (or, else, a file).

    Raises
    ------
    UnreadableInput
        When it is missing, with names beside it that look like it, or is the other.
    """
    path = Path(path)
    noun = "folder" if folder else "file"
    if not path.exists():
        near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else []
        raise UnreadableInput(
            asked, f"There is no such {what}: {path}", did_you_mean(near) or f"Give the path of a {noun}"
        )
    if path.is_dir() != folder:
        raise UnreadableInput(
            asked, f"{path} is a {'folder' if path.is_dir() else 'file'}", f"Give a {noun} for the {what}"
        )
    return path


def inside(folder: Path, name: str, asked: str) -> Path:
    """Return the path of a file that a listing names, which must lie below `folder`.

    Raises
    ------
    UnreadableInput
        For a name that leads elsewhere.
    """
    relative = Path(name)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise UnreadableInput(asked, f"The file name {name!r} leads out of {folder}", "Correct the listing")
    return folder / relative


def all_there(files: Sequence[Path], asked: str, what: str, do: str) -> None:
    """Check that every file of a listing is there.

    Raises
    ------
    UnreadableInput
        With the first that is missing, and how many are.
    """
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UnreadableInput(
            asked, f"{len(missing)} of {len(files)} {what} are missing, the first of them {missing[0]}", do
        )
