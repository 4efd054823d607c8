"""Harmonic fill: the smoothest surface over a hole that meets the picture at its rim.

Inside the hidden region every value is the mean of its neighbours (Laplace's equation; two neighbours an
axis, frames of a clip are an axis like the others), outside it is the picture's; beyond the edges of the
input there is nothing. A mask counts as hidden below one half. Where nothing is left at all the filling is
0, the mean colour.

The system is solved by conjugate gradients in float64, from a guess that averages what is left over ever
larger blocks, until the residual of every channel is 1e-8 of its start or the right side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.perturb.edits import Filler
from seewhy.perturb.membrane import membrane
from seewhy.perturb.operators import OPERATORS, MaskOperator
from seewhy.question import Question

_TOLERANCE = 1e-8


@OPERATORS.register
@dataclass(frozen=True)
class Harmonic(MaskOperator):
    """The solution of Laplace's equation in the hidden region. Costs some hundred sweeps over the input."""

    name: ClassVar[str] = "harmonic"

    def behind(self, question: Question) -> Filler:
        """See `Operator.behind`."""

        def fill(x: Tensor, keep: Tensor, rows: Tensor) -> Tensor:
            return harmonic(x, keep[:, 0] < 0.5)

        return fill


def harmonic(x: Tensor, hidden: Tensor) -> Tensor:
    """Return `x` with its hidden region replaced by the harmonic surface over it.

    Parameters
    ----------
    x
        `(k, c, *size)`.
    hidden
        `(k, *size)` bool.
    """

    def balance(u: Tensor) -> Tensor:
        """Return neighbours times value minus the sum of the neighbours."""
        out = torch.zeros_like(u)
        for axis in range(2, u.ndim):
            step = u.diff(dim=axis)
            out.narrow(axis, 0, u.shape[axis] - 1).sub_(step)
            out.narrow(axis, 1, u.shape[axis] - 1).add_(step)
        return out

    return membrane(x, hidden, balance, _TOLERANCE)
