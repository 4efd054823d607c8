"""Which cells of a map a window can change, and which cells they are computed from: intervals along one axis.

A map of several axes is a product of such intervals. Nothing here knows tensors of a network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Changed:
    """Along one axis, for each position of the window, the cells `lo <= cell < hi` that it can change.

    Parameters
    ----------
    lo, hi
        `(positions,)` int64; `hi == lo` where nothing changes.
    size
        Cells of the map along the axis.
    """

    lo: Tensor
    hi: Tensor
    size: int

    def box(self, positions: Tensor) -> tuple[Tensor, int]:
        """Return where boxes of one length start that hold what changes at `(k,)` positions, and the length.

        Boxes lie within the map. The length is at least 1.
        """
        lo, hi = self.lo[positions], self.hi[positions]
        length = max(1, int((hi - lo).max()))
        return lo.clamp(max=self.size - length), length

    def __or__(self, other: Changed) -> Changed:
        """Return the least intervals that hold both."""
        return Changed(torch.minimum(self.lo, other.lo), torch.maximum(self.hi, other.hi), self.size)

    def same(self, other: Changed) -> bool:
        """Tell whether the intervals are the same."""
        return self.size == other.size and torch.equal(self.lo, other.lo) and torch.equal(self.hi, other.hi)


@dataclass(frozen=True)
class Slide:
    """How a kernel slides along one axis.

    Output cell `o` reads the input cells `o * stride - padding + i * dilation`, `0 <= i < kernel`.
    """

    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def extent(self) -> int:
        """Cells from the first that one output reads to the last, both included."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def pitch(self) -> int:
        """Distance between the input cells to fetch: strided kernels of 1 need none of those between."""
        return self.stride if self.kernel == 1 else 1

    @property
    def left(self) -> int:
        """Stride with which the kernel slides over the cells fetched."""
        return self.stride // self.pitch

    def reached(self, changed: Changed, size: int) -> Changed:
        """Return which of `size` outputs read a cell that changes."""
        lo = -((self.extent - 1 - self.padding - changed.lo) // self.stride)  # rounded up
        hi = (changed.hi - 1 + self.padding) // self.stride + 1
        lo = lo.clamp(0, size)
        return Changed(lo, torch.maximum(hi.clamp(0, size), lo), size)

    def read(self, start: Tensor, length: int) -> Tensor:
        """Return the `(k, cells)` input cells to fetch for the outputs `start .. start + length - 1`.

        Parameters
        ----------
        start
            `(k,)` first outputs.

        Cells below 0 or beyond the map are padding.
        """
        cells = length if self.kernel == 1 else (length - 1) * self.stride + self.extent
        offsets = torch.arange(cells, device=start.device) * self.pitch
        return start[:, None] * self.stride - self.padding + offsets
