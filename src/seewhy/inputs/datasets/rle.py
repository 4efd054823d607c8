"""Run-length encoded masks as COCO stores them: plain lists of counts, or the compressed string.

The counts tell how many pixels in a row, going down one column after the other, are outside, then inside,
then outside ... In the string every count is a number of 5-bit digits, lowest first, each plus 48 as a
character; 32 in a digit says that another follows, 16 in the last that the number is negative (two's
complement). From the fourth count on, what is stored is the difference from the count two before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seewhy.errors import UnreadableInput

_DIGITS = 7
"""Most digits a count: 35 bits, more than any photo has pixels."""


def decode(counts: str | Sequence[int], height: int, width: int, asked: str) -> NDArray[np.bool_]:
    """Return the `(height, width)` mask of compressed (a string) or plain counts.

    Raises
    ------
    UnreadableInput
        For counts that are negative or do not add up to the size, and a string that is none.
    """
    runs = np.asarray(counts_of(counts, asked) if isinstance(counts, str) else counts, dtype=np.int64)
    if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != height * width:
        raise UnreadableInput(
            asked,
            f"Its run lengths do not add up to {height} x {width} pixels",
            "Correct the annotation, or leave it out",
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def counts_of(text: str, asked: str) -> list[int]:
    """Return the plain counts of a compressed string.

    Raises
    ------
    UnreadableInput
        For characters that are no digits, and a number that does not end.
    """
    counts: list[int] = []
    value = place = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or place == _DIGITS:
            break
        value |= (digit & 31) << 5 * place
        place += 1
        if not digit & 32:
            value -= (digit & 16) << 5 * place - 4
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = place = 0
    else:
        if not place:
            return counts
    raise UnreadableInput(asked, "Its run lengths are no COCO string", "Correct the annotation")
