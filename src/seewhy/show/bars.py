"""Horizontal bars with intervals, in groups, with the scores of a comparison as dots below each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from seewhy.errors import BadInput
from seewhy.show.lettering import (
    INK,
    MUTED,
    PAPER,
    RULE,
    Colour,
    font,
    framed,
    leading,
    paragraph,
    shorten,
    stack,
    width,
)
from seewhy.show.words import number

STRONG: Colour = (0, 114, 178)
FAINT: Colour = (176, 206, 224)
SIZE, TALL = 13, 34
LABEL, PLOT, NOTE = 150, 340, 330
"""Pixels of the name, of the bar and of the words behind it."""


@dataclass(frozen=True)
class Bar:
    """One bar.

    Parameters
    ----------
    name
        Beside it.
    value, low, high
        Length and interval, all at least 0; None draws no bar, words only.
    note
        Behind it.
    dots
        What it is compared with, at least 0 each.
    faint
        Pale, for what has not been shown.
    """

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""
    dots: Sequence[float] = ()
    faint: bool = False


def bars(
    groups: Sequence[tuple[str, Sequence[Bar]]],
    *,
    title: str,
    across: str,
    most: float | None = None,
    caption: str = "",
) -> Image.Image:
    """Draw groups of bars on one scale from 0.

    Parameters
    ----------
    groups
        Titles with their bars.
    title, across, caption
        Above, under the axis (with its unit), below.
    most
        End of the axis; None: what the largest value, interval or dot needs.

    Raises
    ------
    BadInput
        For no bar.
    """
    every = [bar for _, group in groups for bar in group]
    if not every:
        raise BadInput("Asked for bars", "There is none", "Give at least one")
    reach = [v for b in every for v in (b.value, b.high, *b.dots) if v is not None]
    end = most or _round_up(max([*reach, 1e-12]))
    across_all = LABEL + PLOT + NOTE
    parts = [paragraph(title, 17, across_all, INK, 2)]
    for name, group in groups:
        parts.append(paragraph(name, 14, across_all, INK, 2))
        parts.append(stack([_drawn(bar, end) for bar in group], 0))
    parts += [_axis(end, across), paragraph(caption, SIZE, across_all, MUTED)]
    return framed(stack(parts, 8), 16)


def _drawn(bar: Bar, end: float) -> Image.Image:
    picture = Image.new("RGB", (LABEL + PLOT + NOTE, TALL), PAPER)
    draw = ImageDraw.Draw(picture)

    def at(value: float) -> int:
        return LABEL + round(min(max(value, 0.0), end) / end * (PLOT - 12))

    for i in range(5):
        x = at(end * i / 4)
        draw.line((x, 0, x, TALL), fill=RULE)
    name = shorten(bar.name, SIZE, LABEL - 12)
    draw.text((LABEL - 10 - width(name, SIZE), 4), name, fill=INK, font=font(SIZE))
    words = bar.note
    if bar.value is not None:
        draw.rectangle((LABEL, 4, max(LABEL, at(bar.value)), 19), fill=FAINT if bar.faint else STRONG)
        told = number(bar.value)
        if bar.low is not None and bar.high is not None:
            left, right = at(bar.low), at(bar.high)
            for shift, colour in ((1, PAPER), (0, INK)):
                draw.line((left, 11 + shift, right, 11 + shift), fill=colour, width=1)
                draw.line((left, 7, left, 16), fill=INK)
                draw.line((right, 7, right, 16), fill=INK)
            told += f" [{number(bar.low)}, {number(bar.high)}]"
        words = f"{told}; {words}" if words else told
    for value in bar.dots:
        x = at(value)
        draw.ellipse((x - 2, 23, x + 2, 27), outline=MUTED)
    shown = paragraph(words, 12, NOTE - 10, MUTED if bar.faint else INK, 2)
    picture.paste(shown, (LABEL + PLOT + 8, 3))
    return picture


def _axis(end: float, across: str) -> Image.Image:
    picture = Image.new("RGB", (LABEL + PLOT + NOTE, 2 * leading(SIZE) + 6), PAPER)
    draw = ImageDraw.Draw(picture)
    for i in range(5):
        label = number(end * i / 4)
        x = LABEL + round(i / 4 * (PLOT - 12))
        draw.text((x - width(label, SIZE) // 2, 0), label, fill=MUTED, font=font(SIZE))
    draw.text((LABEL, leading(SIZE)), shorten(across, SIZE, PLOT + NOTE), fill=INK, font=font(SIZE))
    return picture


def _round_up(value: float) -> float:
    power = 10.0 ** int(f"{value:e}".partition("e")[2])
    return next(m * power for m in (1.0, 2.0, 4.0, 5.0, 8.0, 10.0) if m * power >= value * 0.999)
