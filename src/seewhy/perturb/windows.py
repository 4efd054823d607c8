"""Windows that slide over the input: two axes for images, three for clips."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from seewhy.perturb.edits import Edits, Fill, Jobs, chosen, compose
from seewhy.types import Size


@dataclass(frozen=True)
class Windows:
    """Where windows of one shape lie; the last one along an axis is cut off where it hangs over the edge.

    Parameters
    ----------
    size, window, stride
        In pixels (frames along time), one number an axis; `stride <= window <= size`, so every pixel is
        covered.
    """

    size: Size
    window: Size
    stride: Size

    @property
    def counts(self) -> Size:
        """Positions along each axis: `ceil((size - window) / stride) + 1`."""
        return tuple(
            -(-(s - w) // d) + 1 for s, w, d in zip(self.size, self.window, self.stride, strict=True)
        )

    def covers(self, axis: int, device: torch.device | None = None) -> Tensor:
        """Return `(counts[axis], size[axis])` bool: which pixels of the axis each position covers."""
        start = torch.arange(self.counts[axis], device=device)[:, None] * self.stride[axis]
        pixel = torch.arange(self.size[axis], device=device)
        return (pixel >= start) & (pixel < start + self.window[axis])

    def spread(self, values: Tensor) -> Tensor:
        """Return `(n, *size)` float64: for each pixel the mean of `(n, *counts)` over its windows."""
        values = values.double()
        for axis in range(len(self.size)):
            cover = self.covers(axis, values.device).double()
            # Covering is a product of axes, so the mean over windows is a mean along axis after axis.
            values = torch.tensordot(values, cover / cover.sum(0), dims=([axis + 1], [0])).movedim(
                -1, axis + 1
            )
        return values


class WindowEdits(Edits):
    """Hides one window at a time behind `fill`; windows are numbered in row-major order."""

    def __init__(self, windows: Windows, fill: Fill) -> None:
        self.windows, self.fill = windows, fill

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return prod(self.windows.counts)

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        inside = torch.ones((), dtype=torch.bool, device=x.device)
        rest = jobs.edits
        for axis in reversed(range(len(self.windows.size))):
            count = self.windows.counts[axis]
            along = self.windows.covers(axis, x.device)[rest % count]
            inside = inside & along.reshape(
                len(along), *(-1 if i == axis else 1 for i in range(len(self.windows.size)))
            )
            rest = rest // count
        keep = jobs.each((~inside).to(x))[:, None]
        return compose(chosen(x, jobs.rows), keep, self.fill, jobs.rows)
