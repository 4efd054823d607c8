"""Expected gradients.

Integrated Gradients depends on its baseline. This method averages it over many: each draw takes a random
baseline and a random point on the line from it to the input, so that no single "nothing" decides. On average
the map sums to the input's score minus the mean score of the baselines.

Formula
    mean over draws k = 1..N of (x - b_k) * df/dx at b_k + a_k (x - b_k), summed over channels; b_k is drawn
    from the references, a_k from [0, 1].
Needs
    gradients.
Cost
    N forward and backward passes; one more forward for the prediction and for each reference.
Papers
    Erion, Janizek, Sturmfels, Lundberg, Lee: Learning Explainable Models Using Attribution Priors, 2019,
    https://arxiv.org/abs/1906.10670.
Departures
    the paper draws references from the training data; here they are inputs without evidence, made by
    operators from the input and the seed, so that no data is needed. a_k is drawn from the k-th of N equal
    parts of [0, 1], which has the same mean and varies less. All samples of a batch
    share the number of b_k and a_k.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.batching import add_at
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Need, Paper, channel_sum, require
from seewhy.methods.gradient.completeness import completeness, start_scores
from seewhy.methods.gradient.slopes import slopes
from seewhy.perturb.counters import uniform
from seewhy.perturb.differentiation import differentiated
from seewhy.perturb.operators import operator
from seewhy.question import Question
from seewhy.types import Batch, Rows, Size


@METHODS.register
@dataclass(frozen=True)
class ExpectedGradients(Method):
    """Integrated Gradients averaged over baselines.

    Parameters
    ----------
    samples
        Draws, at least 1.
    baselines
        Names of operators that make references, separated by commas and taken in turn: "noise",
        "mean,blur,noise:0.5" ...
    references
        How many references to make, at least one for each operator. Each noise reference differs.
    """

    name: ClassVar[str] = "expected_gradients"
    title: ClassVar[str] = "Expected gradients"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    paper: ClassVar[Paper] = Paper(
        "Learning Explainable Models Using Attribution Priors",
        "Erion, Janizek, Sturmfels, Lundberg, Lee",
        2019,
        "https://arxiv.org/abs/1906.10670",
    )

    samples: int = 100
    baselines: str = "noise"
    references: int = 8

    def __post_init__(self) -> None:
        require(self.samples >= 1, "Asked for a number of draws", self.samples, "Give at least 1")
        operators = [operator(name.strip()) for name in self.baselines.split(",")]
        require(
            self.references >= len(operators),
            f"Asked for references by {len(operators)} operators",
            self.references,
            "Give at least one for each",
        )

    @property
    def signed(self) -> bool:
        """Negative values lowered the score."""
        return True

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(1 + self.references + self.samples, self.samples)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        x, seed = question.x, question.execution.seed
        made = [self._reference(question, i) for i in range(self.references)]
        base = torch.stack([start_scores(question, b, self.title) for b in made]).mean(0)
        total = torch.zeros_like(x, dtype=torch.float32)

        def drawn(rows: Rows, which: Tensor) -> tuple[Batch, Tensor]:
            choice, within = uniform(seed, which, 2).unbind(1)
            number = (choice * self.references).long().tolist()
            start = torch.stack([made[j][row] for j, row in zip(number, rows.tolist(), strict=True)])
            return start, ((which + within) / self.samples).to(x).reshape(-1, *[1] * (x.ndim - 1))

        def points(rows: Rows, which: Tensor) -> Batch:
            start, along = drawn(rows, which)
            return torch.lerp(start, x[rows], along)

        for s in slopes(differentiated(question, self.samples, points), self.samples, points, self.title):
            start, _ = drawn(s.rows, s.which)
            add_at(total, s.rows, s.values * (x[s.rows] - start).float())
        maps = channel_sum(total / self.samples)
        yield Estimate(maps, reliability=completeness(question, maps, base))

    def _reference(self, question: Question, i: int) -> Batch:
        """Return reference `i` of every sample, `(n, c, *size)`."""
        names = self.baselines.split(",")
        own = replace(question, execution=replace(question.execution, seed=question.execution.seed + i))
        filled = operator(names[i % len(names)].strip()).fill(own)
        return torch.zeros_like(question.x) if filled is None else filled.expand_as(question.x)
