"""ROAD (remove and debias): what removing the highest pixels costs beyond removing the lowest.

Pixels are removed in the order of the map, once from the top and once from the bottom, and what is
removed is filled smoothly from its neighbours, so that the shape of the hole says little about the class
by itself. A map that found the evidence makes the score fall early from the top and late from the bottom.
0 is what a map without knowledge gets.

Formula
    mean over shares p of (f(x without the p lowest pixels) - f(x without the p highest pixels)) / 2; p =
    i / (steps + 1), i = 1 .. steps: 10 to 90 per cent. A removed pixel is the mean of its eight
    neighbours with weights 1/6 across edges and 1/12 across corners, plus normal noise of deviation 0.01;
    all removed pixels are solved for together.
Needs
    maps at input resolution, a forward pass.
Cost
    2 `steps` forward passes, and as many sparse systems, solved by conjugate gradients for a whole batch
    at a time on the device.
Paper
    Rong, Leemann, Borisov, Kasneci, Kasneci: A consistent and efficient evaluation strategy for attribution
    methods, ICML 2022, https://arxiv.org/abs/2202.00449
Departures
    The paper draws accuracy over p in both orders; the halved difference of probabilities is that of
    pytorch-grad-cam's ROADCombined, whose number this is at equal masks. Exactly the share p is removed,
    rounded, halves up: equal values keep their row-major order (from the bottom, its reverse). The noise
    is one picture a run, from the seed. Where everything would be removed, at least one pixel stays. A
    constant map and one that is not finite have no order and no value. Frames of a clip are filled each
    by itself (ours).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, Scored
from seewhy.metrics.faithfulness.usable import usable
from seewhy.perturb.edits import Edits, Fill, Jobs, chosen, compose
from seewhy.perturb.operators import operator
from seewhy.perturb.ranks import ranks, tied
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class ROAD(Metric):
    """Halved difference of the scores without the lowest and without the highest pixels; higher is better.

    Parameters
    ----------
    steps
        How many shares of pixels are removed, evenly between none and all.
    operator
        What removed pixels become, as in `seewhy.perturb.operators`.
    """

    name: ClassVar[str] = "road"
    title: ClassVar[str] = "ROAD"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-0.5, 0.5)
    along: ClassVar[str] = "fraction of the input removed"
    up: ClassVar[str] = "lowest first minus highest first, halved"
    summary: ClassVar[str] = "mean"
    paper: ClassVar[Paper] = Paper(
        "A consistent and efficient evaluation strategy for attribution methods",
        "Rong, Leemann, Borisov, Kasneci, Kasneci",
        2022,
        "https://arxiv.org/abs/2202.00449",
    )

    steps: int = 9
    operator: str = "noisy-linear"

    def __post_init__(self) -> None:
        require(self.steps >= 1, "Asked for steps of ROAD", self.steps, "Give at least 1")
        operator(self.operator)

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        known = usable(question, maps)
        places = known.maps[0].numel()
        counts = [self._removed(places, i) for i in range(1, self.steps + 1)]
        fill = operator(self.operator).behind(question)
        scorer = Scorer(question, "ROAD")
        scores = scorer.table(_Removals(ranks(known.maps), counts, fill)).double()
        highest, lowest = scores[:, 0::2], scores[:, 1::2]
        curve = (lowest - highest) / 2
        at = torch.tensor(counts, device=scores.device).float() / places
        notes = {
            "undefined": known.why,
            "tied": tied(known.maps).tolist(),
            "highest first": highest.mean(1).tolist(),
            "lowest first": lowest.mean(1).tolist(),
            **scorer.notes(),
        }
        return Scored(known.defined(curve.mean(1)), curve.float(), at, notes)

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(2 * self.steps)

    def _removed(self, places: int, i: int) -> int:
        return max(min(math.floor(places * i / (self.steps + 1) + 0.5), places - 1), 0)


class _Removals(Edits):
    """Edit `2 i` fills the `counts[i]` first places of `(n, *size)` ranks, edit `2 i + 1` the last."""

    def __init__(self, order: Tensor, counts: list[int], fill: Fill) -> None:
        self.order, self.fill, self.places = order, fill, order[0].numel()
        self.counts = torch.tensor(counts, device=order.device)

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return 2 * len(self.counts)

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        shape = (-1, *[1] * (x.ndim - 2))
        gone, last = self.counts[jobs.which // 2].reshape(shape), (jobs.which % 2).bool().reshape(shape)
        order = chosen(self.order, jobs.rows)
        keep = torch.where(last, order < self.places - gone, order >= gone)
        return compose(chosen(x, jobs.rows), keep[:, None].to(x), self.fill, jobs.rows)
