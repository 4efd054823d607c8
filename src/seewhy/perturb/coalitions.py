"""Coalitions: which segments are shown together, drawn or enumerated, and the weights of their scores."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import torch
from torch import Tensor


@dataclass(frozen=True)
class Coalitions:
    """Subsets of `players`, each with the weight of its score in a regression.

    Parameters
    ----------
    members
        `(s, players)` bool, True where the player is in.
    weights
        `(s,)` float64, not negative.
    exact
        Whether these are all coalitions, so that the regression has no sampling error.
    """

    members: Tensor
    weights: Tensor
    exact: bool = False

    def padded(self, count: int) -> Coalitions:
        """Return `count` coalitions: these, then full ones of weight 0."""
        more = count - len(self.members)
        full = torch.ones(more, self.members.shape[1], dtype=torch.bool)
        return Coalitions(
            torch.cat([self.members, full]),
            torch.cat([self.weights, torch.zeros(more, dtype=torch.float64)]),
            self.exact,
        )


def shapley_kernel(players: int, sizes: Tensor) -> Tensor:
    """Return the weight of coalitions by their size, 1 .. players - 1: `(s,)` float64.

    `(players - 1) / (C(players, k) k (players - k))`: a regression with these weights gives Shapley values.
    """
    weights = [
        0.0 if k in (0, players) else (players - 1) / (comb(players, k) * k * (players - k))
        for k in range(players + 1)
    ]
    return torch.tensor(weights, dtype=torch.float64)[sizes]


def every(players: int) -> Coalitions:
    """Return all coalitions but the empty and the full one, each before its complement."""
    number = torch.arange(1, 2 ** (players - 1))
    members = _interleaved((number[:, None] >> torch.arange(players)) % 2 == 1)
    return Coalitions(members, shapley_kernel(players, members.sum(1)), exact=True)


def paired(players: int, count: int, generator: torch.Generator) -> Coalitions:
    """Draw coalitions from the Shapley kernel, each followed by its complement; all weights are 1.

    The size `k` has probability proportional to `1 / (k (players - k))`, given the size all coalitions are as
    likely: together that is the kernel. `players` is at least 2; `count` is rounded up to an even number.
    """
    sizes = torch.arange(1, players, dtype=torch.float64)
    drawn = 1 + torch.multinomial(
        1 / (sizes * (players - sizes)), -(-count // 2), replacement=True, generator=generator
    )
    ranks = torch.rand(len(drawn), players, generator=generator).argsort(1).argsort(1)
    members = _interleaved(ranks < drawn[:, None])
    return Coalitions(members, torch.ones(len(members), dtype=torch.float64))


def halves(players: int, count: int, generator: torch.Generator) -> Tensor:
    """Return `(count, players)` bool: every player is in with probability one half."""
    return torch.rand(count, players, generator=generator) < 0.5


def _interleaved(members: Tensor) -> Tensor:
    return torch.stack([members, ~members], 1).flatten(0, 1)
