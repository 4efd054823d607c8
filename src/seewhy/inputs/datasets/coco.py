"""COCO: `coco:instances.json?images=DIR`. One sample is one category in one photo.

The evidence is the union of the outlines of all objects of the category. Regions marked as crowds are rough:
they are no evidence and make no sample, unless `crowd=true`. `outlines=false` takes the boxes; an object
without an outline is its box. `categories=cat,dog` keeps these; `missing=skip` leaves photos out that are not
in the folder.

Polygons hold the pixels whose centres lie in them; boxes the pixels that they touch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from seewhy.errors import BadInput, UnknownName, UnreadableInput
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
from seewhy.inputs.datasets.regions import Region, as_mask, box_region, polygon_region
from seewhy.inputs.datasets.rle import decode
from seewhy.inputs.images import read_image
from seewhy.types import Json


@dataclass(frozen=True)
class Entry:
    """One category in one photo: its file below the folder, and the annotations of all its objects."""

    file: str
    category: str
    objects: tuple[Json, ...]


@dataclass(frozen=True)
class Instances:
    """The samples of an annotation file, in order of photo id and category."""

    images: Path
    entries: tuple[Entry, ...]
    outlines: bool = True
    offers: frozenset[Offer] = frozenset({"target", "truth"})

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, i: int) -> str:
        """Return the photo's file and the category."""
        return f"{self.entries[i].file} ({self.entries[i].category})"

    def category(self, i: int) -> Category | None:
        """See `Dataset.category`."""
        return Category(self.entries[i].category)

    def load(self, i: int) -> Sample:
        """Read the photo and draw the regions."""
        entry, asked = self.entries[i], f"Asked for the annotations of {self.name(i)}"
        image = read_image(self.images / entry.file)
        regions = (region_of(o, image.height, image.width, asked, self.outlines) for o in entry.objects)
        return Sample(image, entry.category, as_mask(np.logical_or.reduce(list(regions))))


@DATASETS.register
class Coco:
    """Annotations of instances: boxes, polygons and run-length encoded masks."""

    name: ClassVar[str] = "coco"
    example: ClassVar[str] = "coco:instances_val2017.json?images=val2017"

    @staticmethod
    def open(
        where: str,
        images: str = "",
        categories: str = "",
        outlines: bool = True,
        crowd: bool = False,
        missing: str = "refuse",
    ) -> Dataset:
        """List the categories in each photo; `categories=cat,dog` keeps these.

        Raises
        ------
        UnreadableInput
            For annotations that are missing or of another form, and for missing photos.
        UnknownName
            For a category that the file has not.
        """
        asked = f"Asked for the annotations in {where}"
        file = existing(where, asked, "annotations", folder=False)
        if not images:
            raise BadInput(asked, "The folder of the photos is not named", f"As in {Coco.example}")
        root = existing(images, asked, "folder of photos", folder=True)
        if missing not in ("refuse", "skip"):
            raise UnknownName("choice for missing photos", missing, ["refuse", "skip"])
        wanted = tuple(filter(None, (c.strip() for c in categories.split(","))))
        entries = list(_entries(_read(file, asked), wanted, crowd, asked))
        photos = {entry.file: inside(root, entry.file, asked) for entry in entries}
        if missing == "skip":
            entries = [entry for entry in entries if photos[entry.file].is_file()]
        else:
            all_there(
                list(photos.values()), asked, "photos", "Give their folder, or leave them out: &missing=skip"
            )
        return Instances(root, tuple(entries), outlines)


def region_of(annotation: Json, height: int, width: int, asked: str, outlines: bool = True) -> Region:
    """Return the region of one annotated object in a photo of this size.

    Raises
    ------
    UnreadableInput
        For an outline or box of another form, or of a photo of another size.
    """
    outline = annotation.get("segmentation") if outlines else None
    try:
        if isinstance(outline, dict):
            size = [int(s) for s in outline["size"]]
            if size != [height, width]:
                raise UnreadableInput(
                    asked,
                    f"They are of a photo of {size[1]} x {size[0]} pixels; this one has {width} x {height}",
                    "Give the photos that were annotated",
                )
            return decode(outline["counts"], height, width, asked)
        if outline:
            whole: Region = np.logical_or.reduce([polygon_region(p, height, width) for p in outline])
            return whole
        left, top, across, down = (float(v) for v in annotation["bbox"])
        return box_region((left, top, left + across, top + down), height, width)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, BadInput):
            raise
        raise UnreadableInput(
            asked, f"One is neither outline nor box: {type(error).__name__}: {error}", "Correct it"
        ) from error


def _read(file: Path, asked: str) -> Json:
    try:
        content = json.loads(file.read_bytes())
    except ValueError as error:
        raise UnreadableInput(asked, f"It is no JSON: {error}", "Give an instances file of COCO") from error
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        raise UnreadableInput(
            asked, "It has no images, annotations and categories", "Give an instances file of COCO"
        )
    return content


def _entries(content: Json, wanted: tuple[str, ...], crowd: bool, asked: str) -> Iterator[Entry]:
    try:
        names = {c["id"]: str(c["name"]) for c in content["categories"]}
        files = {image["id"]: str(image["file_name"]) for image in content["images"]}
        for name in wanted:
            if name not in names.values():
                raise UnknownName("category", name, list(names.values()))
        objects: dict[tuple[Any, str], list[Json]] = {}
        for annotation in content["annotations"]:
            if crowd or not annotation.get("iscrowd"):
                category = names[annotation["category_id"]]
                objects.setdefault((annotation["image_id"], category), []).append(annotation)
        for (image, category), found in sorted(objects.items(), key=lambda item: item[0]):
            if not wanted or category in wanted:
                yield Entry(files[image], category, tuple(found))
    except (KeyError, TypeError) as error:
        if isinstance(error, BadInput):
            raise
        raise UnreadableInput(
            asked, f"An entry is not as COCO writes it: {type(error).__name__}: {error}", "Correct the file"
        ) from error
