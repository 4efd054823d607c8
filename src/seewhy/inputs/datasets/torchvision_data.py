"""A data set of torchvision that is on this disk: `torchvision:CIFAR10?root=DIR&train=false`.

The name is that of a class in torchvision.datasets; all other options are handed to it. Nothing is
downloaded. Labels that are class numbers become targets, by their name where the data set has names; anything
else that it has for labels is not read.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from PIL import Image

from seewhy.errors import BadInput, UnknownName, UnreadableInput
from seewhy.extras import optional
from seewhy.inputs.datasets.base import DATASETS, Category, Dataset, Offer, Sample
from seewhy.inputs.images import as_photo
from seewhy.specs import Value


@dataclass(frozen=True)
class TorchvisionPhotos:
    """Samples of a torchvision data set, by their number.

    Parameters
    ----------
    source
        What torchvision made.
    """

    source: Any

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """The class number of each sample, where the data set lists them."""
        for name in ("targets", "labels", "_labels", "y"):
            found: Any = getattr(self.source, name, None)
            found = found.tolist() if hasattr(found, "tolist") else found
            whole = isinstance(found, list) and len(found) == len(self.source)
            if whole and all(isinstance(label, int) and label >= 0 for label in found):
                return tuple(found)
        return ()

    @property
    def offers(self) -> frozenset[Offer]:
        """See `Dataset.offers`."""
        return frozenset[Offer](["target"] if self.labels else [])

    def __len__(self) -> int:
        return len(self.source)

    def name(self, i: int) -> str:
        """Return the number of sample `i`."""
        return f"{i:0{len(str(len(self) - 1))}d}"

    def category(self, i: int) -> Category | None:
        """See `Dataset.category`."""
        if not self.labels:
            return None
        names, label = getattr(self.source, "classes", None) or (), self.labels[i]
        name = str(names[label]) if label < len(names) else str(label)
        return Category(name, label, len(names))

    def load(self, i: int) -> Sample:
        """Read sample `i`."""
        asked = f"Asked for sample {i} of {type(self.source).__name__}"
        try:
            image = self.source[i][0]
        except Exception as error:
            raise UnreadableInput(asked, f"It cannot be read: {error}", "Check the files") from error
        if not isinstance(image, Image.Image):
            raise UnreadableInput(
                asked,
                f"It is of type {type(image).__name__}",
                "Take a data set of photos",
            )
        category = self.category(i)
        return Sample(as_photo(image, asked), None if category is None else category.name)


@DATASETS.register
class Torchvision:
    """Any class of torchvision.datasets whose samples begin with a photo."""

    name: ClassVar[str] = "torchvision"
    example: ClassVar[str] = "torchvision:CIFAR10?root=data&train=false"

    @staticmethod
    def open(where: str, **options: Value) -> Dataset:
        """Make the data set.

        Raises
        ------
        MissingExtra
            When torchvision is not installed.
        UnknownName
            For a class or option that there is not.
        BadInput
            When its files are not there.
        """
        asked = f"Asked for torchvision's data set {where}"
        home = optional("torchvision.datasets", "torchvision", asked, "pip install 'seewhy[models]'")
        if where not in home.__all__:
            raise UnknownName("data set of torchvision", where, home.__all__)
        cls = getattr(home, where)
        known = set(inspect.signature(cls).parameters) - {"download", "transform", "target_transform"}
        for key in options:
            if key not in known:
                raise UnknownName(f"option of {where}", key, sorted(known - {"kwargs"}))
        try:
            return TorchvisionPhotos(cls(**options))
        except (RuntimeError, OSError, ValueError, TypeError, ModuleNotFoundError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BadInput(
                asked,
                f"torchvision says: {first}",
                "Nothing is downloaded: name the folder of its files with ?root=DIR",
            ) from error
