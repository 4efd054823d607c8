"""Guided Integrated Gradients.

Integrated Gradients along a path that the model chooses: at every step the pixels with the smallest gradients
move first, so that the path avoids regions where the score changes fast for reasons that have nothing to do
with the image. The path stays near the straight line. With many steps the map sums to the score of the input
minus that of the baseline; the gap is kept as `completeness_error`.

Formula
    sum over steps t = 1..T of g_t * (x_t - x_t-1), summed over channels, with g_t = df/dx at x_t-1. In step t
    all values that are behind x' + (t/T - `max_dist`) (x - x') move there. Then the `fraction` of values with
    the smallest |g_t|, of all those that are not yet at x' + (t/T + `max_dist`) (x - x'), move towards it
    together, and again, until the distance (sum of magnitudes) to x is 1 - t/T of the whole.
Needs
    gradients.
Cost
    `steps` forward and backward passes, one after the other; two more forward for the scores of both ends.
Paper
    Kapishnikov et al.: Guided Integrated Gradients: an Adaptive Path Method for Removing Noise, 2021,
    https://arxiv.org/abs/2106.09788.
Departures
    none in the formula. The path depends on the order of gradients, so that rounding may change it a little.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Need, Paper, channel_sum, require
from seewhy.methods.gradient.completeness import completeness, start_scores
from seewhy.methods.gradient.slopes import slopes
from seewhy.perturb.operators import operator
from seewhy.question import Question
from seewhy.types import Batch, Rows, Size

_ARRIVED = 1e-6
"""A distance to go, as a part of the whole, that counts as none."""


@METHODS.register
@dataclass(frozen=True)
class GuidedIG(Method):
    """Gradients integrated along a path of small gradients.

    Parameters
    ----------
    steps
        Steps of the path, at least 1.
    fraction
        Part of the values that move together, above 0, at most 1.
    max_dist
        How far a value may be ahead of the straight line or behind it, 0 (Integrated Gradients) to 1.
    baseline
        Input without evidence, by the name of an operator, as for `integrated_gradients`.
    """

    name: ClassVar[str] = "guided_ig"
    title: ClassVar[str] = "Guided Integrated Gradients"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    paper: ClassVar[Paper] = Paper(
        "Guided Integrated Gradients: an Adaptive Path Method for Removing Noise",
        "Kapishnikov, Venugopalan, Avci, Wedin, Terry, Bolukbasi",
        2021,
        "https://arxiv.org/abs/2106.09788",
    )

    steps: int = 200
    fraction: float = 0.25
    max_dist: float = 0.02
    baseline: str = "mean"

    def __post_init__(self) -> None:
        require(self.steps >= 1, "Asked for a number of steps", self.steps, "Give at least 1")
        require(0 < self.fraction <= 1, "Asked for a fraction", self.fraction, "Give above 0, at most 1")
        require(0 <= self.max_dist <= 1, "Asked for a distance", self.max_dist, "Give 0 to 1")

    @property
    def signed(self) -> bool:
        """Negative values lowered the score."""
        return True

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(self.steps + 2, self.steps)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        x = question.x
        filled = operator(self.baseline).fill(question)
        start = torch.zeros_like(x) if filled is None else filled.expand_as(x)
        base = start_scores(question, start, self.title)
        at, total = start.clone(), torch.zeros_like(x, dtype=torch.float32)
        for t in range(1, self.steps + 1):
            g = torch.cat([s.values for s in slopes(question, 1, partial(_rows_of, at), self.title)])
            before = at
            rows = zip(start, x, before, g, strict=True)
            at = torch.stack([self._moved(*row, t / self.steps) for row in rows])
            total += g * (at - before).float()
        maps = channel_sum(total)
        yield Estimate(maps, reliability=completeness(question, maps, base))

    def _moved(self, start: Tensor, end: Tensor, at: Tensor, slope: Tensor, along: float) -> Tensor:
        """Return where one sample's values are after a step, all `(c, *size)`."""
        way = end - start
        lower = start + max(along - self.max_dist, 0) * way
        upper = start + min(along + self.max_dist, 1) * way
        forward = way.sign()
        at = torch.where((lower - at) * forward > 0, lower, at)
        whole = float(way.abs().sum())
        excess = float((end - at).abs().sum()) - whole * (1 - along)
        size = slope.abs()
        free = (upper - at) * forward > 0
        while excess > _ARRIVED * whole and bool(free.any()):
            # The quantile is one of all values: those that cannot move count as infinitely steep.
            ranked = size.masked_fill(~free, torch.inf).flatten()
            place = 1 + int(self.fraction * (ranked.numel() - 1))
            limit = ranked.kthvalue(place).values
            chosen = free & (size <= limit)
            room = float((upper - at).abs()[chosen].sum())
            step = min(1.0, excess / room) if room else 1.0
            at = torch.where(chosen, upper if step == 1.0 else torch.lerp(at, upper, step), at)
            excess -= step * room
            free &= ~chosen
        return at


def _rows_of(at: Batch, rows: Rows, _which: Tensor) -> Batch:
    return at[rows]
