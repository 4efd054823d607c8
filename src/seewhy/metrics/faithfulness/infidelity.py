"""Infidelity: how wrong the map is, read as a linear forecast of what changes of the input do to the score.

The input is changed at random many times; each time the map foretells the loss of the score, and the
square of the error is averaged. "square" removes random squares, and the map's sum inside is the
forecast: the map is read as contributions. "noise" subtracts grey noise, and the forecast is the noise
times the map: the map is read as a derivative. 0 is a perfect forecast. The notes have the share of the
squared losses that is left.

Formula
    E[(b sum(I map) - (f(x) - f(x - I)))^2] over `draws` changes I. "square": I is 1 in a square, whose
    pixels the operator fills; its side is drawn evenly from 1 .. `largest` pixels, its place from all
    that lie inside. "noise": I is normal noise of `deviation` for each pixel, the same in all channels. b
    = E[sum(I map) loss] / E[sum(I map)^2], the scale that serves the map best, or 1 with `scaled=False`.
Needs
    maps at input resolution, a forward pass.
Cost
    `draws` + 1 forward passes.
Paper
    Yeh, Hsieh, Suggala, Inouye, Ravikumar: On the (in)fidelity and sensitivity of explanations, NeurIPS
    2019, https://arxiv.org/abs/1901.09392
Departures
    The paper lets I multiply a map of every channel; maps here have one value a pixel, which is why a
    square's forecast is the sum of contributions inside and noise is grey. The scale is the authors'
    code's, found per sample; without it maps in arbitrary units (class activation maps) cannot be
    compared. A map whose forecast is always 0 gets b = 0, so that constant maps have a value. Changes are
    drawn from the seed, the same for all samples and maps. A map that is not finite is undefined. Logits
    by default. Clips lose cubes (ours).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, Scored
from seewhy.metrics.faithfulness.usable import usable
from seewhy.perturb.counters import normal, uniform
from seewhy.perturb.edits import Edits, Fill, Jobs, chosen, compose
from seewhy.perturb.operators import operator
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question
from seewhy.types import Maps, ScoreKind, Size

Change = Literal["square", "noise"]


@METRICS.register
@dataclass(frozen=True)
class Infidelity(Metric):
    """Mean squared error of the map's forecast of the score's losses; lower is better.

    Parameters
    ----------
    change
        What is done to the input: "square" or "noise".
    draws
        How many changes.
    largest
        Longest side of a square in pixels.
    deviation
        Of the noise, in units of the model's input.
    scaled
        Whether each map is multiplied by the number that serves it best.
    operator
        What a square becomes, as in `seewhy.perturb.operators`.
    """

    name: ClassVar[str] = "infidelity"
    title: ClassVar[str] = "Infidelity"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    prefers: ClassVar[ScoreKind] = "logit"
    paper: ClassVar[Paper] = Paper(
        "On the (in)fidelity and sensitivity of explanations",
        "Yeh, Hsieh, Suggala, Inouye, Ravikumar",
        2019,
        "https://arxiv.org/abs/1901.09392",
    )

    change: Change = "square"
    draws: int = 200
    largest: int = 10
    deviation: float = 0.2
    scaled: bool = True
    operator: str = "mean"

    def __post_init__(self) -> None:
        require(
            self.change in ("square", "noise"),
            "Asked how to change the input",
            repr(self.change),
            "Choose square or noise",
        )
        require(self.draws >= 1, "Asked for changes of the input", self.draws, "Give at least 1")
        require(self.largest >= 1, "Asked for squares of some side", self.largest, "Give at least 1")
        require(self.deviation > 0, "Asked for a deviation of the noise", self.deviation, "Give more than 0")
        operator(self.operator)

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        known = usable(question, maps)
        size, seed = tuple(maps.shape[1:]), question.execution.seed
        edits: _Squares | _Noise = _Noise(self.draws, size, self.deviation, seed)
        if self.change == "square":
            fill = operator(self.operator).behind(question)
            edits = _Squares(self.draws, size, self.largest, fill, seed)
        scorer = Scorer(question, "infidelity")
        scores = scorer.table(edits).double()
        losses = scores[:, :1] - scores[:, 1:]
        forecast, flat = torch.empty_like(losses), known.maps.flatten(1).double()
        for start in range(0, self.draws, 32):
            which = torch.arange(start, min(start + 32, self.draws), device=scores.device)
            forecast[:, which] = flat @ edits.changes(which + 1).flatten(1).double().T
        if self.scaled:
            power = forecast.square().sum(1)
            best = (forecast * losses).sum(1) / power.where(power > 0, power.new_ones(()))
            forecast = forecast * best[:, None]
        missed = (forecast - losses).square().mean(1)
        values = missed.float().masked_fill(~known.finite, float("nan"))
        spread = losses.square().mean(1)
        left = [
            float(m / s) if f and s > 0 else None
            for m, s, f in zip(missed, spread, known.finite.tolist(), strict=True)
        ]
        why = [None if f else "not finite" for f in known.finite.tolist()]
        return Scored(values, notes={"undefined": why, "share": left, **scorer.notes()})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(self.draws + 1)


class _Squares(Edits):
    """Edit 0 is the input; every other one fills a square, the same for all samples."""

    def __init__(self, draws: int, size: Size, largest: int, fill: Fill, seed: int) -> None:
        self.draws, self.size, self.fill, self.seed = draws, size, fill, seed
        self.largest = min(largest, *size)

    @property
    def count(self) -> int:
        """The changes and the input."""
        return self.draws + 1

    def changes(self, which: Tensor) -> Tensor:
        """Return `(k, *size)` float32: 1 in the square of each of `(k,)` edits."""
        drawn = uniform(self.seed, which, 1 + len(self.size)).double()
        side = (drawn[:, 0] * self.largest).long() + 1
        inside = (which > 0).reshape(-1, *[1] * len(self.size))
        for axis, length in enumerate(self.size):
            corner = (drawn[:, axis + 1] * (length - side + 1)).long()
            at = torch.arange(length, device=which.device)
            span = (at >= corner[:, None]) & (at < (corner + side)[:, None])
            inside = inside & span.reshape(-1, *[length if a == axis else 1 for a in range(len(self.size))])
        return inside.float()

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        keep = (1 - self.changes(jobs.edits))[:, None].to(x)
        return compose(chosen(x, jobs.rows), jobs.each(keep), self.fill, jobs.rows)


class _Noise(Edits):
    """Edit 0 is the input; every other one subtracts grey noise, the same for all samples."""

    def __init__(self, draws: int, size: Size, deviation: float, seed: int) -> None:
        self.draws, self.size, self.deviation, self.seed = draws, size, deviation, seed

    @property
    def count(self) -> int:
        """The changes and the input."""
        return self.draws + 1

    def changes(self, which: Tensor) -> Tensor:
        """Return `(k, *size)` float32: the noise of each of `(k,)` edits."""
        drawn = normal(self.seed, which, prod(self.size)).reshape(-1, *self.size)
        return self.deviation * drawn * (which > 0).reshape(-1, *[1] * len(self.size))

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        return chosen(x, jobs.rows) - jobs.each(self.changes(jobs.edits)[:, None].to(x))
