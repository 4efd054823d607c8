"""Numbers and maps in words: for ticks, captions and for those who cannot see the picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def number(value: float) -> str:
    """Return three significant digits: `0`, `0.0123`, `-4.5`, `1.2e-5`, `12,300`."""
    if not math.isfinite(value):
        return "no number"
    if value == 0:
        return "0"
    exponent = int(f"{value:.2e}".partition("e")[2])
    if -4 <= exponent <= 5:
        text = f"{value:,.{max(0, 2 - exponent)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else f"{float(f'{value:.2e}'):,.0f}"
    mantissa, _, power = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"


def percent(fraction: float) -> str:
    """Return `0.5 %`, `41 %`, `< 0.1 %`."""
    if 0 < fraction < 0.001:
        return "< 0.1 %"
    shown = 100 * fraction
    return f"{shown:.1f} %" if shown < 10 and round(shown, 1) % 1 else f"{shown:.0f} %"


def text_twin(values: NDArray[Any], signed: bool) -> str:
    """Return one sentence that says what a map shows.

    Parameters
    ----------
    values
        `(h, w)` or `(t, h, w)`; mass is |v| for signed maps and v above 0 for others.
    signed
        Whether negative values mean evidence against.

    Examples
    --------
    >>> spot = np.zeros((100, 100))
    >>> spot[20:30, 70:80] = 1.0
    >>> text_twin(spot, signed=False)
    'Peak at x 70, y 20 (top right quarter); 100 % of the mass in 10 % of the area.'
    """
    v = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    mass = np.abs(v) if signed else np.clip(v, 0, None)
    total = mass.sum()
    if total == 0:
        return "The map is empty: no place counts."
    if mass.min() == mass.max():
        return "The map is flat: every place counts the same."
    *frame, y, x = (int(i) for i in np.unravel_index(int(mass.argmax()), mass.shape))
    h, w = mass.shape[-2:]
    where = f"{'top' if y < h / 2 else 'bottom'} {'left' if x < w / 2 else 'right'} quarter"
    at = f"frame {frame[0]}, x {x}, y {y}" if frame else f"x {x}, y {y}"
    most = np.sort(mass, axis=None)[::-1][: max(1, round(mass.size / 10))].sum() / total
    said = f"Peak at {at} ({where}); {percent(float(most))} of the mass in 10 % of the area"
    if signed:
        said += f"; {percent(float(np.clip(-v, 0, None).sum() / total))} of the mass is evidence against"
    return said + "."
