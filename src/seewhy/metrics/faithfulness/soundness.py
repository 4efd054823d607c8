"""Soundness: whether the method fails, as it must, to justify classes that the model does not believe in.

The method is asked for maps of other classes. If showing the pixels that such a map ranks highest makes the
model believe in that class after all, the map has made up evidence, and may have done so for the right class,
too. Read it with `completeness`: a map that justifies nothing is sound.

Formula
    for each other class a: min(1, max(`floor`, p_a) / A_a); p_a its probability on the input, A_a its mean
    over j = 1 .. n of the input with only the first j q pixels of a's own map shown; q = ceil(pixels /
    steps), 1792 for 224 x 224 pixels and 28 steps. The value is the least of them ("worst") or their mean
    ("mean").
Needs
    the method that made the map (rebuilt from what the attribution remembers); a target that is a class.
Cost
    `classes` maps, and `classes` x (`steps` + 1) forward passes.
Paper
    Gupta, Saunshi, Yu, Lyu, Arora: New Definitions and Evaluations for Saliency Methods: Staying Intrinsic,
    Complete and Sound, NeurIPS 2022, https://arxiv.org/abs/2211.02912
Departures
    The paper looks at every other class of ten; here at the `classes` that the model ranks next, which are
    the easiest to mistake. Probabilities are always those over all classes of the model. The scored map
    itself takes part by the method that made it alone. Equal values keep their row-major order. A class whose
    map is constant or not finite is not justified by it: 1. A scored map that is constant or not finite has
    no value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.classes import explained, next_best
from seewhy.metrics.faithfulness.curve import curve
from seewhy.metrics.faithfulness.usable import usable
from seewhy.metrics.repeats import maker
from seewhy.perturb.operators import operator
from seewhy.question import Question
from seewhy.targets import Class, bound_classes
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class Soundness(Metric):
    """Probability of other classes over what their own maps make of it; higher is better.

    Parameters
    ----------
    classes
        How many other classes, at most: those that the model ranks next.
    over
        "worst": the least of them; "mean".
    steps
        At most so many steps.
    floor
        Least probability of a class that is counted, 0 to 1.
    operator
        What hidden pixels become, as in `seewhy.perturb.operators`.
    """

    name: ClassVar[str] = "soundness"
    title: ClassVar[str] = "Soundness"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"again"})
    paper: ClassVar[Paper] = Paper(
        "New Definitions and Evaluations for Saliency Methods: Staying Intrinsic, Complete and Sound",
        "Gupta, Saunshi, Yu, Lyu, Arora",
        2022,
        "https://arxiv.org/abs/2211.02912",
    )

    classes: int = 4
    over: Literal["worst", "mean"] = "worst"
    steps: int = 28
    floor: float = 0.1
    operator: str = "mean"

    def __post_init__(self) -> None:
        require(self.classes >= 1, "Asked for other classes", self.classes, "Give at least 1")
        require(
            self.over in ("worst", "mean"),
            "Asked for soundness over classes",
            repr(self.over),
            "Choose worst or mean",
        )
        require(self.steps >= 1, "Asked for steps of soundness", self.steps, "Give at least 1")
        require(0 <= self.floor <= 1, "Asked for a floor of soundness", self.floor, "Give 0 to 1")
        operator(self.operator)

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        again, known = maker(question, "soundness"), usable(question, maps)
        others = next_best(question, explained(question, "soundness"), self.classes)
        shares = question.model.probabilities(question.output).gather(1, others).double()
        ratios = []
        for i, column in enumerate(others.T):
            question.execution.step(i, others.shape[1], "soundness")
            target = bound_classes(question.model, column.tolist(), "probability")
            made = again(question.model, target=[Class(c) for c in column.tolist()])
            asked = replace(question, target=target, clean=shares[:, i].float())
            found = curve(asked, made, self.operator, self.steps, "soundness", insert=True)
            assert found.curve is not None
            mean = found.curve[:, 1:].double().mean(1)
            ratio = shares[:, i].clamp_min(self.floor) / mean.clamp_min(1e-300)
            ratios.append(ratio.clamp(max=1).masked_fill(found.values.isnan(), 1.0))
        question.execution.step(others.shape[1], others.shape[1], "soundness")
        table = torch.stack(ratios, 1)
        values = table.amin(1) if self.over == "worst" else table.mean(1)
        names = [[question.model.label(c) for c in row] for row in others.tolist()]
        notes = {"undefined": known.why, "classes": names, "each": table.tolist()}
        return Scored(known.defined(values), notes=notes)

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(-1, -1)
