"""Deletion: how fast the score falls when the pixels that the map ranks highest go first.

Starting from the input, its pixels are replaced by the mean colour in the order of the map, all channels
together, a fixed number a step. A map that found the evidence makes the score fall at once, so a small area
is good. A random map and an edge detector score well on some networks: compare with the baselines, never read
the number alone.

Formula
    area under j -> f(the input with its first j q pixels replaced) by the trapezoid rule over the share of
    pixels replaced, 0 to 1; q = ceil(pixels / steps), 224 for 224 x 224 pixels and 224 steps, the published
    setting.
Needs
    maps at input resolution, a forward pass.
Cost
    `steps` + 1 forward passes (fewer where there are fewer pixels than steps).
Paper
    Petsiuk, Das, Saenko: RISE, BMVC 2018, https://arxiv.org/abs/1806.07421
Departures
    Equal values keep their row-major order, and the share of tied pixels is reported; a last step of fewer
    pixels counts with its true width. A map that is constant or not finite has no order: its value is NaN,
    said so, and left out of means. Clips are deleted voxel by voxel (ours). So are units other than pixels:
    the patches of a grid, or superpixels, ranked by the mean of the map over each; the share is then that of
    the units changed, and of fewer superpixels than steps some steps change none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, Scored
from seewhy.metrics.faithfulness.curve import curve
from seewhy.metrics.faithfulness.units import check_units, step_count
from seewhy.perturb.operators import operator
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class Deletion(Metric):
    """Area under the score while the highest pixels go first; lower is better.

    Parameters
    ----------
    steps
        At most so many steps.
    operator
        What deleted pixels become, as in `seewhy.perturb.operators`.
    units
        What changes at once: "pixels"; "grid:N" for N x N patches; "slic:N" for about N superpixels.
    """

    name: ClassVar[str] = "deletion"
    title: ClassVar[str] = "Deletion"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    paper: ClassVar[Paper] = Paper(
        "RISE: Randomized Input Sampling for Explanation of Black-box Models",
        "Petsiuk, Das, Saenko",
        2018,
        "https://arxiv.org/abs/1806.07421",
    )

    steps: int = 224
    operator: str = "mean"
    units: str = "pixels"

    def __post_init__(self) -> None:
        require(self.steps >= 1, "Asked for steps of deletion", self.steps, "Give at least 1")
        operator(self.operator)
        check_units(self.units)

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        return curve(question, maps, self.operator, self.steps, "deletion", self.units)

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(step_count(size, self.steps, self.units) + 1)
