"""Krippendorff's alpha: how much several raters agree, beyond what their numbers give by chance.

1 where they agree wholly, 0 where they agree as strangers would, below 0 where they contradict each other.
Here the raters are samples, each of which orders the methods; any table of raters and units will do, gaps
included.

Formula
    1 - D_o / D_e. D_o is the mean squared distance of two numbers that one unit was given by different
    raters, D_e that of any two numbers. Distances: nominal, 1 for different numbers; interval, their
    difference; ordinal, how many numbers (of all that were given) lie between them, their own halves
    counted.
Cost
    one sort: both sums have closed forms, since an ordinal distance is the difference of two pooled ranks and
    a nominal one half the squared distance of two indicators.
Paper
    Krippendorff: Content Analysis, 2004, chapter 11; Computing Krippendorff's Alpha-Reliability, 2011,
    https://repository.upenn.edu/asc_papers/43
Departures
    Undefined (NaN) where no unit has two numbers or all numbers are equal.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from seewhy.metrics.meta.ranking import pooled_ranks

Level = Literal["nominal", "ordinal", "interval"]


def krippendorff_alpha(ratings: Tensor, level: Level = "ordinal") -> float:
    """Return the agreement of `(raters, units)` numbers, at most 1; NaN stands for no number.

    Examples
    --------
    >>> krippendorff_alpha(torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]))
    1.0
    """
    x = ratings.double()
    known = ~x.isnan()
    known &= known.sum(0) >= 2  # a single number pairs with nothing
    if not bool(known.any()):
        return float("nan")
    pooled = x[known]
    if level == "interval":
        pooled = pooled - pooled.mean()  # distances stay; large means would eat digits
        observed, expected = _distances(pooled, known)
    elif level == "ordinal":
        observed, expected = _distances(pooled_ranks(pooled), known)
    else:
        parts = [_distances((pooled == value).double(), known) for value in pooled.unique()]
        observed, expected = (sum(each) for each in zip(*parts, strict=True))
    return 1 - observed / expected if expected > 0 else float("nan")


def _distances(pooled: Tensor, known: Tensor) -> tuple[float, float]:
    """Return the mean squared distance within units, and between any two numbers."""
    x = torch.zeros(known.shape, dtype=torch.float64)
    x[known] = pooled
    count = known.sum(0).double()
    within = 2 * (count * x.square().sum(0) - x.sum(0).square())
    n = float(count.sum())
    observed = float((within / (count - 1))[count > 0].sum()) / n
    expected = 2 * float(n * pooled.square().sum() - pooled.sum().square()) / (n * (n - 1))
    return observed, expected
