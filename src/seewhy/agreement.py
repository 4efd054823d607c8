"""How much two maps agree: correlation of their values, and of their ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.types import Scores


@dataclass(frozen=True, eq=False)
class Agreement:
    """Correlations of two sets of maps, sample by sample.

    Parameters
    ----------
    spearman
        `(n,)` float32 correlation of ranks, -1 to 1; ties share their mean rank. NaN where a map is constant
        or holds a value that is no number.
    pearson
        `(n,)` float32 correlation of values, likewise.
    """

    spearman: Scores
    pearson: Scores

    @classmethod
    def of(cls, a: Tensor, b: Tensor) -> Agreement:
        """Return the agreement of two tensors `(n, *size)` of one shape."""
        a, b = a.flatten(1).double(), b.flatten(1).double()
        return cls(_correlation(_ranks(a), _ranks(b)).float(), _correlation(a, b).float())


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    def centred(v: Tensor) -> Tensor:
        # The scale does not matter; taking it out first keeps squares of tiny and huge values in range.
        v = v / v.abs().amax(1, keepdim=True)
        constant = v.amin(1, keepdim=True) == v.amax(1, keepdim=True)
        return torch.where(constant, torch.nan, v - v.mean(1, keepdim=True))

    a, b = centred(a), centred(b)
    products: Tensor = (a * b).sum(1) / (a.square().sum(1).sqrt() * b.square().sum(1).sqrt())
    return products.clamp(-1, 1)


def _ranks(v: Tensor) -> Tensor:
    """Return `(n, m)` ranks from 1; equal values share the mean of theirs, rows with NaN are NaN."""
    ranked = torch.empty_like(v)
    for row, out in zip(v, ranked, strict=True):
        _, place, counts = row.unique(return_inverse=True, return_counts=True)
        last = counts.cumsum(0).double()
        out.copy_((last - (counts.double() - 1) / 2)[place])
        if not bool(row.isfinite().all()):
            out.fill_(torch.nan)
    return ranked
