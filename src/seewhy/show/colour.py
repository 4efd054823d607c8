"""Numbers to colours: tables of 256 colours, and the scale that says which number gets which of them.

The tables are hexadecimal text in `tables.json`, so that Python, the report and a browser paint the same
pixels. viridis, inferno, magma and cividis are CC0 (van der Walt, Smith, Nuñez, Anderton and Renslow); turbo
is Google's (Apache-2.0) and not uniform in lightness; blue-red is ColorBrewer's RdBu (Apache-2.0), reversed
and resampled so that entry 128 is exactly neutral.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seewhy.errors import UnknownName
from seewhy.show.words import number, percent

Array: TypeAlias = NDArray[Any]

SEQUENTIAL, DIVERGING = "inferno", "blue-red"
NO_VALUE = (128, 128, 128)
"""Colour of a place without a value (NaN, infinity)."""


@cache
def _tables() -> dict[str, dict[str, Any]]:
    loaded: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("tables.json").read_text())
    return loaded


def colour_maps() -> list[str]:
    """Return the names of the colour maps."""
    return list(_tables())


def describe(name: str) -> str:
    """Return what a colour map is, for a list of choices: "turbo (sequential, not uniform)"."""
    entry = _entry(name)
    return f"{name} ({entry['kind']}{'' if entry['uniform'] else ', not uniform'})"


def facts(name: str) -> dict[str, Any]:
    """Return a colour map as JSON: `kind`, `uniform` and `hex`, three bytes a colour."""
    return dict(_entry(name))


@cache
def table(name: str) -> Array:
    """Return the `(256, 3)` uint8 colours of a map, lowest value first; read-only.

    Raises
    ------
    UnknownName
        With the nearest names.
    """
    colours = np.frombuffer(bytes.fromhex(_entry(name)["hex"]), np.uint8).reshape(256, 3)
    colours.flags.writeable = False
    return colours


def _entry(name: str) -> dict[str, Any]:
    if name not in _tables():
        raise UnknownName("colour map", name, colour_maps())
    return _tables()[name]


@dataclass(frozen=True)
class Scale:
    """Which value gets which colour.

    Parameters
    ----------
    low, high
        Values of the first and the last colour; `low == high == 0` for a flat scale.
    centre
        0.0 for a signed scale, whose middle colour means exactly zero; None for an unsigned one.
    clipped
        Fraction of the finite values beyond `low` or `high`, 0 to 1.
    missing
        Fraction of all values that are NaN or infinite, 0 to 1.
    flat
        Why there is nothing to show ("zero everywhere"), or "".
    """

    low: float
    high: float
    centre: float | None = None
    clipped: float = 0.0
    missing: float = 0.0
    flat: str = ""

    @classmethod
    def of(cls, values: Array, signed: bool, quantile: float = 0.995) -> Scale:
        """Return the scale of an array of any shape.

        Unsigned: `[0, q]`; signed: `[-q, q]`, with q the given quantile of v or |v|. Where that is zero
        but some values are not (a map of few points), q is the largest value. An unsigned map that lies far
        above zero everywhere (its lowest values over a third of q, as RISE's do) would be one veil of colour:
        its scale starts at the quantile `1 - quantile` instead, and `remarks` says so.
        """
        v = np.asarray(values, np.float64).ravel()
        finite = v[np.isfinite(v)]
        missing = 1 - finite.size / v.size if v.size else 1.0
        centre = 0.0 if signed else None
        sizes = np.abs(finite) if signed else finite
        top = float(np.quantile(sizes, quantile)) if sizes.size else 0.0
        if top <= 0 and sizes.size:
            top = float(sizes.max())
        if top <= 0:
            if not finite.size:
                return cls(0.0, 0.0, centre, 0.0, missing, "no finite value")
            why = "nothing above zero" if finite.any() else "zero everywhere"
            return cls(0.0, 0.0, centre, float(np.mean(finite != 0)), missing, why)
        flat = "the same value everywhere" if finite.size > 1 and finite.min() == finite.max() else ""
        low = -top if signed else 0.0
        if not signed and not flat and (start := float(np.quantile(finite, 1 - quantile))) > top / 3:
            low = start if start < top else float(finite.min())
        clipped = float(np.mean((finite < low) | (finite > top)))
        return cls(low, top, centre, clipped, missing, flat)

    @property
    def signed(self) -> bool:
        """Whether the scale has a middle."""
        return self.centre is not None

    def positions(self, values: Array) -> Array:
        """Return the uint8 table entry of each value: 0 to 255, or 1 to 255 around 128 where signed."""
        v = self._fraction(values)
        entries: Array = np.rint(128 + 127 * v if self.signed else 255 * v).astype(np.uint8)
        return entries

    def strength(self, values: Array) -> Array:
        """Return the distance from zero, or from a start above it, as a fraction of the scale, 0 to 1.

        Values without a number have none.
        """
        strength: Array = np.abs(self._fraction(values))
        return strength

    def _fraction(self, values: Array) -> Array:
        """Return -1 to 1 (signed) or 0 to 1; 0 for values without a number."""
        v = np.asarray(values, np.float64)
        start = max(0.0, self.low)
        if self.high <= start:
            return np.zeros_like(v)
        v = np.where(np.isfinite(v), v, start)
        placed: Array = (np.clip(v, self.low, self.high) - start) / (self.high - start)
        return placed

    def ticks(self) -> list[tuple[float, str]]:
        """Return `(place along the bar from 0 to 1, number)` of the two ends and the middle."""
        if self.high <= 0:
            return [(0.5, "0")]
        middle = (self.low + self.high) / 2
        return [(0.0, number(self.low)), (0.5, number(middle)), (1.0, number(self.high))]

    def remarks(self) -> list[str]:
        """Return what a reader must know beside the numbers: flatness, clipping, missing values."""
        said = [self.flat] if self.flat else []
        if self.low > 0:
            said.append("starts above 0")
        if self.clipped:
            said.append(f"{percent(self.clipped)} clipped")
        if self.missing:
            said.append(f"{percent(self.missing)} without a number")
        return said


def colourise(values: Array, scale: Scale, cmap: str | None = None) -> Array:
    """Return `(*shape, 3)` uint8 colours of an array of values; NaN and infinity are mid-grey.

    Parameters
    ----------
    cmap
        Name of a colour map; by default inferno for unsigned scales and blue-red for signed ones.
    """
    colours = table(cmap or (DIVERGING if scale.signed else SEQUENTIAL))
    painted: Array = colours[scale.positions(values)]
    painted[~np.isfinite(np.asarray(values, np.float64))] = NO_VALUE
    return painted
