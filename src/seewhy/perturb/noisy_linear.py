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
from seewhy.perturb.multigrid import neighbour_means
from seewhy.perturb.operators import OPERATORS, MaskOperator
from seewhy.question import Question


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
    frames = hidden.flatten(0, -3)
    return (
        neighbour_means(x.movedim(1, -3).reshape(len(frames), x.shape[1], *x.shape[-2:]), frames)
        .reshape(*hidden.shape[:-2], x.shape[1], *x.shape[-2:])
        .movedim(-3, 1)
    )
