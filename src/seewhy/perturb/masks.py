"""Smooth random masks: small grids of on and off, enlarged linearly and shifted (the masks of RISE).

A grid of `s` cells an axis is enlarged to `s + 1` cells of `kappa = ceil(size / s)` pixels, mirrored at its
edges without repeating them, and a window of the input's size is cut out at a random shift below `kappa`.
Along one axis that is a small matrix, one a shift, so a mask is a product of small matrices: `M = R_u G
R_v^T`. Plain `interpolate` repeats the edge instead, which differs by up to 0.74 near the borders.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from seewhy.perturb.counters import uniform
from seewhy.perturb.edits import Edits, Fill, Jobs, chosen, compose
from seewhy.types import Size


def shift_matrices(size: int, cells: int) -> Tensor:
    """Return the matrices that enlarge and shift along one axis.

    Parameters
    ----------
    size
        Pixels of the axis.
    cells
        Cells of the grid along it.

    Returns
    -------
    Tensor
        `(kappa, size, cells)` float64, `kappa = ceil(size / cells)`: one matrix a shift; rows sum to 1.
    """
    kappa = -(-size // cells)
    pixel = torch.arange(size, dtype=torch.float64) + torch.arange(kappa, dtype=torch.float64)[:, None]
    at = (pixel + 0.5) * cells / ((cells + 1) * kappa) - 0.5
    low = at.floor()
    rest = at - low
    matrices = torch.zeros(kappa, size, cells, dtype=torch.float64)
    for index, weight in ((low, 1 - rest), (low + 1, rest)):
        matrices.scatter_add_(2, _mirror(index.long(), cells)[..., None], weight[..., None])
    return matrices


def _mirror(index: Tensor, cells: int) -> Tensor:
    """Fold -1 to 1 and `cells` to `cells - 2`; one cell has nothing to mirror."""
    last = cells - 1
    return last - (last - index.abs()).abs() if last else torch.zeros_like(index)


class Grids(ABC):
    """A numbered source of grids and shifts, over two axes (images) or three (clips).

    Parameters
    ----------
    size
        Pixels of the masks along each axis.
    cells
        Cells of the grids along each axis.
    """

    def __init__(self, size: Size, cells: Size) -> None:
        self.size, self.cells = tuple(size), tuple(cells)
        self.matrices = [shift_matrices(length, s) for length, s in zip(self.size, self.cells, strict=True)]
        self.shifts: Size = tuple(len(matrices) for matrices in self.matrices)
        self._placed: dict[torch.device, list[Tensor]] = {}

    @property
    @abstractmethod
    def count(self) -> int:
        """How many there are."""

    @abstractmethod
    def draw(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """Return the grids `which`: `(k, *cells)` float32 in {0, 1}, and their shifts, `(k, axes)` int64."""

    def masks(self, which: Tensor) -> Tensor:
        """Return the masks `which`, `(k, *size)` float32 in [0, 1]."""
        grids, shifts = self.draw(which)
        if grids.device not in self._placed:
            self._placed[grids.device] = [matrices.to(grids) for matrices in self.matrices]
        return enlarge(grids, [m[shifts[:, i]] for i, m in enumerate(self._placed[grids.device])])


class RandomGrids(Grids):
    """Cells on with probability `keep`, shifts uniform; mask `i` follows from the seed and `i` alone.

    Parameters
    ----------
    size, cells
        See `Grids`.
    count
        How many masks.
    keep
        Probability that a cell is visible, between 0 and 1.
    seed
        Seed of the run.
    """

    def __init__(self, size: Size, cells: Size, count: int, keep: float, seed: int) -> None:
        super().__init__(size, cells)
        self._count, self.keep, self.seed = count, keep, seed

    @property
    def count(self) -> int:
        """See `Grids.count`."""
        return self._count

    def draw(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """See `Grids.draw`."""
        axes = len(self.shifts)
        drawn = uniform(self.seed, which, axes + prod(self.cells))
        shifts = torch.stack([(drawn[:, i] * count).long() for i, count in enumerate(self.shifts)], 1)
        return (drawn[:, axes:] < self.keep).float().reshape(-1, *self.cells), shifts


def enlarge(grids: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Return `(k, *size)`: every axis of `(k, *cells)` multiplied by its own `(k, size, cells)` matrices."""
    last = len(matrices) - 1
    for axis in range(last, -1, -1):
        shape, matrix = grids.shape, matrices[axis]
        if axis == last:
            grids = torch.bmm(grids.flatten(1, -2), matrix.mT)
        else:  # (k, cells before, cells, pixels behind): the cells become pixels
            grids = matrix[:, None] @ grids.flatten(axis + 2).reshape(
                len(grids), -1, shape[axis + 1], shape[axis + 2 :].numel()
            )
        grids = grids.reshape(*shape[: axis + 1], matrix.shape[1], *shape[axis + 2 :])
    return grids


class MaskEdits(Edits):
    """Hides what the masks of `grids` leave out behind `fill`; all samples share the masks."""

    def __init__(self, grids: Grids, fill: Fill) -> None:
        self.grids, self.fill = grids, fill

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return self.grids.count

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        masks = jobs.each(self.grids.masks(jobs.edits).to(x))
        return compose(chosen(x, jobs.rows), masks[:, None], self.fill, jobs.rows)
