"""Tests of concepts: two-sided, calibrated, corrected for how many are asked; intervals by bootstrap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from seewhy.concepts.draws import permutations, resamples

Correction = Literal["holm", "bonferroni", "benjamini_hochberg", "none"]
CORRECTIONS: tuple[Correction, ...] = ("holm", "bonferroni", "benjamini_hochberg", "none")
LEVEL = 0.05
"""Of the tests; intervals hold 95 %."""


def permutation_test(seed: int, values: Tensor, marked: Tensor, draws: int) -> float:
    """Return the two-sided p-value that the marked values have the mean of the others.

    Exact: under exchange of the marks it is at most p with probability at most p.

    Parameters
    ----------
    seed
        Of the permutations.
    values
        `(n,)`.
    marked
        `(n,)` bool.
    draws
        Permutations besides the one at hand; the smallest p is 1 / (draws + 1).
    """
    v = values.double() - values.double().mean()
    count = int(marked.sum())
    weight = 1 / count + 1 / (len(v) - count)  # mean of the marked less mean of the others, times this
    order = permutations(seed, draws, len(v))[:, :count]
    return _two_sided(float(v[marked].sum() * weight), v[order].sum(1) * weight)


def weights_test(seed: int, values: Tensor, weights: Tensor, draws: int) -> float:
    """Return the two-sided p-value that `(n,)` values have nothing to do with `(n,)` weights.

    The statistic is their product less that of their means; weights go to other values at random. Two weights
    alone are `permutation_test`, whose other parameters these are.
    """
    v, w = values.double() - values.double().mean(), weights.double()
    drawn = torch.cat([v[order] @ w for order in permutations(seed, draws, len(v)).split(256)])
    return _two_sided(float(v @ w), drawn)


def _two_sided(there: float, drawn: Tensor) -> float:
    # Rounding must not tell an equal from a larger one.
    more = int((drawn.abs() >= abs(there) * (1 - 1e-9)).sum())
    return (1 + more) / (len(drawn) + 1)


def t_test(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return t and the two-sided p of Student's test of two samples with one variance.

    NaN where neither sample varies; infinite t and p = 0 only where they differ without varying.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    freedom = len(a) + len(b) - 2
    if min(len(a), len(b)) < 1 or freedom < 1:
        return math.nan, math.nan
    spread = ((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()
    error = math.sqrt(spread / freedom * (1 / len(a) + 1 / len(b)))
    difference = float(a.mean() - b.mean())
    if error == 0:
        return (math.nan, math.nan) if difference == 0 else (math.copysign(math.inf, difference), 0.0)
    t = difference / error
    return t, t_tail(t, freedom)


def t_tail(t: float, freedom: float) -> float:
    """Return the probability of at least |t| under Student's t: with u = sin^2 its density is smooth."""
    if t == 0:
        return 1.0
    end = math.atan(math.sqrt(freedom) / abs(t))
    nodes, weights = np.polynomial.legendre.leggauss(96)
    angles = (nodes + 1) / 2 * end
    area = float((weights * np.sin(angles) ** (freedom - 1)).sum()) * end / 2
    scale = 2 / math.sqrt(math.pi) * math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    return min(1.0, scale * area)


def corrected(p: Sequence[float], how: Correction) -> list[float]:
    """Return p-values adjusted for their number; NaN stays and does not count."""
    known = [i for i, v in enumerate(p) if not math.isnan(v)]
    m, order = len(known), sorted(known, key=lambda i: p[i])
    adjusted = list(p)
    match how:
        case "none":
            return adjusted
        case "bonferroni":
            for i in known:
                adjusted[i] = min(1.0, m * p[i])
        case "holm":
            worst = 0.0
            for rank, i in enumerate(order):
                worst = max(worst, min(1.0, (m - rank) * p[i]))
                adjusted[i] = worst
        case "benjamini_hochberg":
            best = 1.0
            for rank in range(m, 0, -1):
                best = min(best, m / rank * p[order[rank - 1]])
                adjusted[order[rank - 1]] = best
    return adjusted


def cliffs_delta(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how much more often a value of the first is larger than one of the second: -1 to 1."""
    a, b = torch.tensor(list(first))[:, None], torch.tensor(list(second))[None]
    return float((a > b).double().mean() - (a < b).double().mean())


def mean_interval(seed: int, table: Tensor, draws: int) -> tuple[float, float]:
    """Return the 95 % interval of the mean of a `(rows, columns)` table, both resampled."""
    t = table.double()
    rows, columns = resamples(seed, draws, t.shape[0]), resamples(seed ^ 1, draws, t.shape[1])
    means = torch.einsum("br,rc,bc->b", rows, t, columns) / t.numel()
    return interval(means)


def interval(means: Tensor) -> tuple[float, float]:
    """Return the 2.5th and 97.5th percentile."""
    low, high = torch.quantile(means.double(), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
