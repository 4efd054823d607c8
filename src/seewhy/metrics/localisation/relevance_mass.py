"""Relevance mass accuracy: how much of the relevance, of either sign, lies on the evidence.

The energy-based pointing game asks where the evidence for the target lies and ignores what speaks against it.
This asks where the map says anything at all: a map that is right about the object, but also finds much
against the target in the background, scores less. On maps without negative values the two are one.

Formula
    sum over the mask of R / sum over the picture of R, with R the map's magnitude (or as `pooling` says)
Needs
    maps at input resolution and the truth, a boolean mask a sample.
Cost
    No pass of the model.
Paper
    Arras, Osman, Samek: CLEVR-XAI, Information Fusion 2022, https://arxiv.org/abs/2003.07258
Departures
    The paper makes R from the relevance of the colour channels, in several ways, all without negative values.
    Maps here come with one value a pixel, so what is left to choose is what becomes of its sign: `pooling`. A
    map of zeros scores like the constant map, the mask's share of the picture, and `notes` says so. A map
    that is not finite is NaN, left out of means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from torch import Tensor

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.localisation.energy_pointing_game import rectified, share_inside
from seewhy.metrics.truth import truth_of
from seewhy.question import Question
from seewhy.types import Maps, Size

Pooling: TypeAlias = Literal["absolute", "positive", "squared"]
"""What a signed value counts as relevance: its magnitude, itself where positive, its square."""


@METRICS.register
@dataclass(frozen=True)
class RelevanceMass(Metric):
    """Share of the relevance, of either sign, that lies on the evidence; higher is better.

    Parameters
    ----------
    pooling
        What counts as relevance: absolute values, positive ones, or squares.
    """

    name: ClassVar[str] = "relevance_mass"
    title: ClassVar[str] = "Relevance mass accuracy"
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
        return share_inside(pooled(maps.to(question.x.device).flatten(1), self.pooling), masks)

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(0)


def require_pooling(pooling: str) -> None:
    """Raise `BadInput` for a pooling that is none."""
    require(
        pooling in ("absolute", "positive", "squared"),
        "Asked for a pooling of relevance",
        pooling,
        "Give absolute, positive or squared",
    )


def pooled(flat: Tensor, pooling: Pooling) -> Tensor:
    """Return `(n, pixels)` signed values as float64 relevance, none negative."""
    if pooling == "positive":
        return rectified(flat)
    return flat.double().abs() if pooling == "absolute" else flat.double().square()
