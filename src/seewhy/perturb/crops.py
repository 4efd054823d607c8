"""Parts of an input, enlarged to its full size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.perturb.edits import Edits, Jobs


def enlarged(x: Tensor, box: Sequence[slice]) -> Tensor:
    """Return the part `box` of each of `(n, c, *size)` inputs at their full size.

    Parameters
    ----------
    x
        Inputs, or maps with one channel.
    box
        A slice for each of the last axes; axes before them stay whole. Linear interpolation, half-pixel
        centres, nothing from outside the box.
    """
    part = x
    for axis, side in zip(range(x.ndim - len(box), x.ndim), box, strict=True):
        part = part.narrow(axis, side.start, side.stop - side.start)
    mode = "trilinear" if x.ndim == 5 else "bilinear"
    return interpolate(part, size=tuple(x.shape[2:]), mode=mode, align_corners=False)


class CropEdits(Edits):
    """The one edit of a sample is its own box, enlarged.

    Parameters
    ----------
    boxes
        For each sample one slice an axis.
    """

    def __init__(self, boxes: Sequence[Sequence[slice]]) -> None:
        self.boxes = tuple(tuple(box) for box in boxes)

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return 1

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        return torch.cat([enlarged(x[row : row + 1], self.boxes[row]) for row in jobs.rows.tolist()])
