"""From one grid to another: linear interpolation with half-pixel centres, over two or three axes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import interpolate


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return `(n, *cells)` maps at `size`: bilinear (trilinear for clips), half-pixel centres.

    The same `size` returns the maps untouched.
    """
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    mode = "trilinear" if len(size) == 3 else "bilinear"
    return interpolate(maps[:, None], size=tuple(size), mode=mode, align_corners=False)[:, 0]
