"""Friedman's test and Nemenyi's critical difference: whether the mean places of methods differ at all.

Each sample puts the methods in order; if the metric saw no difference, every order would be as likely as any
other and the mean places would lie together. The critical difference says how far apart two mean places must
be to count as different when all pairs are compared; the diagram joins by a bar what is not.

Formula
    chi2 = (m - 1) sum_j (R_j - n (m + 1) / 2)^2 / (sum_ij r_ij^2 - n m (m + 1)^2 / 4) with m - 1 degrees of
    freedom; r_ij the place of method j on sample i of n, R_j its sum; equal ones share their mean place.
    CD = q sqrt(m (m + 1) / (6 n)), q the quantile of the range of m standard normal numbers over sqrt(2).
Cost
    no model passes.
Paper
    Friedman: The use of ranks to avoid the assumption of normality, 1937,
    https://doi.org/10.1080/01621459.1937.10503522; Demsar: Statistical comparisons of classifiers over
    multiple data sets, 2006, https://jmlr.org/papers/v7/demsar06a.html
Departures
    The chi-squared distribution is an approximation that is poor for fewer than about ten samples. Mean
    places of a pair depend on which other methods take part (Benavoli, Corani, Mangili 2016,
    https://jmlr.org/papers/v17/benavoli16a.html), so that paired tests and not the critical difference decide
    what a leaderboard calls different; the diagram is a picture of the order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from seewhy.metrics.meta.outcomes import Outcomes
from seewhy.metrics.meta.paired import LEVEL


@dataclass(frozen=True)
class Friedman:
    """Whether places differ.

    Parameters
    ----------
    statistic
        Chi-squared.
    p
        The chance of so large a statistic where the metric sees no difference; 1 where all is tied.
    mean_places
        Of each method by name, 1 the best.
    critical_difference
        Two mean places that differ by less are not told apart at 5 %.
    """

    statistic: float
    p: float
    mean_places: dict[str, float]
    critical_difference: float

    def bars(self) -> list[tuple[str, ...]]:
        """Return the largest runs of methods, best first, whose mean places all lie within the difference."""
        order = sorted(self.mean_places, key=lambda m: self.mean_places[m])
        runs: list[tuple[str, ...]] = []
        reached = 0
        for i, first in enumerate(order):
            end = i
            while end < len(order) and self._near(first, order[end]):
                end += 1
            if end > reached and end - i > 1:
                runs.append(tuple(order[i:end]))
            reached = max(reached, end)
        return runs

    def _near(self, a: str, b: str) -> bool:
        return abs(self.mean_places[a] - self.mean_places[b]) < self.critical_difference


def friedman(found: Outcomes) -> Friedman:
    """Return Friedman's test over the samples of one metric."""
    places = found.places()
    n, m = places.shape
    sums = places.sum(0)
    between = float((sums - n * (m + 1) / 2).square().sum())
    within = float(places.square().sum()) - n * m * (m + 1) ** 2 / 4
    statistic = (m - 1) * between / within if within > 1e-9 else 0.0
    half = torch.tensor([(m - 1) / 2, statistic / 2], dtype=torch.float64)
    p = float(torch.special.gammaincc(half[0], half[1]))
    means = dict(zip(found.methods, (sums / n).tolist(), strict=True))
    return Friedman(statistic, p, means, critical_difference(m, n))


def critical_difference(methods: int, samples: int, level: float = LEVEL) -> float:
    """Return Nemenyi's critical difference of mean places.

    Examples
    --------
    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    q = range_quantile(methods, 1 - level) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * samples))


def range_quantile(count: int, chance: float) -> float:
    """Return the number that the range of `count` standard normal numbers stays below with this chance."""
    low, high = 0.0, 20.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _range_chance(middle, count) < chance else (low, middle)
    return high


def _range_chance(width: float, count: int) -> float:
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    inside = torch.special.ndtr(z + width) - torch.special.ndtr(z)
    return count * float(torch.trapezoid(density * inside ** (count - 1), z))
