"""Pascal VOC: `voc:VOC2007?split=test`. One sample is one category in one photo.

The folder holds JPEGImages, Annotations and ImageSets. The evidence is the union of the boxes of all objects
of the category; `outlines=object` or `outlines=class` takes the masks of SegmentationObject or
SegmentationClass (photos listed in ImageSets/Segmentation; their void border is no evidence). A category of
which all objects in a photo are marked difficult makes no sample, as in the published pointing game, unless
`difficult=true`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from seewhy.errors import UnknownName, UnreadableInput
from seewhy.inputs.datasets.base import (
    DATASETS,
    Category,
    Dataset,
    Offer,
    Sample,
    all_there,
    existing,
    inside,
)
from seewhy.inputs.datasets.boxes_xml import BoxedObject, read_boxes
from seewhy.inputs.datasets.folder import same_size
from seewhy.inputs.datasets.regions import as_mask, box_region
from seewhy.inputs.images import read_image

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
"""In the order of the values 1 to 20 in SegmentationClass."""


@dataclass(frozen=True)
class Objects:
    """The samples of a split, in its order and the order of the objects.

    Parameters
    ----------
    entries
        Photo (without ending) and category.
    objects
        All objects of each photo.
    outlines
        "object" or "class" for masks, "" for boxes.
    """

    root: Path
    entries: tuple[tuple[str, str], ...]
    objects: dict[str, tuple[BoxedObject, ...]]
    outlines: str = ""
    offers: frozenset[Offer] = frozenset({"target", "truth"})

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, i: int) -> str:
        """Return the photo and the category."""
        photo, category = self.entries[i]
        return f"{photo} ({category})"

    def category(self, i: int) -> Category | None:
        """See `Dataset.category`."""
        return Category(self.entries[i][1])

    def load(self, i: int) -> Sample:
        """Read the photo, and draw its boxes or read its mask."""
        photo, category = self.entries[i]
        image = read_image(self.root / "JPEGImages" / f"{photo}.jpg")
        drawn = self._outline if self.outlines else self._boxes
        return Sample(image, category, drawn(photo, category, image))

    def _boxes(self, photo: str, category: str, image: Image.Image) -> Image.Image:
        # The first pixel is 1, and the last belongs to the box.
        boxes = [o.box for o in self.objects[photo] if o.name == category]
        counted = [(left - 1, top - 1, right, bottom) for left, top, right, bottom in boxes]
        regions = [box_region(box, image.height, image.width) for box in counted]
        return as_mask(np.logical_or.reduce(regions))

    def _outline(self, photo: str, category: str, image: Image.Image) -> Image.Image:
        file = self.root / f"Segmentation{self.outlines.capitalize()}" / f"{photo}.png"
        asked = f"Asked for the mask {file}"
        read_image(file)  # says in plain words what is wrong with a file
        with Image.open(file) as opened:
            if opened.mode not in ("P", "L"):
                raise UnreadableInput(asked, f"Its mode is {opened.mode}", "Give palette or greyscale masks")
            values = np.asarray(opened)
        if self.outlines == "class":
            numbers = [CLASSES.index(category) + 1] if category in CLASSES else []
        else:
            numbers = [k for k, o in enumerate(self.objects[photo], 1) if o.name == category]
        mask = as_mask(np.isin(values, numbers))
        return same_size(mask, image, asked)


@DATASETS.register
class Voc:
    """Boxes, and outlines where there are any."""

    name: ClassVar[str] = "voc"
    example: ClassVar[str] = "voc:VOC2007?split=test"

    @staticmethod
    def open(where: str, split: str = "val", outlines: str = "", difficult: bool = False) -> Dataset:
        """List the categories in each photo of ImageSets/Main/SPLIT.txt (or ImageSets/Segmentation).

        Raises
        ------
        UnreadableInput
            When a folder, list, photo or annotation is missing or damaged.
        UnknownName
            For a split or kind of outlines that there is not.
        """
        asked = f"Asked for Pascal VOC in {where}"
        root = existing(where, asked, "folder", folder=True)
        if outlines not in ("", "object", "class"):
            raise UnknownName("kind of outlines", outlines, ["object", "class"])
        lists = root / "ImageSets" / ("Segmentation" if outlines else "Main")
        existing(lists, asked, "folder of lists", folder=True)
        if not (lists / f"{split}.txt").is_file():
            raise UnknownName("split", split, sorted(p.stem for p in lists.glob("*.txt")))
        lines = (lists / f"{split}.txt").read_text(encoding="utf-8").splitlines()
        photos = [line.split()[0] for line in lines if line.strip()]
        files = [inside(root / "JPEGImages", f"{photo}.jpg", asked) for photo in photos]
        all_there(files, asked, "photos", "Give a complete split")
        objects = {photo: read_boxes(root / "Annotations" / f"{photo}.xml", asked) for photo in photos}
        entries = (
            (photo, name)
            for photo in objects
            for name in dict.fromkeys(o.name for o in objects[photo] if difficult or not o.difficult)
        )
        return Objects(root, tuple(entries), objects, outlines)
