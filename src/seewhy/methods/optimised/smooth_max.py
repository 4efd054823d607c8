"""Smooth masks from few parameters: a maximum over shifted bumps, softened (Fong, Patrick, Vedaldi 2019).

Parameters sit `step` pixels apart. Around each lies a bump `k(d / sigma)`, `k(z) = exp(-2 max(z - 1/2,
0)^2)`, with `d` the distance in pixels: flat up to half of `sigma`, then a Gaussian tail. With the products
v_i of the bumps at a pixel and their parameters, the mask is the softened maximum `sum_i v_i exp(20 v_i) /
sum_i exp(20 v_i)` over the parameters in reach, those beyond the edge counting as 0. The mask is made
somewhat larger than the input, by a margin of `sigma` all around, so that the area is also paid for by what
hangs over the edge.

Weights repeat every `step` pixels, so the table has one entry for each parameter in reach and place within
a step. Forward and backward go row by row of that table: memory is that of the mask, not of all products.
"""

from __future__ import annotations

from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import unfold

from seewhy.types import Size

_COLDNESS = 20.0


class SmoothMax:
    """Turns `(r, *cells)` parameters in [0, 1] into masks in [0, 1].

    Parameters
    ----------
    size
        `(height, width)` of the input.
    step
        Pixels between parameters, at least 1.
    sigma
        Width of a bump in pixels, at least 1.
    device
        Where the parameters are.
    """

    def __init__(self, size: Size, step: int, sigma: int, device: torch.device | None = None) -> None:
        self.size, self.step = (size[0], size[1]), step
        self.cells = (ceil(size[0] / step), ceil(size[1] / step))
        self.reach = 1 + ceil(sigma / step)
        lead = ceil(sigma / step)
        self.margin = step * lead
        self.middle = (self.cells[0] + 2 * lead, self.cells[1] + 2 * lead)
        self.padding = lead + self.reach
        self.table = _table(step, sigma, self.reach).to(device)

    def wide(self, parameters: Tensor) -> Tensor:
        """Return the masks with their margin, `(r, height + ..., width + ...)`."""
        taps = unfold(parameters[:, None], 2 * self.reach + 1, padding=self.padding)
        pooled: Tensor = _Pool.apply(taps, self.table)  # (r, step, step, places)
        grid = pooled.unflatten(-1, self.middle).permute(0, 3, 1, 4, 2)
        mask: Tensor = grid.flatten(3, 4).flatten(1, 2)
        # The last parameter needs no pixels behind it.
        return mask[:, : mask.shape[1] - self.step + 1, : mask.shape[2] - self.step + 1]

    def inner(self, wide: Tensor) -> Tensor:
        """Return what of `wide` masks is over the input, `(r, *size)`; parameter 0 sits on pixel 0."""
        height, width = self.size
        return wide[:, self.margin : self.margin + height, self.margin : self.margin + width]


def _table(step: int, sigma: int, reach: int) -> Tensor:
    """Return `(step, taps, step)` float32: row within a step, parameter in reach, column within a step."""
    taps, places = torch.arange(-reach, reach + 1.0), torch.arange(float(step))
    apart = step * taps[:, None] - places  # (tap, place) along one axis
    distance = (apart[:, None, :, None] ** 2 + apart[None, :, None, :] ** 2).sqrt() / sigma
    bump = torch.exp(-2 * (distance - 0.5).clamp_min(0) ** 2)  # (tap, tap, row, column)
    return bump.flatten(0, 1).movedim(1, 0)


class _Pool(torch.autograd.Function):
    """From `(r, taps, places)` parameters to `(r, step, step, places)` softened maxima."""

    @staticmethod
    def forward(ctx: Any, taps: Tensor, table: Tensor) -> Tensor:
        pooled = torch.stack([_softened(taps, weights)[0] for weights in table], 1)
        ctx.save_for_backward(taps, table, pooled)
        return pooled

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        taps, table, pooled = ctx.saved_tensors
        total = torch.zeros_like(taps)
        for row, weights in enumerate(table):
            _, values, shares = _softened(taps, weights)
            # d pooled / d v_i = share_i (1 + coldness (v_i - pooled))
            inner = shares * (1 + _COLDNESS * (values - pooled[:, row][:, None]))
            total += torch.einsum("rtcp,rcp,tc->rtp", inner, slope[:, row], weights)
        return total, None


def _softened(taps: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the softened maxima, `(r, step, places)`; values and shares, `(r, taps, step, places)`."""
    values = taps[:, :, None] * weights[:, :, None]
    shares = (_COLDNESS * values).softmax(1)
    return (values * shares).sum(1), values, shares
