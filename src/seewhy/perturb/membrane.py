"""Surfaces over holes: each hidden value balances its neighbours, whatever the weights of these are.

Conjugate gradients in float64, all channels and samples at once, from a guess that averages what is left over
ever larger blocks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, avg_pool3d, interpolate


def membrane(x: Tensor, hidden: Tensor, balance: Callable[[Tensor], Tensor], tolerance: float) -> Tensor:
    """Return `x` with its hidden region replaced by the surface on which `balance` is 0.

    Parameters
    ----------
    x
        `(k, c, *size)`.
    hidden
        `(k, *size)` bool.
    balance
        A symmetric linear map of `(k, c, *size)` float64, for each value the weights of its neighbours times
        the value minus its neighbours so weighted.
    tolerance
        Stop when the residual of every channel is so much of its start or of the right side.
    """
    hole, known = hidden[:, None], torch.where(hidden[:, None], 0.0, x.double())

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(dim=tuple(range(2, a.ndim)), keepdim=True)

    right = -torch.where(hole, balance(known), 0.0)
    u = torch.where(hole, _averaged(known, ~hole), 0.0)
    residual = right - torch.where(hole, balance(u), 0.0)
    direction, square = residual, dot(residual, residual)
    enough = tolerance**2 * torch.maximum(square, dot(right, right))
    for _ in range(10 * sum(x.shape[2:])):
        running = square > enough
        if not bool(running.any()):
            break
        product = torch.where(hole, balance(direction), 0.0)
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
