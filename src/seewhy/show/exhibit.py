"""A photo and a map as a page reads them: numbers, not pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seewhy.errors import BadInput
from seewhy.show.colour import Array
from seewhy.show.drawing import check
from seewhy.show.packed import pack


@dataclass(frozen=True)
class Exhibit:
    """One photo and a map over it.

    Parameters
    ----------
    name
        What the photo is called.
    title
        What the map is called.
    photo
        `(h, w, c)` uint8; three channels are colours, any other number is shown as grey.
    values
        `(h, w)`.
    native
        `(rows, columns)`: the method's own grid, where it is coarser; else None.
    signed
        Whether negative values mean evidence against.
    unit
        What the numbers are.
    text
        The map in one sentence.
    caption
        Lines below the map.
    """

    name: str
    title: str
    photo: Array
    values: Array
    native: Array | None
    signed: bool
    unit: str = ""
    text: str = ""
    caption: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.values.ndim != 2:
            raise BadInput(
                "Asked for the interactive view of a map",
                f"Found a map {self.values.shape}: a clip has frames",
                "Give one frame at a time, or use overlay(), which draws a strip of them",
            )
        check(self.photo, self.values)

    @property
    def rgb(self) -> Array:
        """The photo as `(h, w, 3)` uint8, as pictures show it."""
        photo = self.photo
        if photo.shape[-1] != 3:
            photo = photo.astype(np.float64).mean(-1, keepdims=True).round().astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(photo, (*self.values.shape, 3)))

    def plain(self) -> dict[str, Any]:
        """Return what a page reads, arrays as bytes."""
        return {
            "name": self.name,
            "title": self.title,
            "photo": self.rgb.tobytes(),
            "values": _packed(self.values),
            "native": None if self.native is None else _packed(self.native),
            "signed": self.signed,
            "unit": self.unit,
            "text": self.text,
            "caption": list(self.caption),
        }


def _packed(values: Array) -> dict[str, Any]:
    factor, data = pack(values)
    return {"shape": list(values.shape), "factor": factor, "data": data}
