"""Completeness: whether the pixels that a map ranks highest suffice for the class that the model believes in.

The highest pixels are shown alone, more and more of them, and the class's probability is averaged on the way.
A map is complete when that average is as large as the probability on the whole input. It is half of a pair: a
map that justifies every class is complete and worth nothing, which `soundness` finds out.

Formula
    min(1, max(`floor`, A) / min(`ceiling`, p)); p the probability on the input, A its mean over j = 1 .. n
    of the input with only its first j q pixels shown; q = ceil(pixels / steps), 1792 for 224 x 224 pixels and
    28 steps.
Needs
    maps at input resolution, a forward pass.
Cost
    `steps` + 1 forward passes.
Paper
    Gupta, Saunshi, Yu, Lyu, Arora: New Definitions and Evaluations for Saliency Methods: Staying Intrinsic,
    Complete and Sound, NeurIPS 2022, https://arxiv.org/abs/2211.02912
Departures
    The paper also judges masks that it learns itself; here any map's order is judged, as in the authors'
    evaluation: the mean of an insertion curve from the mean colour, without its first point. Equal values
    keep their row-major order. A constant map and one that is not finite have no value; nor has a sample
    whose own score is not above 0, which only targets other than probabilities can have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, Scored
from seewhy.metrics.faithfulness.curve import curve
from seewhy.metrics.faithfulness.units import step_count
from seewhy.perturb.operators import operator
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class Completeness(Metric):
    """Mean probability while the highest pixels are shown, over that of the input; higher is better.

    Parameters
    ----------
    steps
        At most so many steps.
    floor
        Least mean probability that is counted, 0 to 1.
    ceiling
        Largest probability of the input that is counted, above 0, at most 1.
    operator
        What hidden pixels become, as in `seewhy.perturb.operators`.
    """

    name: ClassVar[str] = "completeness"
    title: ClassVar[str] = "Completeness"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    along: ClassVar[str] = "fraction of the input shown"
    summary: ClassVar[str] = "ratio"
    paper: ClassVar[Paper] = Paper(
        "New Definitions and Evaluations for Saliency Methods: Staying Intrinsic, Complete and Sound",
        "Gupta, Saunshi, Yu, Lyu, Arora",
        2022,
        "https://arxiv.org/abs/2211.02912",
    )

    steps: int = 28
    floor: float = 0.1
    ceiling: float = 1.0
    operator: str = "mean"

    def __post_init__(self) -> None:
        require(self.steps >= 1, "Asked for steps of completeness", self.steps, "Give at least 1")
        require(0 <= self.floor <= 1, "Asked for a floor of completeness", self.floor, "Give 0 to 1")
        require(
            0 < self.ceiling <= 1,
            "Asked for a ceiling of completeness",
            self.ceiling,
            "Give a probability above 0, at most 1",
        )
        operator(self.operator)

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        found = curve(question, maps, self.operator, self.steps, "completeness", insert=True)
        assert found.curve is not None
        assert found.notes is not None
        whole, mean = question.clean.double(), found.curve[:, 1:].double().mean(1)
        ratio = mean.clamp_min(self.floor) / whole.clamp(max=self.ceiling)
        undefined = found.values.isnan() | (whole <= 0).to(found.values.device)
        values = ratio.clamp(max=1).float().masked_fill(undefined, float("nan"))
        why = [
            w or ("score not above 0" if low else None)
            for w, low in zip(found.notes["undefined"], (whole <= 0).tolist(), strict=True)
        ]
        return replace(found, values=values, notes={**found.notes, "undefined": why, "mean": mean.tolist()})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(step_count(size, self.steps) + 1)
