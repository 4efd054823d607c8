"""From the categories of a data set to the classes of a model.

A category is, by the first of these that there is: the class that the user's file names; the label of the
same name; the class of the same number, where the data set counts its classes and the model has no labels or
as many. Samples of a category that is no class are left out by default: the model's own answer is about
something else, and a map of that cannot be held against where this object is. `unknown=top` asks for the
model's answer all the same, `unknown=refuse` stops.

The file is JSON, `{"motorbike": "moped", "person": null}`, or has lines of category, tab, class. A class is a
label or an index; null or nothing says that there is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from seewhy.errors import BadInput, UnreadableInput
from seewhy.inputs.datasets.base import Category, existing

Class = int | str | None
"""Index or label; None for no class."""
Unknown = Literal["skip", "top", "refuse"]


@runtime_checkable
class Names(Protocol):
    """The labels of a model."""

    def __len__(self) -> int:
        """Return how many classes there are."""

    def __iter__(self) -> Iterator[str]:
        """Yield the labels in order."""

    def index_of(self, text: str) -> int:
        """Return the class of a name, or raise `BadInput`."""


def read_classes(file: Path) -> dict[str, Class]:
    """Return what a user's file says of each category.

    Raises
    ------
    UnreadableInput
        For a file that is missing or of another form.
    """
    asked = f"Asked for the classes in {file}"
    existing(file, asked, "list of classes", folder=False)
    try:
        text = file.read_text(encoding="utf-8")
        entries = json.loads(text) if file.suffix.casefold() == ".json" else _lines(text)
    except ValueError as error:
        raise UnreadableInput(asked, f"It cannot be read: {error}", _FORM) from error
    if not isinstance(entries, dict):
        raise UnreadableInput(asked, "It is no JSON object", _FORM)
    for category, told in entries.items():
        if isinstance(told, bool) or not isinstance(told, int | str | None):
            raise UnreadableInput(asked, f"The class of {category!r} is {told!r}", _FORM)
    return entries


def class_of(category: Category, told: Mapping[str, Class], labels: Names | None) -> int | None:
    """Return the model's class for a category; None when there is none.

    Raises
    ------
    BadInput
        When the user's file names a label that the model has not.
    """
    if category.name in told:
        named = told[category.name]
        if isinstance(named, str) and labels is not None:
            return labels.index_of(named)
        if isinstance(named, str):
            raise BadInput(
                f"Asked for the class {named!r} of the category {category.name!r}",
                "This model has no labels",
                "Give class indices in the file",
            )
        return named
    if labels is None:
        return category.index
    try:
        return labels.index_of(category.name)
    except BadInput:  # no label, or that of two classes
        return category.index if category.classes == len(labels) else None


_FORM = 'Write {"category": "class"} or lines of category, tab, class'


def _lines(text: str) -> dict[str, Class]:
    """Return the entries of lines of category, tab, class; a class of digits is an index."""
    entries: dict[str, Class] = {}
    for line in filter(str.strip, text.splitlines()):
        if "\t" not in line:
            raise ValueError(f"the line {line!r} has no tab")
        category, told = (part.strip() for part in line.split("\t", 1))
        entries[category] = int(told) if told.isdecimal() else told or None
    return entries
