"""Batch stability: whether the map of an input depends on how many go through the network at once.

It should not: what an input means does not follow from its neighbours in memory. Where it does, the network
is in training mode, normalises over its batch, or computes in so few digits that maps drown in rounding.

Formula
    mean over batch sizes b of Spearman's rank correlation of the map and the one made again with at most b
    inputs a pass, equal values at their mean rank; b = 1 and 3 by default.
Needs
    the method that made the map (rebuilt from what the attribution remembers).
Cost
    a map for each batch size.
Paper
    Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for Saliency Maps, 2018,
    https://arxiv.org/abs/1810.03292
Departures
    Ours; the paper argues that a map must depend on the model and its input, and this is the other half: on
    nothing else. A map that has become constant has nothing in common with any: 0. One that is constant or
    not finite to begin with is undefined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.faithfulness.usable import usable
from seewhy.metrics.repeats import averaged, likeness, maker
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class BatchStability(Metric):
    """Rank correlation of the map and those made in other batches; higher is better.

    Parameters
    ----------
    sizes
        Inputs a pass, each at least 1.
    """

    name: ClassVar[str] = "batch_stability"
    title: ClassVar[str] = "Batch stability"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"again"})
    paper: ClassVar[Paper] = Paper(
        "Sanity Checks for Saliency Maps",
        "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim",
        2018,
        "https://arxiv.org/abs/1810.03292",
    )

    sizes: tuple[int, ...] = (1, 3)

    def __post_init__(self) -> None:
        require(
            len(self.sizes) > 0 and all(s >= 1 for s in self.sizes),
            "Asked for batches of some size",
            self.sizes,
            "Give at least one, each at least 1",
        )

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        again, known, found = maker(question, "batch stability"), usable(question, maps), []
        for i, size in enumerate(self.sizes):
            question.execution.step(i, len(self.sizes), "batch stability")
            found.append(likeness(known.maps, again(question.model, batch_size=size)))
        question.execution.step(len(self.sizes), len(self.sizes), "batch stability")
        return averaged(known, found, {})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(-1, -1)
