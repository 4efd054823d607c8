"""Galleries: rows of small pictures under a heading each, and pictures in which only some places are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from seewhy.errors import BadInput
from seewhy.show.colour import Array
from seewhy.show.lettering import INK, MUTED, PAPER, RULE, beside, framed, paragraph, stack

BACKGROUND = 0.3
"""How much of the photo is left where a map shows nothing."""


@dataclass(frozen=True)
class Tile:
    """A picture and the words below it."""

    picture: Image.Image
    caption: str = ""


@dataclass(frozen=True)
class Strip:
    """Pictures in a row, with words before them; `cell` pixels of a side where they need their own."""

    title: str
    tiles: Sequence[Tile] = field(default_factory=tuple)
    empty: str = "none"
    cell: int | None = None


@dataclass(frozen=True)
class Chapter:
    """Strips under one heading, and what is known of it."""

    title: str
    note: str
    strips: Sequence[Strip]


def focused(
    photo: Image.Image,
    strength: Array,
    window: Sequence[tuple[int, int]],
    *,
    visible: float = 0.2,
    cell: int = 128,
) -> Image.Image:
    """Return the window of a photo in which places that a map does not show are faint.

    Parameters
    ----------
    photo
        Of any size; it shows what the map covers.
    strength
        `(h, w)`, 0 to 1.
    window
        `(top, bottom)` and `(left, right)` in pixels of the map.
    visible
        Strength from which the photo is seen as it is; it fades in over the half of it below.
    cell
        Pixels of the result's longer side.
    """
    h, w = strength.shape
    (top, bottom), (left, right) = window
    if not (0 <= top < bottom <= h and 0 <= left < right <= w):
        raise BadInput("Asked to show a window of a photo", f"Found {tuple(window)} in {h} x {w} pixels")
    factor = cell / max(bottom - top, right - left)
    size = (max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor)))
    fx, fy = photo.width / w, photo.height / h
    part = photo.convert("RGB").resize(
        size, Image.Resampling.LANCZOS, box=(left * fx, top * fy, right * fx, bottom * fy)
    )
    # Reducing needs antialiasing, enlarging a smooth edge: bicubic does both for a smooth map.
    shown = Image.fromarray(np.ascontiguousarray(strength, np.float32)).resize(
        size, Image.Resampling.BICUBIC, box=(left, top, right, bottom)
    )
    seen = np.clip((np.asarray(shown, np.float64) - visible / 2) / (visible / 2), 0, 1)
    alpha = (BACKGROUND + (1 - BACKGROUND) * seen)[..., None]
    faint = np.asarray(part, np.float64) * alpha + 255 * (1 - alpha)
    return Image.fromarray(np.rint(faint).astype(np.uint8))


def gallery(
    chapters: Sequence[Chapter], *, title: str = "", caption: str = "", cell: int = 128
) -> Image.Image:
    """Draw chapters below each other, every strip one row of pictures.

    Raises
    ------
    BadInput
        When there is nothing to draw.
    """
    if not chapters:
        raise BadInput("Asked for a gallery", "There is nothing to show")
    rows = [len(s.tiles) * ((s.cell or cell) + 6) for c in chapters for s in c.strips]
    across = 96 + max(3 * (cell + 6), *rows, 0)
    parts = [paragraph(title, 20, across, INK, 2)] if title else []
    for chapter in chapters:
        parts.append(Image.new("RGB", (across, 1), RULE))
        parts.append(stack([paragraph(chapter.title, 16, across, INK, 2), *_note(chapter.note, across)], 3))
        parts += [_strip(strip, strip.cell or cell) for strip in chapter.strips]
    parts += _note(caption, across)
    return framed(stack(parts, 10), 18)


def _note(text: str, across: int) -> list[Image.Image]:
    return [paragraph(text, 13, across, MUTED, 6)] if text else []


def _strip(strip: Strip, cell: int) -> Image.Image:
    head = Image.new("RGB", (90, cell), PAPER)
    head.paste(paragraph(strip.title, 13, 86, INK, 6), (0, 2))
    if not strip.tiles:
        return beside([head, paragraph(strip.empty, 13, 3 * cell, MUTED, 3)], 6)
    return beside([head, *(_tile(tile, cell) for tile in strip.tiles)], 6)


def _tile(tile: Tile, cell: int) -> Image.Image:
    whole = Image.new("RGB", (cell, cell), PAPER)
    picture = tile.picture
    whole.paste(picture, ((cell - picture.width) // 2, (cell - picture.height) // 2))
    return stack([whole, paragraph(tile.caption, 11, cell, MUTED, 2)], 3) if tile.caption else whole
