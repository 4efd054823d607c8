"""A folder of photos, searched to its bottom; every file whose name ends as a photo's does counts.

Options: `masks=DIR` has the evidence, for a photo a/b.jpg one image a/b.png of its size, black where there is
none; `labels=folders` takes the name of the folder that a photo lies in as its category.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from PIL.Image import Image, registered_extensions

from seewhy.errors import BadInput, UnknownName
from seewhy.inputs.datasets.base import DATASETS, Category, Dataset, Offer, Sample, all_there, existing
from seewhy.inputs.images import FORMATS, read_image
from seewhy.inputs.masks import read_mask


def endings() -> frozenset[str]:
    """Return how the names of photos end, with the dot, in small letters."""
    known = registered_extensions()
    return frozenset(ending for ending, kind in known.items() if kind in FORMATS)


@dataclass(frozen=True)
class Photos:
    """The photos of a folder by their paths relative to it, in alphabetical order.

    Parameters
    ----------
    masks
        Folder of the masks, or None.
    named
        Whether the folder that a photo lies in names its category.
    """

    root: Path
    files: tuple[str, ...]
    masks: Path | None = None
    named: bool = False

    @property
    def offers(self) -> frozenset[Offer]:
        """See `Dataset.offers`."""
        known: dict[Offer, bool] = {"truth": self.masks is not None, "target": self.named}
        return frozenset(offer for offer, there in known.items() if there)

    def __len__(self) -> int:
        return len(self.files)

    def name(self, i: int) -> str:
        """Return the path of photo `i`, relative to the folder, with slashes."""
        return self.files[i]

    def category(self, i: int) -> Category | None:
        """Return the name of the folder that photo `i` lies in, if such names are categories."""
        parent = PurePosixPath(self.files[i]).parent.name
        return Category(parent) if self.named and parent else None

    def load(self, i: int) -> Sample:
        """Read photo `i`."""
        category = self.category(i)
        image = read_image(self.root / self.files[i])
        return Sample(image, None if category is None else category.name, self._mask(i, image))

    def _mask(self, i: int, image: Image) -> Image | None:
        if self.masks is None:
            return None
        file = mask_file(self.masks, self.files[i])
        return same_size(read_mask(file), image, f"Asked for the mask {file}")


@DATASETS.register
class Folder:
    """`photos`, or `folder:photos`."""

    name: ClassVar[str] = "folder"
    example: ClassVar[str] = "photos/?masks=masks/"

    @staticmethod
    def open(where: str, masks: str = "", labels: str = "") -> Dataset:
        """List the photos below a folder; hidden files and folders are left out.

        Raises
        ------
        BadInput
            When there is no such folder, or a mask is missing.
        """
        asked = f"Asked for the photos in {where}"
        root = existing(where, asked, "folder", folder=True)
        if labels not in ("", "folders"):
            raise UnknownName("source of labels", labels, ["folders"])
        files = photos_below(root)
        beside = existing(masks, asked, "folder of masks", folder=True) if masks else None
        if beside is not None:
            expected = [mask_file(beside, file) for file in files]
            if len(set(expected)) < len(expected):
                twin = next(file for file in expected if expected.count(file) > 1)
                raise BadInput(asked, f"Two photos would share the mask {twin}", "Rename one of them")
            all_there(expected, asked, "masks", "Give one image NAME.png for a photo NAME.*")
        return Photos(root, files, beside, labels == "folders")


def photos_below(root: Path) -> tuple[str, ...]:
    """Return the photos below a folder by their relative paths, sorted; hidden ones are left out."""
    photo = endings()
    found = (p.relative_to(root) for p in root.rglob("*") if p.suffix.lower() in photo and p.is_file())
    return tuple(sorted(p.as_posix() for p in found if not any(part.startswith(".") for part in p.parts)))


def mask_file(folder: Path, photo: str) -> Path:
    """Return where the mask of a photo is: its relative path, but ending in .png."""
    return folder / PurePosixPath(photo).with_suffix(".png")


def same_size(mask: Image, photo: Image, asked: str) -> Image:
    """Return a mask that has the size of its photo.

    Raises
    ------
    BadInput
        When it has another.
    """
    if mask.size != photo.size:
        sizes = [f"{i.width} x {i.height}" for i in (mask, photo)]
        raise BadInput(
            asked,
            f"The mask measures {sizes[0]} pixels, the photo {sizes[1]}",
            "Give masks of the photos' size",
        )
    return mask
