"""Relevance rank accuracy: how many of the map's highest pixels lie on the evidence.

As many pixels as the mask has are taken from the top of the map. Only the order of values counts, not how far
they are apart: a map that covers the object evenly and one with a single glaring pixel on it may score alike.

Formula
    |(the K highest pixels of R) and mask| / K, with K the mask's pixels and R the map's magnitude (or as
    `pooling` says)
Needs
    maps at input resolution and the truth, a boolean mask a sample.
Cost
    No pass of the model.
Paper
    Arras, Osman, Samek: CLEVR-XAI, Information Fusion 2022, https://arxiv.org/abs/2003.07258
Departures
    `pooling` as in `relevance_mass`. Where several pixels tie for the last places, each counts by its
    chance of being drawn among them (ours: sorting would take whichever come first), so that a constant map
    scores the mask's share of the picture, as a random one does on average. A map that is not finite is
    NaN, left out of means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from seewhy.methods.base import Cost, Paper
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.localisation.relevance_mass import Pooling, pooled, require_pooling
from seewhy.metrics.truth import finite, truth_of
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class RelevanceRank(Metric):
    """Share of the map's highest pixels, as many as the mask has, that lie on it; higher is better.

    Parameters
    ----------
    pooling
        What counts as relevance: absolute values, positive ones, or squares.
    """

    name: ClassVar[str] = "relevance_rank"
    title: ClassVar[str] = "Relevance rank accuracy"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"truth"})
    paper: ClassVar[Paper] = Paper(
        "CLEVR-XAI: A Benchmark Dataset for the Ground Truth Evaluation of Neural Network Explanations",
        "Arras, Osman, Samek",
        2022,
        "https://arxiv.org/abs/2003.07258",
    )

    pooling: Pooling = "absolute"

    def __post_init__(self) -> None:
        require_pooling(self.pooling)

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        masks = truth_of(question, maps, self).flatten(1)
        relevance = pooled(maps.to(question.x.device).flatten(1), self.pooling)
        sound = finite(relevance)
        top = highest(relevance.where(sound[:, None], relevance.new_zeros(())), masks.sum(1))
        share = ((top * masks).sum(1) / masks.sum(1)).float()
        return Scored(
            share.masked_fill(~sound, float("nan")),
            notes={"undefined": [None if s else "not finite" for s in sound.tolist()]},
        )

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(0)


def highest(values: Tensor, counts: Tensor) -> Tensor:
    """Return `(n, pixels)` float64: 1 for the highest `counts` (n,) values of each row, 0 for the rest.

    Values that tie for the last places share them evenly.
    """
    last = values.sort(1, descending=True).values.gather(1, counts[:, None] - 1)
    above, tied = values > last, values == last
    left = counts - above.sum(1)
    return above.double() + tied * (left.double() / tied.sum(1))[:, None]
