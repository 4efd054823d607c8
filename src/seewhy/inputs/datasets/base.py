"""Data sets: a fixed list of named samples, each read when it is asked for.

A spec is a folder (`photos`), or `family:WHERE` (`coco:instances.json?images=DIR`), with options
`?key=value&key=value`. Nothing is read when a data set is opened but the list of what is there, so that one
damaged photo costs itself and not the run.
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

from PIL.Image import Image

from seewhy.errors import BadInput, UnknownName
from seewhy.registry import Registry

Offer = Literal["target", "truth"]
"""What a data set may know of its samples besides the photo: see `Sample`."""


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
        """Return the data set at `where`; the keywords of the options, all strings, follow it."""


DATASETS: Registry[Family] = Registry("kind of data set", "seewhy.inputs.datasets")


def open_dataset(spec: str) -> Dataset:
    """Return the data set of a spec.

    Raises
    ------
    UnknownName
        For a family or option that does not exist.
    BadInput
        For a folder or file that is missing, or a data set without samples.
    """
    head, _, tail = spec.partition("?")
    family, colon, where = head.partition(":")
    if not colon or len(family) < 2 or "/" in family:  # a folder, also one on a drive of Windows
        family, where = "folder", head
    opened = DATASETS[family].open
    known = list(inspect.signature(opened).parameters)[1:]
    options: dict[str, str] = {}
    for option in filter(None, tail.split("&")):
        key, equals, text = option.partition("=")
        if not (key and equals and text):
            raise BadInput(
                f"Asked for the data {spec!r}", f"The option {option!r} has no value", "Write ?key=value"
            )
        if key not in known:
            raise UnknownName(f"option of {family}", key, known)
        options[key] = text
    dataset = opened(where, **options)
    if not len(dataset):
        raise BadInput(
            f"Asked for the data {spec!r}", "There is no sample", f"As in {DATASETS[family].example}"
        )
    return dataset


def fingerprint(dataset: Dataset, count: int | None = None) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the names of the first `count` samples."""
    digest = hashlib.sha256()
    for i in range(len(dataset) if count is None else count):
        digest.update(dataset.name(i).encode(errors="surrogateescape") + b"\0")
    return digest.hexdigest()[:16]
