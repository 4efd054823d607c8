"""Noisy linear imputation: each hidden pixel is the weighted mean of its neighbours, plus a little noise.

The eight neighbours weigh 1/6 across an edge and 1/12 across a corner; at the edges of the input those that
are there are averaged. All hidden pixels are solved for together, each channel and each frame of a clip for
itself. What is left is a smooth surface without the outline of the mask (Rong, Leemann, Borisov, Kasneci,
Kasneci: A consistent and efficient evaluation strategy for attribution methods, ICML 2022,
https://arxiv.org/abs/2202.00449). A mask counts as hidden below one half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.perturb.counters import normal
from seewhy.perturb.edits import Filler
from seewhy.perturb.membrane import membrane
from seewhy.perturb.operators import OPERATORS, MaskOperator
from seewhy.question import Question

_TOLERANCE = 1e-6
_NEIGHBOURS = (((0, 1), 1 / 6), ((1, 0), 1 / 6), ((1, 1), 1 / 12), ((1, -1), 1 / 12))
"""Half of the eight, down and to the right; the others are their opposites."""


@OPERATORS.register
@dataclass(frozen=True)
class NoisyLinear(MaskOperator):
    """Weighted means of neighbours, and noise of `deviation` in units of the normalised input.

    One noise picture for all samples and all edits of a run: it follows from the seed and the size alone.
    """

    name: ClassVar[str] = "noisy-linear"
    deviation: float = 0.01

    def behind(self, question: Question) -> Filler:
        """See `Operator.behind`."""
        shape = question.x.shape[1:]
        address = torch.arange(math.prod(shape), device=question.x.device)
        noise = self.deviation * normal(question.execution.seed, address, 1).reshape(1, *shape)

        def fill(x: Tensor, keep: Tensor, rows: Tensor) -> Tensor:
            return linear(x, keep[:, 0] < 0.5) + noise.to(x)

        return fill


def linear(x: Tensor, hidden: Tensor) -> Tensor:
    """Return `(k, c, *size)` with hidden pixels, `(k, *size)` bool, the means of their neighbours."""
    return membrane(x, hidden, _balance, _TOLERANCE)


def _balance(u: Tensor) -> Tensor:
    out = torch.zeros_like(u)
    height, width = u.shape[-2:]
    for (down, right), weight in _NEIGHBOURS:
        rows, columns = height - down, width - abs(right)
        if min(rows, columns) < 1:
            continue
        first = (..., slice(0, rows), slice(max(-right, 0), max(-right, 0) + columns))
        second = (..., slice(down, down + rows), slice(max(right, 0), max(right, 0) + columns))
        step = weight * (u[first] - u[second])
        out[first] += step
        out[second] -= step
    return out
