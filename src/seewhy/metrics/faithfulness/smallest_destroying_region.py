"""Smallest destroying region: how little of the input, taken away in the order of the map, ends the answer.

The highest pixels are hidden, more and more of them, until next to nothing of the score is left. A map that
found all of the evidence needs few; one that found a part of it leaves the rest to speak. A random map tears
holes everywhere and does well on some networks: compare with the baselines.

Formula
    the least share j / n of the pixels such that f(x without its first j / n) <= `level` f(x), of n = `steps`
    shares.
Needs
    maps at input resolution, a forward pass.
Cost
    `steps` + 1 forward passes.
Paper
    Dabkowski, Gal: Real time image saliency for black box classifiers, NIPS 2017,
    https://arxiv.org/abs/1705.07857
Departures
    The paper names the region and trains a network to find masks for it; here it is read off the order of any
    map. The first share that destroys counts, whether or not the score recovers later. Hidden pixels become
    the mean colour. A sample whose score survives even the last step has no such region and no value; the
    notes say so. Equal values keep their row-major order; a constant map and one that is not finite have no
    order and no value; nor has a sample whose score is not above 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import Cost, Paper
from seewhy.metrics.base import METRICS, Metric, Scored
from seewhy.metrics.faithfulness.region import check_region, first_share
from seewhy.metrics.faithfulness.units import step_count
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class SmallestDestroyingRegion(Metric):
    """Least share of the input without which the score is gone; lower is better.

    Parameters
    ----------
    level
        Share of the score that may be left, above 0, at most 1.
    steps
        At most so many shares are tried.
    operator
        What hidden pixels become, as in `seewhy.perturb.operators`.
    units
        What is hidden at once: "pixels"; "grid:N" for N x N patches; "slic:N" for about N superpixels.
    """

    name: ClassVar[str] = "smallest_destroying_region"
    title: ClassVar[str] = "Smallest destroying region"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    summary: ClassVar[str] = "share"
    paper: ClassVar[Paper] = Paper(
        "Real Time Image Saliency for Black Box Classifiers",
        "Dabkowski, Gal",
        2017,
        "https://arxiv.org/abs/1705.07857",
    )

    level: float = 0.1
    steps: int = 100
    operator: str = "mean"
    units: str = "pixels"

    def __post_init__(self) -> None:
        check_region(self.level, self.steps, self.operator, self.units)

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        what = "smallest destroying region"
        return first_share(
            question, maps, self.level, self.operator, self.steps, self.units, what, insert=False
        )

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(step_count(size, self.steps, self.units) + 1)
