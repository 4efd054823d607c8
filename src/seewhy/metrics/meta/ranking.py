"""Ranks with ties: equal values share the mean of theirs."""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(values: Tensor) -> Tensor:
    """Return `(n, m)` float64 ranks within each row from 1, lowest first; for few columns.

    Examples
    --------
    >>> ranks(torch.tensor([[0.2, 0.9, 0.2]])).tolist()
    [[1.5, 3.0, 1.5]]
    """
    found = torch.empty(values.shape, dtype=torch.float64)
    for start in range(0, len(values), 4096):  # (rows, m, m) comparisons at a time: memory stays small
        v = values[start : start + 4096]
        below = (v[:, :, None] > v[:, None, :]).sum(2)
        equal = (v[:, :, None] == v[:, None, :]).sum(2)
        found[start : start + 4096] = below + (equal + 1) / 2
    return found


def pooled_ranks(values: Tensor) -> Tensor:
    """Return `(n,)` float64 ranks from 1, lowest first; for many values."""
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    middle: Tensor = last - (counts.double() - 1) / 2
    return middle[place]
