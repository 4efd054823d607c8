"""Reliability of a metric: whether samples agree on the order of methods, with a random map last.

A metric that ranks methods by chance, or prefers noise, says nothing about explanations however many digits
it prints. So each sample is taken as a judge who puts the methods in order. The first number asks that the
judges agree and that they place the random map last, both at once; the others ask for each alone, and for
the whole table: would other samples give the same order?

Formula
    alpha = sum_{i<j} w_i w_j (rho_ij + 1) / sum_{i<j} w_i w_j - 1, from -1 to 1; rho_ij Spearman's
    correlation of the scores that samples i and j give the methods, w_i the share of methods that sample i
    places above the random map. agreement is the mean rho_ij with equal weights, krippendorff the ordinal
    alpha of the places. repeatable = n r / (1 + (n - 1) r) with r the agreement, 0 where r < 0 (Spearman and
    Brown): the expected correlation of the mean order over these n samples with that over n others.
Needs
    a table with the random map among its rows; without it alpha and its place are missing.
Cost
    no model passes; linear in samples, for sum_{i<j} w_i w_j rho_ij is half of |sum_i w_i z_i|^2 - sum_i
    w_i^2, z_i the places of sample i, centred and scaled to length 1. Intervals by 1,000 resamples of
    samples, pairs of a sample with itself left out.
Paper
    Li, Wang, Li, Huang, Sato: Spatio-Temporal Perturbations for Video Attribution, TCSVT 2021,
    https://arxiv.org/abs/2109.00222
Departures
    Methods that share a place count half in w_i; samples on which all methods tie have no order and are left
    out (their number is told). -1 where no two samples place any method above the random map, as in the
    authors' code. Weights hide dissent: alpha is 1 even where all samples but two prefer noise and these
    two agree. Read it beside the place of the random map, never alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from seewhy.metrics.meta.friedman import Friedman, friedman
from seewhy.metrics.meta.krippendorff import krippendorff_alpha
from seewhy.metrics.meta.outcomes import RANDOM, Outcomes, outcomes
from seewhy.metrics.meta.paired import LEVEL, Comparison, comparisons, needed, place_ranges
from seewhy.perturb.counters import uniform

if TYPE_CHECKING:
    from seewhy.metrics.table import Table

RESAMPLES, AT_ONCE = 1000, 200_000
REPEATABLE = 0.8
"""A mean order expected to correlate less with that of other samples is called unsettled."""

Verdict = Literal[
    "tells methods apart",
    "tells methods from noise",
    "tells some apart",
    "prefers noise",
    "tells nothing apart",
]
"""Apart: each method is shown to be better than the random map, and most pairs of methods to differ. From
noise: only the first. Some: not even that. Prefers noise: more methods are shown to be worse than the random
map than better. Nothing: no pair is shown to differ."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % bootstrap interval over samples."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True)
class Reliability:
    """How far one metric can be believed on the samples of a table.

    Parameters
    ----------
    metric
        Its name.
    methods
        Those compared: every method and the random map.
    samples, left_out, tied
        How many samples count, lack a value, or tie all methods.
    dropped
        Methods left out because they have no value on most samples.
    alpha
        Agreement weighted by how low the random map is, -1 to 1; None without a random map.
    agreement
        Mean rank correlation of two samples' orders, -1 to 1; NaN where fewer than two have an order.
    krippendorff
        Ordinal alpha of the places, at most 1; NaN where all tie.
    repeatable
        Expected rank correlation of the mean order with that of as many other samples, 0 to 1.
    random_place
        Mean place of the random map, 1 the best; None without one.
    random_last
        Share of samples on which nothing is placed below it; None without one.
    order
        Friedman's test and mean places.
    pairs
        Paired tests of every two maps, all baselines included.
    """

    metric: str
    methods: tuple[str, ...]
    samples: int
    left_out: int
    tied: int
    dropped: tuple[str, ...]
    alpha: Estimate | None
    agreement: Estimate
    krippendorff: float
    repeatable: float
    random_place: Estimate | None
    random_last: float | None
    order: Friedman
    pairs: tuple[Comparison, ...]

    @property
    def above_random(self) -> tuple[str, ...]:
        """Methods that the metric shows to be better than the random map."""
        better = {c.better for c in self.pairs if c.worse == RANDOM and c.told_apart}
        return tuple(m for m in self.methods if m in better)

    @property
    def below_random(self) -> tuple[str, ...]:
        """Methods that the metric shows to be worse than the random map."""
        worse = {c.worse for c in self.pairs if c.better == RANDOM and c.told_apart}
        return tuple(m for m in self.methods if m in worse)

    @property
    def places(self) -> dict[str, tuple[int, int]]:
        """The best and worst place of each method and baseline that the paired tests leave open."""
        return place_ranges(
            list(dict.fromkeys(m for c in self.pairs for m in (c.better, c.worse))), self.pairs
        )

    @property
    def verdict(self) -> Verdict:
        """In a few words what the numbers say."""
        real = len(self.methods) - (RANDOM in self.methods)
        if not any(c.told_apart for c in self._own):
            return "tells nothing apart"
        if len(self.below_random) > len(self.above_random):
            return "prefers noise"
        inner = [c for c in self._own if RANDOM not in (c.better, c.worse)]
        whole = RANDOM not in self.methods or len(self.above_random) == real
        if not whole or self.repeatable < REPEATABLE:
            return "tells some apart"
        if 2 * sum(c.told_apart for c in inner) > len(inner):
            return "tells methods apart"
        return "tells methods from noise" if RANDOM in self.methods else "tells some apart"

    @property
    def _own(self) -> list[Comparison]:
        """The pairs without the other baselines."""
        return [c for c in self.pairs if {c.better, c.worse} <= set(self.methods)]

    @property
    def claim(self) -> str:
        """The verdict as a sentence."""
        return f"{self.metric} {self.verdict} on these {self.samples:,} samples."

    def __str__(self) -> str:
        return " ".join([self.claim, *self.reasons()])

    @property
    def shortage(self) -> str:
        """A sentence where no difference could be found, however clear; else ""."""
        least = needed(len(self.pairs))
        if self.samples >= least:
            return ""
        return f"To tell any of {len(self.pairs)} pairs apart takes {least} samples at least."

    def reasons(self, called: Callable[[str], str] = str) -> list[str]:
        """Return the sentences behind the verdict; `called` says how to call a method."""
        real = [m for m in self.methods if m != RANDOM]
        told = []
        if RANDOM in self.methods:
            neither = [m for m in real if m not in self.above_random + self.below_random]
            if len(self.above_random) == len(real):
                told.append(f"{_all(real, called)} better than the random map.")
            else:
                if self.below_random:
                    told.append(f"Worse than the random map: {_listed(self.below_random, called)}.")
                if neither:
                    told.append(f"Not told from the random map: {_listed(neither, called)}.")
        inner = [c for c in self._own if RANDOM not in (c.better, c.worse)]
        if inner:
            apart = sum(c.told_apart for c in inner)
            told.append(
                f"{apart} of {len(inner)} pairs of methods differ (Wilcoxon, Holm, {100 * LEVEL:g} %)."
            )
        if math.isnan(self.agreement.value):
            told.append("Fewer than two samples put the methods in any order.")
        else:
            told.append(
                f"Two samples agree on the order by {self.agreement.value:.2f}; the mean order would be "
                f"repeated by {self.repeatable:.2f}."
            )
        return [*told, self.shortage] if self.shortage else told


def _all(names: Sequence[str], called: Callable[[str], str]) -> str:
    return f"{called(names[0])} is" if len(names) == 1 else f"All {len(names)} methods are"


def _listed(names: Sequence[str], called: Callable[[str], str]) -> str:
    return ", ".join(called(name) for name in names)


def metric_reliability(table: Table, metric: str | None = None) -> list[Reliability]:
    """Return how far each metric of a table, or the named one, can be believed there.

    Parameters
    ----------
    table
        Of `seewhy.evaluate` or a benchmark, with at least two samples and two maps (the random one counts).
    metric
        Name of one; by default all, in the order of the table.

    Raises
    ------
    UnknownName
        For a metric that the table does not have.
    BadInput
        When there is nothing to compare.
    """
    names = list(table.higher_is_better) if metric is None else [metric]
    return [
        _reliability(outcomes(table, name), comparisons(outcomes(table, name, others=True))) for name in names
    ]


def _reliability(found: Outcomes, pairs: list[Comparison], seed: int = 0) -> Reliability:
    places = found.places()
    centred = places - places.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    ordered = length[:, 0] > 1e-9
    z = centred[ordered] / length[ordered]
    alpha = place = last = None
    if RANDOM in found.methods:
        at = places[:, found.methods.index(RANDOM)]
        weights = ((at - 1) / (places.shape[1] - 1))[ordered]
        alpha = _estimate(z, weights, seed)
        place = _mean(at, seed)
        last = float((at[:, None] >= places).all(1).double().mean())
    agreement = _estimate(z, torch.ones(len(z), dtype=torch.float64), seed)
    n, r = len(z), agreement.value
    return Reliability(
        metric=found.metric,
        methods=found.methods,
        samples=len(places),
        left_out=found.left_out,
        tied=int((~ordered).sum()),
        dropped=found.dropped,
        alpha=alpha,
        agreement=agreement,
        krippendorff=krippendorff_alpha(places),
        repeatable=n * r / (1 + (n - 1) * r) if r > 0 else 0.0,
        random_place=place,
        random_last=last,
        order=friedman(found),
        pairs=tuple(pairs),
    )


def weighted_agreement(z: Tensor, weights: Tensor) -> Tensor:
    """Return `(b,)` mean products of two different rows of `z`, weighted by `(b, n)` weights; -1 for none."""
    sums = weights @ z
    squares = weights.square().sum(1)
    products = sums.square().sum(1) - weights.square() @ z.square().sum(1)
    total = weights.sum(1).square() - squares
    return torch.where(total > 1e-9 * squares.clamp(min=1e-12), products / total, -1.0)


def _estimate(z: Tensor, weights: Tensor, seed: int) -> Estimate:
    """Return the weighted agreement of the rows with its interval.

    A sample that a resample holds twice counts twice against the others, and never against itself, with which
    it would agree wholly.
    """
    if len(z) < 2:
        return Estimate(float("nan"), float("nan"), float("nan"))
    value = float(weighted_agreement(z, weights[None]))
    found = torch.cat([weighted_agreement(z, counts * weights) for counts in _resamples(len(z), seed)])
    return Estimate(value, *_ends(found))


def _mean(values: Tensor, seed: int) -> Estimate:
    found = torch.cat([counts @ values for counts in _resamples(len(values), seed)]) / len(values)
    return Estimate(float(values.mean()), *_ends(found))


def _ends(found: Tensor) -> tuple[float, float]:
    low, high = found.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def _resamples(n: int, seed: int) -> Iterator[Tensor]:
    """Yield `(b, n)` counts of how often each of n samples is drawn, a block at a time."""
    step = max(1, AT_ONCE // n)
    for start in range(0, RESAMPLES, step):
        index = torch.arange(start, min(start + step, RESAMPLES))
        drawn = (uniform(seed, index, n).double() * n).long()
        counts = torch.zeros(len(index), n, dtype=torch.float64)
        yield counts.scatter_add_(1, drawn, torch.ones_like(counts))
