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
from torch.nn.functional import avg_pool2d, avg_pool3d, interpolate

from seewhy.perturb.edits import Filler
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
    hole, known = hidden[:, None], torch.where(hidden[:, None], 0.0, x.double())

    def balance(u: Tensor) -> Tensor:
        """Return, in the hole, neighbours times value minus the sum of the neighbours."""
        out = torch.zeros_like(u)
        for axis in range(2, u.ndim):
            step = u.diff(dim=axis)
            out.narrow(axis, 0, u.shape[axis] - 1).sub_(step)
            out.narrow(axis, 1, u.shape[axis] - 1).add_(step)
        return torch.where(hole, out, 0.0)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(dim=tuple(range(2, a.ndim)), keepdim=True)

    right = -balance(known)
    u = torch.where(hole, _averaged(known, ~hole), 0.0)
    residual = right - balance(u)
    direction, square = residual, dot(residual, residual)
    enough = _TOLERANCE**2 * torch.maximum(square, dot(right, right))
    for _ in range(10 * sum(x.shape[2:])):
        running = square > enough
        if not bool(running.any()):
            break
        product = balance(direction)
        # A channel that has converged stays as it is, whatever the others need.
        length = torch.where(running, square / dot(direction, product).clamp_min(1e-300), 0.0)
        u, residual = u + length * direction, residual - length * product
        following = dot(residual, residual)
        direction = residual + torch.where(running, following / square.clamp_min(1e-300), 0.0) * direction
        square = torch.where(running, following, square)
    return torch.where(hole, u.to(x), x)


def _averaged(values: Tensor, known: Tensor) -> Tensor:
    """Return `values` with every unknown one replaced by the mean of the smallest block that knows some."""
    if bool(known.flatten(1).all()) or max(values.shape[2:]) == 1:
        return values
    pool = avg_pool2d if values.ndim == 4 else avg_pool3d
    shrink = [2 if s > 1 else 1 for s in values.shape[2:]]
    weight = pool(known.to(values), shrink, ceil_mode=True)
    coarse = pool(values * known, shrink, ceil_mode=True) / weight.clamp_min(1e-12)
    above = interpolate(_averaged(coarse, weight > 0), values.shape[2:], mode="nearest")
    return torch.where(known, values, above)
