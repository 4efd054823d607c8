"""A data set that the `datasets` library saved to disk: `hf:DIR?split=test`.

Options: `image`, `label` and `mask` name the columns; by default the first column of photos and the first of
class labels are taken, and no mask. Photos are read by SeeWhy, with the limits that it has for all photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from PIL import Image

from seewhy.errors import BadInput, UnknownName, UnreadableInput
from seewhy.extras import optional
from seewhy.inputs.datasets.base import DATASETS, Category, Dataset, Offer, Sample, existing
from seewhy.inputs.datasets.folder import same_size
from seewhy.inputs.images import as_photo, open_content, read_image
from seewhy.inputs.masks import as_mask


@dataclass(frozen=True)
class SavedPhotos:
    """Rows of a saved data set, by their number.

    Parameters
    ----------
    rows
        What `datasets` opened, with photos left undecoded.
    image, label, mask
        Names of columns; "" for none.
    names
        Of the classes.
    """

    rows: Any
    image: str
    label: str = ""
    mask: str = ""
    names: tuple[str, ...] = ()

    @property
    def offers(self) -> frozenset[Offer]:
        """See `Dataset.offers`."""
        known: dict[Offer, str] = {"target": self.label, "truth": self.mask}
        return frozenset(offer for offer, column in known.items() if column)

    @cached_property
    def labels(self) -> list[Any]:
        """The label of each row, as it is."""
        return list(self.rows.select_columns(self.label)[:][self.label])

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, i: int) -> str:
        """Return the number of row `i`."""
        return f"{i:0{len(str(len(self) - 1))}d}"

    def category(self, i: int) -> Category | None:
        """See `Dataset.category`."""
        label = self.labels[i] if self.label else None
        if not isinstance(label, int):
            return None if label is None else Category(str(label))
        if label < 0:
            return None
        name = self.names[label] if label < len(self.names) else str(label)
        return Category(name, label, len(self.names))

    def load(self, i: int) -> Sample:
        """Read the photo of row `i`, and its mask."""
        category, row = self.category(i), self.rows[i]
        asked = f"Asked for row {i} of the saved data set"
        image = as_photo(_opened(row[self.image], asked), asked)
        truth = None
        if self.mask:
            as_photo(_opened(row[self.mask], asked), asked)  # says in plain words what is wrong with it
            truth = same_size(as_mask(_opened(row[self.mask], asked), asked), image, asked)
        return Sample(image, None if category is None else category.name, truth)


@DATASETS.register
class HuggingFace:
    """What `Dataset.save_to_disk` wrote."""

    name: ClassVar[str] = "hf"
    example: ClassVar[str] = "hf:beans?split=test"

    @staticmethod
    def open(where: str, split: str = "", image: str = "", label: str = "", mask: str = "") -> Dataset:
        """Open the folder; photos are not decoded.

        Raises
        ------
        MissingExtra
            When `datasets` is not installed.
        UnknownName
            For a split or column that there is not.
        UnreadableInput
            When the folder is missing or no such data set.
        """
        asked = f"Asked for the saved data set {where}"
        existing(where, asked, "folder", folder=True)
        home = optional("datasets", "datasets", asked, "pip install 'seewhy[data]'")
        try:
            opened = home.load_from_disk(where)
        except Exception as error:
            raise UnreadableInput(
                asked, f"It cannot be opened: {error}", "Give a folder that save_to_disk wrote"
            ) from error
        if isinstance(opened, home.DatasetDict):
            if split not in opened and not (split == "" and len(opened) == 1):
                raise UnknownName("split", split, list(opened))
            opened = opened[split or next(iter(opened))]
        elif split:
            raise BadInput(asked, f"It has no splits, and {split!r} was asked for", "Leave the split out")
        photos = [k for k, kind in opened.features.items() if isinstance(kind, home.Image)]
        classes = [k for k, kind in opened.features.items() if isinstance(kind, home.ClassLabel)]
        for column, known in ((image, photos), (mask, photos), (label, list(opened.features))):
            if column and column not in known:
                raise UnknownName("column", column, known)
        image = image or next((k for k in photos if k != mask), "")
        if not image:
            raise UnreadableInput(asked, "It has no column of photos", "Cast one: cast_column(NAME, Image())")
        label = label or next(iter(classes), "")
        for column in filter(None, (image, mask)):
            opened = opened.cast_column(column, home.Image(decode=False))
        names = tuple(opened.features[label].names) if label in classes else ()
        kept = [column for column in (image, label, mask) if column]
        return SavedPhotos(opened.select_columns(kept), image, label, mask, names)


def _opened(cell: Any, asked: str) -> Image.Image:
    """Return the image of an undecoded cell: from its bytes, or from the file that it names."""
    if cell is None:
        raise UnreadableInput(asked, "It has no photo or mask", "Leave the row out")
    if cell["bytes"] is not None:
        return open_content(cell["bytes"], asked)
    read_image(cell["path"])  # says in plain words what is wrong with a file
    return Image.open(cell["path"])
