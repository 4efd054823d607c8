"""Holes filled by weighted means of neighbours, all at once: conjugate gradients led by multigrid.

Every hidden pixel is to be the mean of its eight neighbours, two units of weight across an edge and one
across a corner. Conjugate gradients find it in float64; what leads them is one cycle over ever coarser grids
in float32, with linear interpolation between the grids, the equations of each coarse grid those that it
inherits from the next finer one (Galerkin), and one sweep of Jacobi's relaxation before and after. Ten
steps or fewer then suffice for holes of any size and shape, where plain conjugate gradients need hundreds.

Every mask has grids of its own, whose equations all channels share; masks and channels are solved side by
side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, one_hot, pad

_EDGE, _CORNER = 2.0, 1.0
"""Weights of neighbours: whole numbers, so that float32 holds them exactly."""
_TOLERANCE = 1e-6
_STEPS = 100
_DENSE = 200
"""Grids of at most so many cells are solved by the inverse of their matrix."""
_NOTHING = 1e-6
"""Diagonal entries below this belong to coarse cells under which nothing is hidden."""

_OVERSHOOT = 1.8
"""Bound of the eigenvalues of a sweep; 2 is where it would stop to converge."""
_RIDGE = 1e-4
"""Added to the matrix of the coarsest grid, as a part of its diagonal."""

Apply: TypeAlias = Callable[[Tensor], Tensor]


def neighbour_means(x: Tensor, hidden: Tensor) -> Tensor:
    """Return `x` with every hidden pixel the weighted mean of its neighbours.

    Parameters
    ----------
    x
        `(k, c, h, w)`.
    hidden
        `(k, h, w)` bool. Where a whole picture is hidden it becomes 0.

    Returns
    -------
    Tensor
        `(k, c, h, w)` in the type of `x`. The residual of each channel is 1e-6 of its right side.
    """
    hole = hidden[:, None]
    known = x.double().masked_fill(hole, 0.0)
    balance, guide = _balance(hole.double()), _Cycle(hole)
    right = _neighbours(known) * hole
    u = _averaged(known, ~hole) * hole
    residual = right - balance(u)
    enough = _TOLERANCE**2 * _dot(right, right)
    lead = direction = guide(residual)
    square = _dot(residual, lead)
    for _ in range(_STEPS):
        # A channel that has converged stays as it is, whatever the others need.
        running = _dot(residual, residual) > enough
        if not bool(running.any()):
            break
        product = balance(direction)
        length = torch.where(running, square / _dot(direction, product).clamp_min(1e-300), 0.0)
        u, residual = u + length * direction, residual - length * product
        lead = guide(residual)
        following = _dot(residual, lead)
        direction = lead + following / square.clamp_min(1e-300) * direction
        square = following
    return torch.where(hole, u.to(x), x)


class _Cycle:
    """One symmetric multigrid cycle for masks `(k, 1, h, w)` bool: about the inverse of `_balance`."""

    def __init__(self, hole: Tensor) -> None:
        self.hole = hole.float()
        apply = _balance(self.hole)
        diagonal = (_neighbours(torch.ones_like(self.hole[:1])) * self.hole).expand_as(self.hole)
        total = diagonal + _neighbours(self.hole) * self.hole
        self.grids = [(apply, _relaxation(diagonal, total), tuple(hole.shape[2:]))]
        size = tuple(hole.shape[2:])
        while size[0] * size[1] > _DENSE:
            weights = _inherited(apply, self._unknown(len(self.grids) - 1), size)
            apply, size = _weighted(weights), tuple(weights.shape[2:])
            total = weights.abs().sum(1, keepdim=True)
            self.grids.append((apply, _relaxation(weights[:, 4:5], total), size))
        self.dense = _dense_inverse(apply, self._unknown(len(self.grids) - 1), size)

    def __call__(self, residual: Tensor) -> Tensor:
        """Return `(k, c, h, w)` float64 corrections for as many residuals."""
        return self._at(0, residual.float()).double()

    def _unknown(self, level: int) -> Tensor:
        """Return `(k, 1, ...)` which cells of a grid take part: below the first all may."""
        return self.hole if level == 0 else torch.ones_like(self.hole[:, :, :1, :1])

    def _at(self, level: int, residual: Tensor) -> Tensor:
        apply, inverse, size = self.grids[level]
        if level == len(self.grids) - 1:
            return (self.dense @ residual.flatten(2).mT).mT.reshape(residual.shape)
        u = inverse * residual
        above = _finer(self._at(level + 1, _coarser(residual - apply(u))), size)
        u = torch.addcmul(u, above, self.hole) if level == 0 else u + above
        return torch.addcmul(u, inverse, residual - apply(u))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(2, 3), keepdim=True)


def _neighbours(u: Tensor) -> Tensor:
    """Return the weighted sums of the eight neighbours; beyond the edges there are none."""
    wide = pad(u, (1, 1, 1, 1))
    upright, middle = wide[..., :-2, :] + wide[..., 2:, :], wide[..., 1:-1, :]
    out = (middle[..., :-2] + middle[..., 2:] + upright[..., 1:-1]).mul_(_EDGE)
    return out.add_(upright[..., :-2], alpha=_CORNER).add_(upright[..., 2:], alpha=_CORNER)


def _balance(hole: Tensor) -> Apply:
    """Return the map of `u`, 0 outside the hole, to its weight times `u` minus its neighbours inside."""
    diagonal = _neighbours(torch.ones_like(hole[:1]))
    return lambda u: torch.addcmul(u * diagonal, _neighbours(u), hole, value=-1)


def _weighted(weights: Tensor) -> Apply:
    """Return the map that `(k, 9, h, w)` weights of the 3 x 3 cells around each cell describe."""

    def apply(u: Tensor) -> Tensor:
        height, width = u.shape[2:]
        wide, out = pad(u, (1, 1, 1, 1)), torch.zeros_like(u)
        for i in range(9):
            down, across = divmod(i, 3)
            out.addcmul_(weights[:, i : i + 1], wide[..., down : down + height, across : across + width])
        return out

    return apply


def _inherited(apply: Apply, unknown: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return `(k, 9, *cells)` weights of the grid below that of `apply`, where `unknown` takes part.

    Nine pictures, with every third coarse cell along each axis at 1, tell all of them apart.
    """
    height, width = ((s + 1) // 2 for s in size)
    rows = torch.arange(height, device=unknown.device)[:, None]
    columns = torch.arange(width, device=unknown.device)[None]
    pictures = one_hot(rows % 3 * 3 + columns % 3, 9).permute(2, 0, 1)[None].float()
    seen = _coarser(apply(_finer(pictures, size) * unknown))
    weights = torch.empty_like(seen)
    for i in range(9):
        row, column = rows + i // 3 - 1, columns + i % 3 - 1
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        picture = (row % 3 * 3 + column % 3).expand(len(seen), 1, height, width)
        weights[:, i : i + 1] = seen.gather(1, picture) * inside
    return weights


def _finer(u: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return `(k, c, *size)`: every second pixel a coarse cell, linear between, constant at the far edge."""
    for axis in (3, 2):
        shape = list(u.shape)
        shape[axis] = size[axis - 2]
        out = u.new_empty(shape).transpose(axis, 3)
        u = u.transpose(axis, 3)
        between = (u + torch.cat([u[..., 1:], u[..., -1:]], 3)).mul_(0.5)
        out[..., 0::2], out[..., 1::2] = u, between[..., : out.shape[3] // 2]
        u = out.transpose(axis, 3)
    return u


def _coarser(u: Tensor) -> Tensor:
    """Return the transpose of `_finer` applied to `(k, c, *size)`."""
    for axis in (2, 3):
        u = u.transpose(axis, 3)
        cells, between = u[..., 0::2].clone(), u[..., 1::2] * 0.5
        cells[..., : between.shape[3]] += between
        cells[..., 1:] += between[..., : cells.shape[3] - 1]
        if u.shape[3] % 2 == 0:
            cells[..., -1] += between[..., -1]
        u = cells.transpose(axis, 3)
    return u


def _relaxation(diagonal: Tensor, total: Tensor) -> Tensor:
    """Return the factors of Jacobi's relaxation, from diagonals and sums of absolute weights.

    Where a cell's neighbours outweigh it the factor is smaller, so that no sweep overshoots (the eigenvalues
    of factors times equations stay below 2) and the cycle stays positive, as conjugate gradients ask.
    """
    weight = torch.maximum(diagonal, total / _OVERSHOOT)
    return torch.where(diagonal > _NOTHING, 1 / weight.clamp_min(_NOTHING), 0.0)


def _dense_inverse(apply: Apply, unknown: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return `(k, cells, cells)`: the inverse on the cells under which something is hidden, else 0."""
    cells = size[0] * size[1]
    unit = torch.eye(cells, device=unknown.device).reshape(1, cells, *size)
    matrix = apply(unit * unknown).reshape(-1, cells, cells).double()
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    used = diagonal > _NOTHING
    # Cells that share their only hidden pixels, or a picture hidden as a whole, have no unique solution; a
    # little more weight leaves one.
    matrix = matrix + torch.diag_embed(torch.where(used, _RIDGE * diagonal, 1.0))
    inverse: Tensor = torch.linalg.inv(matrix)
    return (inverse * used[:, :, None] * used[:, None]).float()


def _averaged(values: Tensor, known: Tensor) -> Tensor:
    """Return `values` with every unknown one replaced by the mean of the smallest block that knows some."""
    if bool(known.all()) or max(values.shape[2:]) == 1:
        return values
    weight = avg_pool2d(known.to(values), 2, ceil_mode=True)
    coarse = avg_pool2d(values * known, 2, ceil_mode=True) / weight.clamp_min(1e-12)
    above = interpolate(_averaged(coarse, weight > 0), scale_factor=2.0, mode="nearest")
    return torch.where(known, values, above[..., : values.shape[2], : values.shape[3]])
