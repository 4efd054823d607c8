"""Channels of a layer as masks of the input: enlarged and scaled to 0 .. 1, each shows what it answers to."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.perturb.edits import Edits, Jobs, compose, fill_of
from seewhy.resize import resize
from seewhy.types import Size

_FLAT = 1e-6
"""Range of a channel, as a part of the layer's largest magnitude, up to which it is constant."""


class ChannelMasks(Edits):
    """Edit `j` shows the input through channel `channels[row, j]` of the sample's own activation.

    Constant channels make no mask and are left out.

    Parameters
    ----------
    activation
        `(n, k, *cells)` float32.
    size
        Of the inputs.
    fill
        What hidden pixels become; None means 0.
    corners
        Enlarge so that the centres of the outer cells lie on the outer pixels (align_corners); otherwise
        cells cover equal parts of the input, as everywhere else.
    """

    def __init__(self, activation: Tensor, size: Size, fill: Tensor | None, corners: bool = False) -> None:
        self.activation, self.size, self.fill, self.corners = activation, size, fill, corners
        flat = activation.flatten(2)
        self.live = flat.amax(2) - flat.amin(2) > _FLAT * flat.abs().amax((1, 2))[:, None]
        """`(n, k)`: which channels vary over the cells."""
        self._most = int(self.live.sum(1).max())
        # Live channels first, in order; a sample with fewer gets others too, for nothing
        self.channels = self.live.byte().argsort(stable=True, dim=1, descending=True)[:, : self._most]
        """`(n, count)` int64: the channel of each edit."""

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return self._most

    def masks(self, rows: Tensor, which: Tensor) -> Tensor:
        """Return the `(m, *size)` masks of jobs in [0, 1]."""
        maps = self.activation[rows, self.channels[rows, which]]
        if self.corners:
            mode = "trilinear" if len(self.size) == 3 else "bilinear"
            maps = interpolate(maps[:, None], size=self.size, mode=mode, align_corners=True)[:, 0]
        else:
            maps = resize(maps, self.size)
        flat = maps.flatten(1)
        low, high = flat.amin(1), flat.amax(1)
        shape = (-1, *[1] * len(self.size))
        span = (high - low).clamp_min(torch.finfo(maps.dtype).tiny)
        return (maps - low.reshape(shape)) / span.reshape(shape)

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        masks = self.masks(jobs.rows, jobs.which).to(x)
        return compose(x[jobs.rows], masks[:, None], fill_of(self.fill, jobs.rows))

    def spread(self, scores: Tensor, empty: float) -> Tensor:
        """Return `(n, k)`: the `(n, count)` scores at their channels, `empty` at constant channels."""
        found = torch.full(self.live.shape, empty, dtype=scores.dtype, device=scores.device)
        found.scatter_(1, self.channels, scores)
        return found.masked_fill_(~self.live, empty)
