"""Many maps on one page: a row a photo, a column a method; and a heat table of how much methods agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image, ImageDraw

from seewhy.errors import BadInput
from seewhy.show.colour import DIVERGING, Array, Scale, table
from seewhy.show.drawing import Look, check, colour_bar, painted, photo_alone
from seewhy.show.lettering import (
    INK,
    MUTED,
    PAPER,
    RULE,
    beside,
    font,
    framed,
    ink_on,
    leading,
    paragraph,
    shorten,
    stack,
    width,
)

SHARING = {
    "panel": "Each map has a scale of its own: colours do not compare between maps.",
    "column": "Same scale down each column; columns measure different things: compare down, not across.",
    "all": "Same scale for all maps.",
}


@dataclass(frozen=True)
class Panel:
    """One map.

    Parameters
    ----------
    values
        `(h, w)`.
    signed
        Whether the scale is symmetric about zero.
    note
        Below the picture: what the numbers are, a score.
    """

    values: Array
    signed: bool
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One photo `(h, w, c)` uint8 and its maps, one a column; None leaves the place empty."""

    title: str
    pixels: Array
    panels: Sequence[Panel | None] = field(default_factory=tuple)


def contact_sheet(
    rows: Sequence[Row],
    columns: Sequence[str],
    *,
    share: str = "panel",
    look: Look | None = None,
    cell: int = 224,
    wrap: int = 0,
    title: str = "",
    caption: str = "",
) -> Image.Image:
    """Draw photos and maps as a table.

    Parameters
    ----------
    rows
        Photos with as many panels as there are columns.
    columns
        Titles of the maps' columns; the photo's own column comes before them.
    share
        Which maps have one scale: "panel" (none), "column" or "all"; said in the caption.
    look
        How to draw.
    cell
        Pixels of a picture's longer side, at least 96; photos are resized to it.
    wrap
        Columns of maps before the table goes on below; 0 for one table however wide.
    title, caption
        Above and below.

    Raises
    ------
    BadInput
        When there is nothing to draw, or a row has another number of panels.
    """
    if share not in SHARING:
        raise BadInput(
            f"Asked for scales shared by {share!r}",
            "There is no such choice",
            f"Choose one of {', '.join(SHARING)}",
        )
    if not rows or any(len(row.panels) != len(columns) for row in rows):
        raise BadInput(
            "Asked for a contact sheet",
            f"Found {[len(r.panels) for r in rows]} maps for {len(columns)} columns",
            "Give every photo one map, or None, for each column",
        )
    if any(row.pixels.ndim != 3 for row in rows):
        raise BadInput(
            "Asked for a contact sheet", "Found a clip", "Draw clips one by one: seewhy.show.overlay"
        )
    look, cell = look or Look(), max(96, cell)
    scales = _scales(rows, share)
    step = wrap or max(1, len(columns))
    parts = [slice(i, i + step) for i in range(0, max(1, len(columns)), step)]
    whole = stack([_table(rows, columns, scales, part, look, cell) for part in parts], 22)
    head = [paragraph(title, 20, whole.width, INK, 2)] if title else []
    foot = paragraph(
        " ".join(t for t in (SHARING[share] if columns else "", caption) if t), 13, whole.width, MUTED
    )
    return framed(stack([*head, whole, foot], 14), 18)


def _table(
    rows: Sequence[Row],
    columns: Sequence[str],
    scales: Sequence[Sequence[Scale | None]],
    part: slice,
    look: Look,
    cell: int,
) -> Image.Image:
    """Draw the columns of one part, the photos beside them."""
    lines = [beside([_headed("input", cell), *(_headed(name, cell) for name in columns[part])], 14)]
    for row, own_scales in zip(rows, scales, strict=True):
        photo = _fit(photo_alone(row.pixels, Look(upscale=1)), cell)
        own = stack([photo, paragraph(row.title, 13, cell, INK, 3)], 5)
        maps = (
            _cell(row.pixels, panel, scale, look, cell)
            for panel, scale in zip(row.panels[part], own_scales[part], strict=True)
        )
        lines.append(beside([own, *maps], 14))
    return stack(lines, 14)


def _scales(rows: Sequence[Row], share: str) -> list[list[Scale | None]]:
    def common(panels: Sequence[Panel | None]) -> dict[bool, Scale]:
        shown = [p for p in panels if p is not None]
        return {
            sign: Scale.of(np.concatenate([p.values.ravel() for p in shown if p.signed is sign]), sign)
            for sign in {p.signed for p in shown}
        }

    everything = common([p for row in rows for p in row.panels])
    if share == "all" and len(everything) > 1:  # one scale for both signs is a signed one
        values = np.concatenate([p.values.ravel() for row in rows for p in row.panels if p is not None])
        everything = dict.fromkeys((True, False), Scale.of(values, True))
    columns = [common([row.panels[c] for row in rows]) for c in range(len(rows[0].panels))]

    def chosen(c: int, panel: Panel | None) -> Scale | None:
        if panel is None:
            return None
        if share == "panel":
            return Scale.of(panel.values, panel.signed)
        return (everything if share == "all" else columns[c])[panel.signed]

    return [[chosen(c, panel) for c, panel in enumerate(row.panels)] for row in rows]


def _headed(name: str, cell: int) -> Image.Image:
    return stack([paragraph(name, 15, cell, INK, 2), Image.new("RGB", (cell, 1), RULE)], 3)


def _cell(pixels: Array, panel: Panel | None, scale: Scale | None, look: Look, cell: int) -> Image.Image:
    if panel is None or scale is None:
        return stack([Image.new("RGB", (cell, 1), PAPER), paragraph("no map", 13, cell, MUTED)])
    check(pixels, panel.values)
    factor = max(1, round(cell / max(panel.values.shape)))
    look = replace(look, upscale=look.upscale or factor).settled(panel.values, scale)
    picture = _fit(painted(pixels, panel.values, scale, look), cell)
    return stack([picture, colour_bar(scale, cell, look, panel.note, 12)], 5)


def _fit(picture: Image.Image, cell: int) -> Image.Image:
    factor = cell / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    resized = picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
    whole = Image.new("RGB", (cell, resized.height), PAPER)
    whole.paste(resized, ((cell - resized.width) // 2, 0))
    return whole


def heat_table(
    names: Sequence[str], matrix: Array, *, title: str = "", caption: str = "", cell: int = 76
) -> Image.Image:
    """Draw a square table of correlations with their numbers; NaN is written "n/a".

    Parameters
    ----------
    names
        Of the rows, which are the columns too.
    matrix
        `(k, k)` values from -1 to 1.
    """
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != (len(names), len(names)) or not len(names):
        raise BadInput(
            "Asked for a heat table",
            f"Found {matrix.shape} numbers for {len(names)} names",
            "Give a square matrix with a name a row",
        )
    scale, size = Scale(-1.0, 1.0, 0.0), 13
    side = min(180, max(width(shorten(n, size, 180), size) for n in names)) + 12
    head = 2 * leading(size) + 6
    picture = Image.new("RGB", (side + cell * len(names), head + cell // 2 * len(names)), PAPER)
    draw = ImageDraw.Draw(picture)
    for i, name in enumerate(names):
        top = head + i * (cell // 2)
        title_above = paragraph(name.replace("_", " "), size, cell - 6, INK, 2, centred=True)
        picture.paste(title_above, (side + i * cell + 3, head - 4 - title_above.height))
        label = shorten(name.replace("_", " "), size, 180)
        draw.text(
            (side - 10 - width(label, size), top + (cell // 2 - leading(size)) // 2),
            label,
            fill=INK,
            font=font(size),
        )
        for j in range(len(names)):
            value = float(matrix[i, j])
            known = np.isfinite(value)
            tone = table(DIVERGING)[int(scale.positions(np.array([value]))[0])].tolist() if known else PAPER
            r, g, b = tone
            left = side + j * cell
            draw.rectangle(
                (left, top, left + cell - 2, top + cell // 2 - 2),
                fill=(r, g, b),
                outline=None if known else RULE,
            )
            words = f"{round(value, 2) + 0.0:.2f}" if known else "n/a"
            ink = ink_on((r, g, b))
            draw.text(
                (left + (cell - width(words, size)) // 2, top + (cell // 2 - leading(size)) // 2),
                words,
                fill=ink,
                font=font(size),
            )
    parts = [paragraph(title, 17, picture.width, INK, 2)] if title else []
    parts += [picture, paragraph(caption, size, picture.width, MUTED)]
    return framed(stack(parts, 10), 16)
