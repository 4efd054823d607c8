"""The value that only a small share of a layer's cells exceeds, channel by channel: exact, in flat memory.

Half-precision numbers have 16 bits, which turned rightly are in the order of the numbers. Two sweeps over
kept features count how often each value of the upper eight bits comes, then of the lower eight among the
cells that share the upper ones of the number sought. No cell is sorted or remembered.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from seewhy.concepts.store import Features
from seewhy.errors import BadInput
from seewhy.execution import Execution

PART = 16
"""Photos read at once: a chunk of the store."""
_BINS = 256


def upper_quantiles(
    features: Features, digests: Sequence[str], share: float, execution: Execution, what: str = "thresholds"
) -> Tensor:
    """Return each channel's smallest value that at most `share` of its cells exceed.

    Parameters
    ----------
    features, digests
        A layer, and the photos that count.
    share
        Of the cells of all photos, above 0 and below 1.
    execution
        Progress, cancelling.
    what
        Name of the work.

    Returns
    -------
    Tensor
        `(channels,)` float32, each a value of the channel.

    Raises
    ------
    BadInput
        For a share that is none, or photos that were not kept.
    """
    if not 0 < share < 1:
        raise BadInput("Asked for a share of cells", f"Found {share}", "Give a number between 0 and 1")
    upper: Tensor | None = None
    cells = 0
    for keys in _keys(features, digests, execution, f"{what}, first sweep"):
        cells += keys.shape[1]
        counts = _counts(keys >> 8)
        upper = counts if upper is None else upper + counts
    assert upper is not None
    rank = torch.full((len(upper),), math.floor(share * cells + 1e-9))
    high, above = _reached(upper, rank)
    lower = torch.zeros_like(upper)
    for keys in _keys(features, digests, execution, f"{what}, second sweep"):
        lower += _counts(torch.where(keys >> 8 == high[:, None], keys & 0xFF, -1))
    low, _ = _reached(lower, rank - above)
    return _values(high << 8 | low)


def _keys(features: Features, digests: Sequence[str], execution: Execution, what: str) -> Iterator[Tensor]:
    """Yield each photo's `(channels, cells)` int32 keys, 0 to 65,535, in the order of the values."""
    for start in range(0, len(digests), PART):
        part = digests[start : start + PART]
        for grid in features.get(part).flatten(2):
            bits = (grid + 0.0).half().view(torch.int16).int() & 0xFFFF  # -0 + 0 is 0
            yield bits ^ torch.where(bits >= 0x8000, 0xFFFF, 0x8000)
        execution.step(start + len(part), len(digests), what)


def _values(keys: Tensor) -> Tensor:
    bits = keys ^ torch.where(keys >= 0x8000, 0x8000, 0xFFFF)
    return bits.to(torch.int16).view(torch.float16).float()


def _counts(bins: Tensor) -> Tensor:
    """Return `(channels, 256)` int64: how often each bin comes in each row; -1 is none."""
    channels = len(bins)
    rows = torch.arange(channels)[:, None] * (_BINS + 1)
    counts = torch.bincount((bins + 1 + rows).flatten(), minlength=channels * (_BINS + 1))
    return counts.reshape(channels, _BINS + 1)[:, 1:]


def _reached(counts: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each row the bin of its `rank`-th largest value, from 0, and how many lie in bins above."""
    from_top = counts.flip(1).cumsum(1)
    place = (from_top > rank[:, None]).int().argmax(1)
    bin_ = _BINS - 1 - place
    return bin_, (from_top.gather(1, place[:, None]) - counts.gather(1, bin_[:, None]))[:, 0]
