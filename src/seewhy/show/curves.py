"""Curves as SVG text: scores while a photo is edited step by step, with baselines, axes and legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from seewhy.errors import BadInput
from seewhy.show.words import number

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a87000", "#2f86b8", "#8c6bb1", "#6b6b6b")
"""After Okabe and Ito, told apart by colour-blind readers too; lines also differ in dashes."""
DASHES = ("", "8 3", "2 3", "8 3 2 3", "12 4", "4 2", "1 2", "6 2 1 2 1 2")
BASELINE_DASHES = ("2 3", "7 4", "7 3 2 3", "1 3")


@dataclass(frozen=True)
class Curve:
    """A line of the plot.

    Parameters
    ----------
    name
        In the legend.
    at
        Places along the horizontal axis, rising.
    values
        Heights, one a place.
    low, high
        A band around them, one a place; empty for none.
    baseline
        Drawn grey, and listed after the others.
    note
        Behind the name in the legend: an area, an interval.
    """

    name: str
    at: Sequence[float]
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    baseline: bool = False
    note: str = ""


def plot(
    curves: Sequence[Curve],
    *,
    title: str,
    across: str,
    up: str,
    size: tuple[int, int] = (560, 320),
) -> str:
    """Return one `<svg>` element that can be read by itself or inlined in a page.

    Text takes the page's colour (`currentColor`), so that it is legible on dark and light alike.

    Parameters
    ----------
    curves
        At least one.
    title
        Read aloud instead of the picture, and shown on top.
    across, up
        Names of the axes, with their units.
    size
        Width and height of the plot in pixels; the legend comes below.

    Raises
    ------
    BadInput
        For no curves, or one whose places and values differ in number.
    """
    if not curves or any(len(c.at) != len(c.values) or not len(c.at) for c in curves):
        raise BadInput("Asked for a plot", "Found no curve, or one without a value for each place")
    ordered = [c for c in curves if not c.baseline] + [c for c in curves if c.baseline]
    w, h = size
    left, right, top, bottom = 58, 14, 34, 46
    legend = [f"{c.name}{f' ({c.note})' if c.note else ''}" for c in ordered]
    tall = h + 20 * len(legend) + 6
    xs = [float(x) for c in ordered for x in c.at]
    ys = [float(y) for c in ordered for y in (*c.values, *c.low, *c.high)]
    x0, x1 = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1
    lowest, highest = min(0.0, *ys), max(ys) if max(ys) > min(0.0, *ys) else min(0.0, *ys) + 1
    step = _step((highest - lowest) / 6)
    y0, y1 = lowest // step * step, -(-highest // step) * step

    def px(x: float) -> float:
        return left + (x - x0) / (x1 - x0) * (w - left - right)

    def py(y: float) -> float:
        return h - bottom - (y - y0) / (y1 - y0) * (h - top - bottom)

    def path(at: Sequence[float], values: Sequence[float]) -> str:
        return " ".join(f"{px(float(x)):.1f},{py(float(y)):.1f}" for x, y in zip(at, values, strict=True))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" viewBox="0 0 {w} {tall}" '
        f'width="{w}" height="{tall}" font-family="system-ui, sans-serif" font-size="13" fill="currentColor" '
        f'aria-label="{escape(_twin(title, ordered))}">',
        f'<text x="{left}" y="18" font-size="15" font-weight="600">{escape(title)}</text>',
    ]
    for i in range(round((y1 - y0) / step) + 1):
        y, tick = py(y0 + i * step), number(round(y0 + i * step, 10))
        parts += [
            f'<path d="M{left} {y:.1f}H{w - right}" stroke="currentColor" stroke-opacity="0.16"/>',
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>',
        ]
    for i in range(5):
        x = x0 + i / 4 * (x1 - x0)
        parts.append(f'<text x="{px(x):.1f}" y="{h - bottom + 18}" text-anchor="middle">{number(x)}</text>')
    parts += [
        f'<path d="M{left} {py(y0):.1f}H{w - right}" stroke="currentColor"/>',
        f'<text x="{(left + w - right) / 2:.0f}" y="{h - 8}" text-anchor="middle">{escape(across)}</text>',
        f'<text transform="translate(14 {(top + h - bottom) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(up)}</text>',
    ]
    for band in ordered:
        if len(band.low) == len(band.high) == len(band.at) and not band.baseline:
            ring = path(band.at, band.high) + " " + path(band.at[::-1], band.low[::-1])
            parts.append(f'<polygon points="{ring}" fill="{_style(ordered, band)[0]}" fill-opacity="0.12"/>')
    for i, c in reversed(list(enumerate(ordered))):  # the methods' lines lie over the baselines'
        colour, dashes = _style(ordered, c)
        line = f'stroke="{colour}" stroke-width="{1.6 if c.baseline else 2.2}"'
        line += f' stroke-dasharray="{dashes}"' if dashes else ""
        below = h + 14 + 20 * i
        parts += [
            f'<polyline points="{path(c.at, c.values)}" fill="none" stroke-linejoin="round" {line}/>',
            f'<path d="M{left} {below - 4}h34" {line}/>',
            f'<text x="{left + 44}" y="{below}">{escape(legend[i])}</text>',
        ]
    return "\n".join([*parts, "</svg>"])


def _style(ordered: Sequence[Curve], curve: Curve) -> tuple[str, str]:
    peers = [c for c in ordered if c.baseline is curve.baseline]
    i = next(i for i, c in enumerate(peers) if c is curve)
    if curve.baseline:
        return "#808080", BASELINE_DASHES[i % len(BASELINE_DASHES)]
    return COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)] if i else ""


def _step(rough: float) -> float:
    """Return 1, 2 or 5 times a power of ten, at least `rough`."""
    power = 10.0 ** int(f"{rough:e}".partition("e")[2])
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough * 0.999)


def _twin(title: str, curves: Sequence[Curve]) -> str:
    ends = "; ".join(
        f"{c.name} from {number(float(c.values[0]))} to {number(float(c.values[-1]))}"
        f"{f', {c.note}' if c.note else ''}"
        for c in curves
    )
    return f"{title}: {ends}."
