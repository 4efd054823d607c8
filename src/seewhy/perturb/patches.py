"""Square patches as units of a ranking: what a map says of each, and back to pixels."""

from __future__ import annotations

from math import prod

from torch import Tensor
from torch.nn.functional import pad

from seewhy.types import Maps, Size


def patch_grid(size: Size, side: int) -> Size:
    """Return how many patches of `side` pixels cover each axis of `size`; the last one may reach beyond."""
    return tuple(-(-length // side) for length in size)


def patch_sums(maps: Maps, side: int) -> Tensor:
    """Return `(n, *grid)`: `(n, *size)` maps summed over patches of `side` pixels an axis.

    Patches that are cut off by the edge sum what is inside. Added in float64, kept in float32.
    """
    size = tuple(maps.shape[1:])
    if side == 1:
        return maps
    grid = patch_grid(size, side)
    ends = [v for g, s in zip(reversed(grid), reversed(size), strict=True) for v in (0, g * side - s)]
    whole = pad(maps.double(), ends)
    split = whole.reshape(len(maps), *(v for g in grid for v in (g, side)))
    return split.sum(dim=tuple(range(2, split.ndim, 2))).float()


def on_pixels(units: Tensor, size: Size, side: int) -> Tensor:
    """Return `(k, *size)`: each of `(k, *grid)` values on all pixels of its patch."""
    if side == 1:
        return units
    for axis in range(1, units.ndim):
        units = units.repeat_interleave(side, axis).narrow(axis, 0, size[axis - 1])
    return units


def patch_count(size: Size, side: int) -> int:
    """Return how many patches of `side` pixels cover `size`."""
    return prod(patch_grid(size, side))
