"""Edits that follow a ranking of pixels: more and more of them are hidden, or shown, the first ones first."""

from __future__ import annotations

import torch
from torch import Tensor

from seewhy.perturb.edits import Edits, Fill, Jobs, chosen, compose
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
    """Edit `j` hides the first places of the ranking, or all but those.

    Parameters
    ----------
    order
        `(n, *size)` int places, 0 first, as from `ranks`; pixels may share one.
    edges
        `(n, edits)`, or `(1, edits)` for all: how many places are first.
    fill
        What hidden pixels become (see `edits.compose`).
    insert
        Whether the first places are shown, and the others hidden.
    """

    def __init__(self, order: Tensor, edges: Tensor, fill: Fill, *, insert: bool = False) -> None:
        self.order, self.edges = order.int(), edges.to(order.device).int().expand(len(order), -1)
        self.fill, self.insert = fill, insert

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return self.edges.shape[1]

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        edge = self.edges[jobs.rows, jobs.which].reshape(-1, *[1] * (x.ndim - 2))
        order = chosen(self.order, jobs.rows)
        keep = order < edge if self.insert else order >= edge
        return compose(chosen(x, jobs.rows), keep[:, None].to(x), self.fill, jobs.rows)
