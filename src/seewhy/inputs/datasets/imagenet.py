"""ImageNet localisation: `imagenet:ILSVRC2012_img_val?boxes=DIR&synsets=FILE`. One sample is one photo.

The photos lie flat or in folders, as they were published or rearranged; the boxes are one XML file a photo,
found by its name; the synset file (LOC_synset_mapping.txt) has one line a class in the order of the classes,
"n01440764 tench, Tinca tinca". The evidence is the union of the boxes of the photo's own synset; a box goes
from its first coordinate to its second.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from seewhy.errors import BadInput, UnreadableInput
from seewhy.inputs.datasets.base import DATASETS, Category, Dataset, Offer, Sample, existing
from seewhy.inputs.datasets.boxes_xml import BoxedObject, read_boxes
from seewhy.inputs.datasets.folder import Photos, photos_below
from seewhy.inputs.datasets.regions import as_mask, box_region


@dataclass(frozen=True)
class Located:
    """Photos with the boxes of their one class."""

    photos: Photos
    objects: tuple[tuple[BoxedObject, ...], ...]
    categories: tuple[Category, ...]
    offers: frozenset[Offer] = frozenset({"target", "truth"})

    def __len__(self) -> int:
        return len(self.photos)

    def name(self, i: int) -> str:
        """Return the path of photo `i`, relative to the folder, with slashes."""
        return self.photos.name(i)

    def category(self, i: int) -> Category | None:
        """See `Dataset.category`."""
        return self.categories[i]

    def load(self, i: int) -> Sample:
        """Read the photo and fill its boxes."""
        image = self.photos.load(i).image
        regions = [box_region(o.box, image.height, image.width) for o in self.objects[i]]
        return Sample(image, self.categories[i].name, as_mask(np.logical_or.reduce(regions)))


@DATASETS.register
class ImageNet:
    """Boxes of the one class of each photo."""

    name: ClassVar[str] = "imagenet"
    example: ClassVar[str] = "imagenet:ILSVRC2012_img_val?boxes=bbox/val&synsets=LOC_synset_mapping.txt"

    @staticmethod
    def open(where: str, boxes: str = "", synsets: str = "") -> Dataset:
        """List the photos that have boxes.

        Raises
        ------
        UnreadableInput
            When a folder, file or all boxes are missing, or a box names a class that is in no line.
        """
        asked = f"Asked for ImageNet's photos in {where}"
        root = existing(where, asked, "folder of photos", folder=True)
        if not boxes or not synsets:
            raise BadInput(asked, "The boxes and synsets are not named", f"As in {ImageNet.example}")
        classes = read_synsets(existing(synsets, asked, "list of synsets", folder=False), asked)
        notes = {p.stem: p for p in existing(boxes, asked, "folder of boxes", folder=True).rglob("*.xml")}
        files = tuple(f for f in photos_below(root) if PurePosixPath(f).stem in notes)
        if not files:
            raise UnreadableInput(
                asked, f"None of the photos has boxes in {boxes}", "Give one NAME.xml for a photo NAME.JPEG"
            )
        objects = []
        categories = []
        for file in files:
            found = read_boxes(notes[PurePosixPath(file).stem], asked)
            synset = found[0].name if found else ""
            if synset not in classes:
                raise UnreadableInput(
                    asked,
                    f"The boxes of {file} are of the class {synset!r}",
                    f"Add its line to {synsets}",
                )
            objects.append(tuple(o for o in found if o.name == synset))
            categories.append(classes[synset])
        return Located(Photos(root, files), tuple(objects), tuple(categories))


def read_synsets(file: Path, asked: str) -> dict[str, Category]:
    """Return the category of each synset; its first name is its name.

    Raises
    ------
    UnreadableInput
        For a line that is not a synset and its names.
    """
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    classes = {}
    for index, line in enumerate(lines):
        synset, _, names = line.strip().partition(" ")
        if not (synset[:1] == "n" and synset[1:].isdecimal() and names):
            raise UnreadableInput(
                asked, f"Line {index + 1} of {file} is {line!r}", "Write lines such as n01440764 tench"
            )
        classes[synset] = Category(names.split(",")[0].strip(), index, len(lines))
    return classes
