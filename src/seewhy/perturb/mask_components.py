"""Principal components of random smooth masks, in closed form.

Cells are independent, on with probability p, and shifts are uniform, so the covariance of two pixels of a
mask is known: `p (1 - p)` times the product over the axes of `mean_u R_u R_u^T` (`perturb.masks`). Its
eigenvectors are products of eigenvectors of the axes, smooth waves; a few of them hold almost all of what
masks can do. Values of a mask along them follow from its small grid: the mask itself is never made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod

import torch
from torch import Tensor

from seewhy.perturb.masks import enlarge, shift_matrices
from seewhy.types import Size

SHARE = 0.995
"""Share of the variance of the masks that the leading components hold together, if so many are allowed."""
MOST = 256
"""Components at most, about."""


@cache
def mask_components(size: Size, cells: Size, keep: float) -> MaskComponents:
    """Return the components of masks of `size` from grids of `cells`, found once."""
    return MaskComponents([shift_matrices(length, s) for length, s in zip(size, cells, strict=True)], keep)


class MaskComponents:
    """The leading principal components of masks from grids with independent cells and uniform shifts.

    Parameters
    ----------
    axes
        For each axis its matrices, as `shift_matrices` returns them.
    keep
        Probability that a cell is on.
    """

    def __init__(self, axes: Sequence[Tensor], keep: float) -> None:
        self.keep = keep
        together = keep * (1 - keep) * torch.ones((), dtype=torch.float64)
        waves = []
        for matrices in axes:
            along = torch.einsum("uac,ubc->ab", matrices, matrices) / len(matrices)
            values, vectors = torch.linalg.eigh(along)
            together = together[..., None] * values.clamp_min(0).flip(0)
            waves.append(vectors.flip(1))
        sorted_, order = together.flatten().sort(descending=True, stable=True)
        enough = int((sorted_.cumsum(0) < SHARE * sorted_.sum()).sum()) + 1
        # All of a group of equal variances (those of a square are pairs), or none.
        self.count = int((sorted_ >= sorted_[min(enough, MOST) - 1] * (1 - 1e-6)).sum())
        self.variances = sorted_[: self.count]
        """`(count,)` float64: variance of the masks along each component, falling."""
        index = torch.unravel_index(order[: self.count], together.shape)
        self.orders = tuple(int(i.max()) + 1 for i in index)
        self.waves = [w[:, :order] for w, order in zip(waves, self.orders, strict=True)]
        """For each axis its `(size, order)` orthonormal waves."""
        self.place = torch.zeros(self.count, dtype=torch.int64)
        for i, o in zip(index, self.orders, strict=True):
            self.place = self.place * o + i
        # A mask's values along the waves, from its grid: one small matrix a shift.
        self._short = [torch.einsum("ar,uac->urc", w, m) for w, m in zip(self.waves, axes, strict=True)]

    def values(self, grids: Tensor, shifts: Tensor) -> Tensor:
        """Return `(k, count)` float64: masks, less their mean, along the components.

        Parameters
        ----------
        grids, shifts
            `(k, *cells)` and `(k, axes)`, as `Grids.draw` gives them.
        """
        if self.place.device != grids.device:
            self.place = self.place.to(grids.device)
            self._short = [s.to(grids.device) for s in self._short]
        along = [s[shifts[:, axis]] for axis, s in enumerate(self._short)]
        return enlarge(grids.double() - self.keep, along).flatten(1)[:, self.place]

    def paint(self, weights: Tensor, pixels: tuple[Tensor, ...] | None = None) -> Tensor:
        """Return `(n, *size)` float64 maps: sums of components with `(n, count)` float64 weights.

        Parameters
        ----------
        weights
            On any device.
        pixels
            For each axis the pixels wanted; None: all.
        """
        maps = weights.new_zeros(len(weights), prod(self.orders))
        maps[:, self.place.to(weights.device)] = weights
        maps = maps.reshape(-1, *self.orders)
        for axis, wave in enumerate(self.waves):
            rows = (wave if pixels is None else wave[pixels[axis].to(wave.device)]).to(weights)
            maps = torch.tensordot(
                maps, rows, dims=([1], [1])
            )  # the first wave goes, its pixels are appended
        return maps
