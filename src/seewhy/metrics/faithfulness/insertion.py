"""Insertion: how fast the score rises when the pixels that the map ranks highest come first.

Starting from a blurred copy, the pixels of the input are put back in the order of the map, all channels
together, a fixed number a step. A map that found the evidence makes the score rise at once, so a large area
is good. Blur hides less than it seems to on some networks: compare with the baselines, never read the number
alone.

Formula
    area under j -> f(the blurred input with the first j q pixels put back) by the trapezoid rule over the
    share of pixels put back, 0 to 1; q = ceil(pixels / steps), 224 for 224 x 224 pixels and 224 steps, the
    published setting.
Needs
    maps at input resolution, a forward pass.
Cost
    `steps` + 1 forward passes (fewer where there are fewer pixels than steps).
Paper
    Petsiuk, Das, Saenko: RISE, BMVC 2018, https://arxiv.org/abs/1806.07421
Departures
    The blur is that of the authors' code, an almost flat 11 x 11 kernel in normalised space (`flat-blur`).
    Ties, constant maps, the last step and units are treated as in deletion. Clips are blurred frame by frame
    and put back voxel by voxel (ours).
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
class Insertion(Metric):
    """Area under the score while the highest pixels come first; higher is better.

    Parameters
    ----------
    steps
        At most so many steps.
    operator
        What hides the pixels that are not back yet, as in `seewhy.perturb.operators`.
    units
        What changes at once: "pixels"; "grid:N" for N x N patches; "slic:N" for about N superpixels.
    """

    name: ClassVar[str] = "insertion"
    title: ClassVar[str] = "Insertion"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    paper: ClassVar[Paper] = Paper(
        "RISE: Randomized Input Sampling for Explanation of Black-box Models",
        "Petsiuk, Das, Saenko",
        2018,
        "https://arxiv.org/abs/1806.07421",
    )

    steps: int = 224
    operator: str = "flat-blur"
    units: str = "pixels"

    def __post_init__(self) -> None:
        require(self.steps >= 1, "Asked for steps of insertion", self.steps, "Give at least 1")
        operator(self.operator)
        check_units(self.units)

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        return curve(question, maps, self.operator, self.steps, "insertion", self.units, insert=True)

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(step_count(size, self.steps, self.units) + 1)
