"""Drawings of the leaderboard as SVG text: an interval, critical differences, distributions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from seewhy.metrics.meta.friedman import Friedman
from seewhy.show.words import number

Values = NDArray[np.float64]
FEW, BINS = 60, 48
"""Up to so many values are drawn one by one; more as a histogram of so many bins."""


def interval(
    mean: float, low: float | None, high: float | None, reach: tuple[float, float], mark: float | None
) -> str:
    """Return a mean and its interval on a line that all methods of a metric share.

    Parameters
    ----------
    mean, low, high
        What is drawn.
    reach
        The ends of the line.
    mark
        Where the random map's mean is, a dashed line.
    """
    w, h = 132, 14

    def x(value: float) -> float:
        return 5 + (value - reach[0]) / ((reach[1] - reach[0]) or 1) * (w - 10)

    parts = [
        f'<svg class="mini" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-hidden="true">'
        f'<path d="M5 {h / 2:g}H{w - 5}" class="rule"/>'
    ]
    if mark is not None:
        parts.append(f'<path d="M{x(mark):.1f} 0V{h}" class="mark"/>')
    if low is not None and high is not None:
        parts.append(f'<path d="M{x(low):.1f} {h / 2:g}H{x(high):.1f}" class="span"/>')
    parts.append(f'<circle cx="{x(mean):.1f}" cy="{h / 2:g}" r="3.6"/></svg>')
    return "".join(parts)


def critical_differences(test: Friedman, names: Mapping[str, str], title: str) -> str:
    """Return the diagram: mean places on an axis, bars join those within the critical difference.

    Parameters
    ----------
    test
        What is drawn.
    names
        How each method is called.
    title
        Of what, for those who cannot see it.
    """
    order = sorted(test.mean_places, key=lambda m: test.mean_places[m])
    count, bars = len(order), test.bars()
    longest = max(len(names.get(m, m)) for m in order)
    side, axis = 60 + 7 * longest, 52
    w = max(600, 2 * side + 160)
    half = math.ceil(count / 2)
    first = axis + 16 + 9 * len(bars)
    h = first + 22 * half + 6

    def x(place: float) -> float:
        return side + (place - 1) / (count - 1) * (w - 2 * side)

    said = ", ".join(f"{names.get(m, m)} {test.mean_places[m]:.2f}" for m in order)
    parts = [
        f'<svg class="plot" role="img" viewBox="0 0 {w} {h}" width="{w}" height="{h}" font-size="13" '
        f'font-family="system-ui, sans-serif" fill="currentColor" aria-label="'
        f'{escape(f"{title}. Mean places: {said}. Critical difference {test.critical_difference:.2f}.")}">',
        f'<path d="M{side} {axis}H{w - side}" class="axis"/>',
    ]
    for place in _ticks(count):
        parts.append(f'<path d="M{x(place):.1f} {axis - 5}v5" class="axis"/>')
        parts.append(f'<text x="{x(place):.1f}" y="{axis - 9}" text-anchor="middle">{place}</text>')
    wide = min(test.critical_difference, count - 1.0)
    parts.append(f'<path d="M{side} 18H{x(1 + wide):.1f}m0 -4v8M{side} 14v8" class="axis"/>')
    shown = f"critical difference {test.critical_difference:.2f}"
    if wide < test.critical_difference:
        shown += ", wider than the axis"
    parts.append(f'<text x="{x(1 + wide) + 8:.1f}" y="22">{shown}</text>')
    for i, bar in enumerate(bars):
        y = axis + 9 + 9 * i
        ends = x(test.mean_places[bar[0]]) - 3, x(test.mean_places[bar[-1]]) + 3
        parts.append(f'<path d="M{ends[0]:.1f} {y}H{ends[1]:.1f}" class="join"/>')
    for i, method in enumerate(order):
        left = i < half
        y = first + 22 * (i if left else count - 1 - i) + 10
        at, end = x(test.mean_places[method]), side - 8 if left else w - side + 8
        label = escape(f"{names.get(method, method)} {test.mean_places[method]:.2f}")
        anchor = "end" if left else "start"
        parts.append(f'<path d="M{at:.1f} {axis}V{y}H{end}" class="stem"/>')
        parts.append(
            f'<text x="{end - 6 if left else end + 6}" y="{y + 4}" text-anchor="{anchor}">{label}</text>'
        )
    return "".join([*parts, "</svg>"])


def _ticks(count: int) -> list[int]:
    step = max(1, math.ceil(count / 10))
    regular = list(range(1, count + 1, step))
    return regular if count - regular[-1] <= step / 2 else [*regular, count]


def distributions(columns: Sequence[tuple[str, Values, bool]], title: str, unit: str, higher: bool) -> str:
    """Return a line a method: all values where they are few, else how often each occurs, and quartiles.

    Parameters
    ----------
    columns
        Name, values without NaN, whether it is a baseline.
    title, unit
        For those who cannot see it; below the axis.
    higher
        Whether more is better, for the words below the axis.
    """
    drawn = [(name, v, b) for name, v, b in columns if len(v)]
    if not drawn:
        return ""
    pool = np.concatenate([v for _, v, _ in drawn])
    low, high = (float(q) for q in np.quantile(pool, [0.001, 0.999]))
    if low == high:
        low, high = low - 0.5, high + 0.5
    w, left, right, row, top = 620, 180, 22, 30, 8
    h = top + row * len(drawn) + 44

    def x(value: float) -> float:
        return left + min(max((value - low) / (high - low), 0), 1) * (w - left - right)

    said = "; ".join(
        f"{name} median {number(float(np.median(v)))}, quartiles {number(float(np.quantile(v, 0.25)))} to "
        f"{number(float(np.quantile(v, 0.75)))}"
        for name, v, _ in drawn
    )
    parts = [
        f'<svg class="plot" role="img" viewBox="0 0 {w} {h}" width="{w}" height="{h}" font-size="13" '
        f'font-family="system-ui, sans-serif" fill="currentColor" aria-label="{escape(f"{title}: {said}.")}">'
    ]
    base = top + row * len(drawn) + 4
    for value in _round_numbers(low, high):
        parts.append(f'<path d="M{x(value):.1f} {top}V{base}" class="rule"/>')
        parts.append(f'<text x="{x(value):.1f}" y="{base + 16}" text-anchor="middle">{number(value)}</text>')
    better = "higher is better →" if higher else "← lower is better"
    parts.append(
        f'<text x="{(left + w - right) / 2:.0f}" y="{h - 4}" text-anchor="middle">{escape(unit)}, '
        f"{better}</text>"
    )
    for i, (name, values, baseline) in enumerate(drawn):
        y = top + row * (i + 0.5)
        kind = "dist base" if baseline else "dist"
        parts.append(
            f'<g class="{kind}"><text x="{left - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>'
        )
        parts.append(_dots(values, x, y) if len(values) <= FEW else _shape(values, (low, high), x, y))
        q1, q2, q3 = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
        parts.append(f'<path d="M{x(q1):.1f} {y:.1f}H{x(q3):.1f}" class="box"/>')
        parts.append(f'<circle cx="{x(q2):.1f}" cy="{y:.1f}" r="4" class="median"/></g>')
    return "".join([*parts, "</svg>"])


def _round_numbers(low: float, high: float) -> list[float]:
    """Return three to seven round numbers between two ends."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= 0.999 * rough)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _dots(values: Values, x: object, y: float) -> str:
    assert callable(x)
    return f'<path d="{"".join(f"M{x(float(v)):.1f} {y - 8:.1f}v16" for v in values)}" class="each"/>'


def _shape(values: Values, reach: tuple[float, float], x: object, y: float) -> str:
    assert callable(x)
    counts, edges = np.histogram(np.clip(values, *reach), BINS, reach)
    tall = 12 * counts / max(1, counts.max())
    middles = (edges[1:] + edges[:-1]) / 2
    up = [f"{x(float(m)):.1f},{y - t:.1f}" for m, t in zip(middles, tall, strict=True)]
    down = [f"{x(float(m)):.1f},{y + t:.1f}" for m, t in zip(middles[::-1], tall[::-1], strict=True)]
    return f'<polygon points="{" ".join(up + down)}" class="shape"/>'
