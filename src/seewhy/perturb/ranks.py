"""Edits that follow a ranking of pixels: from one picture to another, the first pixels first."""

from __future__ import annotations

import torch
from torch import Tensor

from seewhy.perturb.edits import Edits, Jobs, chosen, like
from seewhy.types import Maps


def ranks(maps: Maps) -> Tensor:
    """Return `(n, *size)` int64: 0 for the highest value; equal values keep their row-major order."""
    flat = maps.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(flat.shape[1], device=maps.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places).reshape(maps.shape)


def tied(maps: Maps) -> Tensor:
    """Return `(n,)` float32: the share of pixels, 0 to 1, whose value occurs again in the same map."""
    values = maps.flatten(1).sort(dim=1).values
    same = values[:, 1:] == values[:, :-1]
    edge = same.new_zeros(len(same), 1)
    return (torch.cat([same, edge], 1) | torch.cat([edge, same], 1)).float().mean(1)


class RankEdits(Edits):
    """Edit `j` shows `finish` in the first `j * pixels` places of the ranking and `start` in the others.

    Parameters
    ----------
    order
        `(n, *size)` from `ranks`.
    start, finish
        `(n, c, *size)`, or broadcastable to it.
    pixels
        Places a step; the last step may have fewer.
    """

    def __init__(self, order: Tensor, start: Tensor, finish: Tensor, pixels: int) -> None:
        self.order, self.pixels = order.int(), pixels
        self.start, self.finish = (p if p.ndim else p.reshape(1, *[1] * order.ndim) for p in (start, finish))
        self.places = order[0].numel()

    @property
    def count(self) -> int:
        """`ceil(places / pixels)` steps and the picture before the first of them."""
        return -(-self.places // self.pixels) + 1

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        edge = (jobs.which * self.pixels).reshape(-1, *[1] * (x.ndim - 2))
        done = (chosen(self.order, jobs.rows) < edge)[:, None].to(x)
        before, after = (chosen(like(p, x), jobs.rows) for p in (self.start, self.finish))
        return torch.lerp(before, after, done)
