"""Paired tests: whether a metric tells two methods apart on the same samples.

Two methods are measured on the same samples, so that their differences count, sample by sample, and not
whether their two intervals overlap: photos are easy or hard for both alike. Under the null hypothesis each
difference might as well have had the other sign.

Formula
    Wilcoxon: the sum of the ranks of |difference| over positive differences, against its distribution when
    every sign is a fair coin. Sign flips: the same for the mean of the differences. Both two-sided. Holm: the
    i-th smallest of k p-values times (k - i + 1), made to rise.
Cost
    no model passes. Wilcoxon is exact up to 50 differences (all 2^n signs, counted by sums), the normal
    approximation with tied ranks corrected above; sign flips are exact up to 16, 20,000 draws above.
Paper
    Wilcoxon: Individual comparisons by ranking methods, 1945, https://doi.org/10.2307/3001968;
    Holm: A simple sequentially rejective multiple test procedure, 1979,
    https://www.jstor.org/stable/4615733; Demsar: Statistical comparisons of classifiers over multiple data
    sets, 2006, https://jmlr.org/papers/v7/demsar06a.html
Departures
    Differences of 0 are left out (Wilcoxon's own way); without any other p is 1. A draw of signs counts
    the observed one, too, so that p is never 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from seewhy.metrics.meta.outcomes import Outcomes
from seewhy.metrics.meta.ranking import pooled_ranks
from seewhy.perturb.counters import uniform

EXACT, ENUMERATED, DRAWS = 50, 16, 20_000
LEVEL = 0.05
"""Above this p, two methods are not told apart."""

Test = Literal["wilcoxon", "sign_flip"]


@dataclass(frozen=True)
class Comparison:
    """Two methods under one metric.

    Parameters
    ----------
    better, worse
        By the mean.
    difference
        Of the means in the metric's unit, at least 0.
    p
        Of the paired test, two-sided.
    adjusted
        The same after Holm, over all pairs of the metric.
    """

    better: str
    worse: str
    difference: float
    p: float
    adjusted: float

    @property
    def told_apart(self) -> bool:
        """Whether the metric tells the two apart on these samples."""
        return self.adjusted <= LEVEL


def comparisons(found: Outcomes, test: Test = "wilcoxon") -> list[Comparison]:
    """Return every pair of methods with the p-value of their difference, adjusted over all pairs."""
    chance = {"wilcoxon": wilcoxon, "sign_flip": sign_flip}[test]
    good = found.goodness
    pairs = []
    for a, b in itertools.combinations(range(len(found.methods)), 2):
        difference = good[:, a] - good[:, b]
        mean = float(difference.mean())
        first, second = (a, b) if mean >= 0 else (b, a)
        pairs.append((found.methods[first], found.methods[second], abs(mean), chance(difference)))
    adjusted = holm([p for *_, p in pairs])
    return [Comparison(*pair, p) for pair, p in zip(pairs, adjusted, strict=True)]


def place_ranges(methods: Sequence[str], pairs: Sequence[Comparison]) -> dict[str, tuple[int, int]]:
    """Return the best and the worst place that each method may hold: those told apart from it are counted.

    (1, 1) is the sole winner; (1, 5) may be first, and may be fifth.
    """
    beaten = {m: sum(c.worse == m and c.told_apart for c in pairs) for m in methods}
    beats = {m: sum(c.better == m and c.told_apart for c in pairs) for m in methods}
    return {m: (1 + beaten[m], len(methods) - beats[m]) for m in methods}


def needed(pairs: int) -> int:
    """Return from how many samples on a paired test of so many pairs can tell any two apart.

    Fewer differences, all of one sign, have no p-value below 2^(1 - n) and Holm multiplies the least by the
    number of pairs.

    Examples
    --------
    >>> needed(1), needed(21)
    (6, 10)
    """
    return 1 + math.ceil(math.log2(max(1, pairs) / LEVEL))


def wilcoxon(differences: Tensor) -> float:
    """Return the two-sided p-value of Wilcoxon's signed rank test for `(n,)` differences."""
    d = differences.double()
    d = d[d != 0]
    n = len(d)
    if n == 0:
        return 1.0
    order = pooled_ranks(d.abs())
    up = float(order[d > 0].sum())
    if n <= EXACT:
        return _exact(tuple(sorted((2 * order).long().tolist())), round(2 * up))
    spread = math.sqrt(float(order.square().sum()) / 4)
    return math.erfc(abs(up - n * (n + 1) / 4) / spread / math.sqrt(2))


def sign_flip(differences: Tensor, seed: int = 0) -> float:
    """Return the two-sided p-value of the mean of `(n,)` differences when each might change its sign."""
    d = differences.double()
    d = d[d != 0]
    n = len(d)
    if n == 0:
        return 1.0
    observed = abs(float(d.sum()))
    slack = 1e-12 * float(d.abs().sum())  # sums in another order differ in their last digits
    if n <= ENUMERATED:
        signs = 1 - 2 * ((torch.arange(2**n)[:, None] >> torch.arange(n)) & 1).double()
        return float(((signs @ d).abs() >= observed - slack).double().mean())
    hits, lanes = 1, max(1, 2_000_000 // n)
    for start in range(0, DRAWS, lanes):
        index = torch.arange(start, min(start + lanes, DRAWS))
        signs = 1 - 2 * (uniform(seed, index, n) < 0.5).double()
        hits += int(((signs @ d).abs() >= observed - slack).sum())
    return hits / (DRAWS + 1)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the same order, at most 1."""
    adjusted, largest = [0.0] * len(p), 0.0
    for i, j in enumerate(sorted(range(len(p)), key=lambda j: p[j])):
        largest = max(largest, min(1.0, (len(p) - i) * p[j]))
        adjusted[j] = largest
    return adjusted


@lru_cache(maxsize=512)
def _distribution(doubled: tuple[int, ...]) -> Tensor:
    """Return the probability of each sum of a random half of these whole numbers (twice the ranks)."""
    chances = torch.zeros(sum(doubled) + 1, dtype=torch.float64)
    chances[0] = 1
    for rank in doubled:
        moved = torch.zeros_like(chances)
        moved[rank:] = chances[: len(chances) - rank]
        chances = (chances + moved) / 2
    return chances


def _exact(doubled: tuple[int, ...], up: int) -> float:
    chances = _distribution(doubled)
    tail = min(up, len(chances) - 1 - up)
    return min(1.0, 2 * float(chances[: tail + 1].sum()))
