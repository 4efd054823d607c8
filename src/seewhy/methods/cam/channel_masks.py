"""Channels of a layer as masks of the input: enlarged and scaled to 0 .. 1, each shows what it answers to."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.perturb.edits import Edits, Jobs, chosen, compose
from seewhy.resize import resize
from seewhy.types import Size

_FLAT = 1e-6
"""Range of a channel, as a part of the layer's largest magnitude, up to which it is constant."""
_AT_ONCE = 64
"""Channels that are enlarged at once to find their extremes."""


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
        self.size, self.fill, self.corners = size, fill, corners
        flat = activation.flatten(2)
        self.live = flat.amax(2) - flat.amin(2) > _FLAT * flat.abs().amax((1, 2))[:, None]
        """`(n, k)`: which channels vary over the cells."""
        self._most = int(self.live.sum(1).max())
        # Live channels first, in order; a sample with fewer gets others too, for nothing
        self.channels = self.live.byte().argsort(stable=True, dim=1, descending=True)[:, : self._most]
        """`(n, count)` int64: the channel of each edit."""

        self.scaled = self._scaled(activation)
        """`(n, k, *cells)`: the channels, scaled so that enlarging makes a mask; constant ones are 0."""

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return self._most

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        masks = self._enlarged(self.scaled[jobs.rows, self.channels[jobs.rows, jobs.which]]).to(x)
        return compose(chosen(x, jobs.rows), masks[:, None], self.fill, jobs.rows)

    def spread(self, scores: Tensor, empty: float) -> Tensor:
        """Return `(n, k)`: the `(n, count)` scores at their channels, `empty` at constant channels."""
        found = torch.full(self.live.shape, empty, dtype=scores.dtype, device=scores.device)
        found.scatter_(1, self.channels, scores)
        return found.masked_fill_(~self.live, empty)

    def _scaled(self, activation: Tensor) -> Tensor:
        # Lowest and highest value are taken where the mask lives: enlarging may cut the extremes off.
        flat = activation.flatten(0, 1)
        ends = [
            torch.stack(e.flatten(1).aminmax(dim=1), 1) for e in map(self._enlarged, flat.split(_AT_ONCE))
        ]
        low, high = torch.cat(ends).T.reshape(2, *self.live.shape, *[1] * len(self.size))
        span = torch.where(high > low, high - low, 1)
        live = self.live.reshape(low.shape)
        return torch.where(live, (activation - low) / span, 0)

    def _enlarged(self, maps: Tensor) -> Tensor:
        """Return `(m, *size)` of `(m, *cells)`."""
        if not self.corners:
            return resize(maps, self.size)
        mode = "trilinear" if len(self.size) == 3 else "bilinear"
        return interpolate(maps[:, None], size=self.size, mode=mode, align_corners=True)[:, 0]


class Nothing(Edits):
    """One edit that shows nothing but the fill."""

    def __init__(self, fill: Tensor | None) -> None:
        self.fill = fill

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return 1

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        shown = x[jobs.rows]
        return compose(shown, torch.zeros_like(shown[:, :1]), self.fill, jobs.rows)
