"""The files of MNIST and its relatives: `idx:t10k-images-idx3-ubyte.gz?labels=t10k-labels-idx1-ubyte.gz`.

Both may be packed by gzip or not. The photos are greyscale; labels are class numbers.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seewhy.errors import UnreadableInput
from seewhy.inputs.datasets.base import DATASETS, Category, Dataset, Offer, Sample, existing

_MOST = 1 << 32
"""Most bytes that a file may claim to hold."""


@dataclass(frozen=True)
class IdxPhotos:
    """Photos of one file; its pixels are read with the first of them."""

    file: Path
    count: int
    labels: tuple[int, ...] = ()

    @property
    def offers(self) -> frozenset[Offer]:
        """See `Dataset.offers`."""
        return frozenset[Offer](["target"] if self.labels else [])

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """`(n, height, width)` grey levels."""
        return read_idx(self.file, 3)

    def __len__(self) -> int:
        return self.count

    def name(self, i: int) -> str:
        """Return the number of photo `i`."""
        return f"{i:0{len(str(self.count - 1))}d}"

    def category(self, i: int) -> Category | None:
        """See `Dataset.category`."""
        return Category(str(self.labels[i]), self.labels[i]) if self.labels else None

    def load(self, i: int) -> Sample:
        """Return photo `i`."""
        return Sample(Image.fromarray(self.pixels[i]), self.labels[i] if self.labels else None)


@DATASETS.register
class Idx:
    """Small greyscale photos in one file."""

    name: ClassVar[str] = "idx"
    example: ClassVar[str] = "idx:t10k-images-idx3-ubyte.gz?labels=t10k-labels-idx1-ubyte.gz"

    @staticmethod
    def open(where: str, labels: str = "") -> Dataset:
        """Read the number of photos, and the labels.

        Raises
        ------
        UnreadableInput
            For a file that is missing or of another form, and labels of another number.
        """
        asked = f"Asked for the photos in {where}"
        file = existing(where, asked, "file", folder=False)
        count = _shape_of(file, 3)[0]
        numbers: list[int] = []
        if labels:
            numbers = read_idx(existing(labels, asked, "file of labels", folder=False), 1).tolist()
            if len(numbers) != count:
                raise UnreadableInput(
                    asked,
                    f"There are {count} photos and {len(numbers)} labels",
                    "Give the labels of the photos",
                )
        return IdxPhotos(file, count, tuple(numbers))


def read_idx(file: Path, axes: int) -> NDArray[np.uint8]:
    """Return the bytes of a file with as many axes.

    Raises
    ------
    UnreadableInput
        For a file of another form or length.
    """
    shape = _shape_of(file, axes)
    size = math.prod(shape)
    try:
        with _opened(file) as stream:
            content = stream.read(4 + 4 * axes + size + 1)[4 + 4 * axes :]
    except (OSError, EOFError) as error:
        raise UnreadableInput(f"Asked to read {file}", f"It is damaged: {error}", "Copy it again") from error
    if len(content) != size:
        raise UnreadableInput(
            f"Asked to read {file}", f"It does not hold the {size} bytes that it names", "Copy it again"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _shape_of(file: Path, axes: int) -> tuple[int, ...]:
    asked = f"Asked to read {file}"
    try:
        with _opened(file) as stream:
            head = stream.read(4 + 4 * axes)
        magic, *shape = struct.unpack(f">{1 + axes}I", head)
    except (OSError, EOFError, struct.error) as error:
        raise UnreadableInput(asked, f"It is no idx file: {error}", f"As in {Idx.example}") from error
    if magic != 0x800 + axes or math.prod(shape) > _MOST:
        raise UnreadableInput(asked, f"It is no idx file of bytes with {axes} axes", f"As in {Idx.example}")
    return tuple(shape)


def _opened(file: Path) -> io.BufferedIOBase:
    with file.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(file) if packed else file.open("rb")
