"""Arrays for a browser: float16 numbers between -1 and 1, and the factor that makes them values again.

A page chooses colours from the unpacked numbers, by the rules of `colour` and `drawing`, and paints the same
pixels from them as Python.
"""

from __future__ import annotations

import numpy as np

from seewhy.show.colour import Array


def pack(values: Array) -> tuple[float, bytes]:
    """Return the factor and the bytes (little-endian float16, row-major) of an array of any shape.

    The factor is the largest absolute finite value, or 1 where that is zero. Read back, a number is off by at
    most 2**-11 of itself, or 2**-25 of the largest; NaN and infinity stay what they are.
    """
    v = np.asarray(values, np.float64)
    finite = np.isfinite(v)
    factor = float(np.abs(v[finite]).max(initial=0.0)) or 1.0
    return factor, (v / factor).astype("<f2").tobytes()


def unpack(factor: float, data: bytes, shape: tuple[int, ...]) -> Array:
    """Return the float64 values of packed numbers."""
    values: Array = np.frombuffer(data, "<f2").astype(np.float64).reshape(shape) * factor
    return values
