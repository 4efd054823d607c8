"""Integrated Gradients.

Walk in a straight line from an input without evidence (the baseline) to the input, and add up, pixel by
pixel, the gradient times the step. By the fundamental theorem of calculus the map sums to the difference of
the two scores (completeness): every bit of the score is handed to some pixel. How far the sum is off is
measured and kept as `completeness_error`, a fraction of that difference.

Formula
    (x - x') * sum over steps of w_k df/dx at x' + a_k (x - x'), summed over channels; nodes a_k and weights
    w_k of the rule.
Needs
    gradients.
Cost
    `steps` forward and backward passes, one more of both for the score of the baseline, in the same batches,
    and one forward for that of the input.
Paper
    Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, 2017, https://arxiv.org/abs/1703.01365.
Departures
    the default rule is Gauss-Legendre with 50 nodes (the paper sums 20 to 300 right-hand rectangles, here
    "right"). The default baseline is the mean colour, zero in normalised space; the paper's black image is
    "constant:0".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seewhy.batching import add_at
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Need, Paper, channel_sum, require
from seewhy.methods.gradient.completeness import completeness
from seewhy.methods.gradient.slopes import slopes
from seewhy.perturb.differentiation import differentiated
from seewhy.perturb.operators import operator
from seewhy.question import Question
from seewhy.types import Batch, Rows, Size

Nodes: TypeAlias = npt.NDArray[np.float64]
Rule = Literal["gauss_legendre", "midpoint", "trapezoid", "left", "right"]


@METHODS.register
@dataclass(frozen=True)
class IntegratedGradients(Method):
    """Gradients integrated along the line from a baseline to the input.

    Parameters
    ----------
    steps
        Nodes of the quadrature, at least 1.
    rule
        Quadrature rule.
    baseline
        Input without evidence, by the name of an operator: "mean" (the mean colour), "constant:0" (black),
        "constant:255" (white), "blur", "noise" ...
    """

    name: ClassVar[str] = "integrated_gradients"
    title: ClassVar[str] = "Integrated Gradients"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    paper: ClassVar[Paper] = Paper(
        "Axiomatic Attribution for Deep Networks",
        "Sundararajan, Taly, Yan",
        2017,
        "https://arxiv.org/abs/1703.01365",
    )

    steps: int = 50
    rule: Rule = "gauss_legendre"
    baseline: str = "mean"

    def __post_init__(self) -> None:
        require(self.steps >= 1, "Asked for a number of steps", self.steps, "Give at least 1")
        require(
            self.rule in RULES,
            "Asked for a quadrature rule",
            repr(self.rule),
            f"Choose one of {', '.join(RULES)}",
        )
        require(
            self.rule != "trapezoid" or self.steps >= 2,
            "Asked for the trapezoid rule",
            f"{self.steps} step",
            "Give at least 2",
        )

    @property
    def signed(self) -> bool:
        """Negative values lowered the score."""
        return True

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(self.steps + 2, self.steps + 1)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        x = question.x
        filled = operator(self.baseline).fill(question)
        start_at = torch.zeros_like(x) if filled is None else filled.expand_as(x)

        # Behind the nodes comes the baseline, whose score is wanted and whose gradient counts nothing.
        nodes, weights = (torch.from_numpy(np.append(v, 0)).to(x) for v in RULES[self.rule](self.steps))
        shape = (-1, *[1] * (x.ndim - 1))
        integral = torch.zeros_like(x, dtype=torch.float32)
        start_score = torch.zeros_like(question.clean)

        def points(rows: Rows, step: Tensor) -> Batch:
            return torch.lerp(start_at[rows], x[rows], nodes[step].reshape(shape))

        quick = differentiated(question, self.steps, points)
        for s in slopes(quick, self.steps + 1, points, self.title):
            start = s.which == self.steps
            parts = s.values * weights[s.which].float().reshape(shape)
            add_at(integral, s.rows, parts.masked_fill(start.reshape(shape), 0))
            add_at(start_score, s.rows, s.scores.to(start_score).masked_fill(~start, 0))
        maps = channel_sum(integral * (x - start_at).float())
        yield Estimate(maps, reliability=completeness(question, maps, start_score))


@lru_cache(maxsize=8)  # finding them takes a millisecond
def _gauss_legendre(n: int) -> tuple[Nodes, Nodes]:
    nodes, weights = np.polynomial.legendre.leggauss(n)  # on [-1, 1]
    return (nodes + 1) / 2, weights / 2


def _trapezoid(n: int) -> tuple[Nodes, Nodes]:
    weights = np.full(n, 1 / (n - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, n), weights


RULES: dict[str, Callable[[int], tuple[Nodes, Nodes]]] = {
    "gauss_legendre": _gauss_legendre,
    "midpoint": lambda n: ((np.arange(n) + 0.5) / n, np.full(n, 1 / n)),
    "trapezoid": _trapezoid,
    "left": lambda n: (np.arange(n) / n, np.full(n, 1 / n)),
    "right": lambda n: (np.arange(1, n + 1) / n, np.full(n, 1 / n)),
}
"""Rule to (nodes in [0, 1], weights that sum to 1)."""
