"""The XML in which Pascal VOC and ImageNet keep boxes: one file a photo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from seewhy.errors import UnreadableInput
from seewhy.inputs.datasets.regions import Box


@dataclass(frozen=True)
class BoxedObject:
    """One object.

    Parameters
    ----------
    name
        Its category.
    box
        Left, top, right, bottom as the file has them; what they count from differs between data sets.
    difficult
        Whether it is marked as hard to recognise.
    """

    name: str
    box: Box
    difficult: bool = False


def read_boxes(file: Path, asked: str) -> tuple[BoxedObject, ...]:
    """Return the objects of one file in its order.

    Raises
    ------
    UnreadableInput
        For a file that is missing, damaged or of another form.
    """
    if not file.is_file():
        raise UnreadableInput(asked, f"There is no {file}", "Give one XML file of boxes a photo")
    try:
        return tuple(_object(entry) for entry in ElementTree.parse(file).getroot().iter("object"))
    except (ElementTree.ParseError, ValueError) as error:
        raise UnreadableInput(asked, f"{file} cannot be read: {error}", "Correct or replace it") from error


def _object(entry: ElementTree.Element) -> BoxedObject:
    name, box = entry.findtext("name"), entry.find("bndbox")
    edges = [box.findtext(side) for side in ("xmin", "ymin", "xmax", "ymax")] if box is not None else []
    if not name or len(edges) != 4 or None in edges:
        raise ValueError("an object has no name or no box")
    left, top, right, bottom = (float(edge or "") for edge in edges)
    return BoxedObject(name, (left, top, right, bottom), entry.findtext("difficult", "0").strip() == "1")
