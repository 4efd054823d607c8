"""A folder of photos, searched to its bottom; every file whose name ends as a photo's does counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image

from seewhy.errors import BadInput
from seewhy.inputs.datasets.base import DATASETS, Dataset, Offer, Sample
from seewhy.inputs.images import FORMATS, read_image


def endings() -> frozenset[str]:
    """Return how the names of photos end, with the dot, in small letters."""
    known = Image.registered_extensions()
    return frozenset(ending for ending, kind in known.items() if kind in FORMATS)


@dataclass(frozen=True)
class Photos:
    """The photos of a folder by their paths relative to it, in alphabetical order."""

    root: Path
    files: tuple[str, ...]
    offers: frozenset[Offer] = frozenset()

    def __len__(self) -> int:
        return len(self.files)

    def name(self, i: int) -> str:
        """Return the path of photo `i`, relative to the folder, with slashes."""
        return self.files[i]

    def load(self, i: int) -> Sample:
        """Read photo `i`."""
        return Sample(read_image(self.root / self.files[i]))


@DATASETS.register
class Folder:
    """`photos`, or `folder:photos`."""

    name: ClassVar[str] = "folder"
    example: ClassVar[str] = "photos/"

    @staticmethod
    def open(where: str) -> Dataset:
        """List the photos below a folder; hidden files and folders are left out.

        Raises
        ------
        BadInput
            When there is no such folder.
        """
        root = Path(where)
        if not root.is_dir():
            raise BadInput(
                f"Asked for the photos in {root}", "There is no such folder", "Give a folder of photos"
            )
        photo = endings()
        found = (p.relative_to(root) for p in root.rglob("*") if p.suffix.lower() in photo and p.is_file())
        files = sorted(p.as_posix() for p in found if not any(part.startswith(".") for part in p.parts))
        return Photos(root, tuple(files))
