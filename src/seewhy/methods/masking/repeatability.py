"""How repeatable a sampled map is, and stopping once it is repeatable enough.

A method that draws at random keeps its draws apart in four interleaved groups. Each of the three ways to
halve them gives two maps, and the mean h of their rank correlations says how far two runs of half the length
agree. Two runs of the whole length are expected to agree to 2 h / (1 + h) (Spearman 1910, Brown 1910: the
split-half reliability of tests), and one of them with the map of endless draws to the root of that.

Looks are taken at fixed numbers of draws, whatever the batch size, and every sample keeps the map of the look
at which it was repeatable enough: a batch equals its singles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isnan

import torch
from torch import Tensor

from seewhy.agreement import Agreement
from seewhy.types import Json

GROUPS = 4
"""Interleaved groups: draw `i` belongs to group `i % GROUPS`."""
HALVINGS = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
"""The ways to make two halves of them."""
_FIRST = 125
_LATTICE = 32


def looks(total: int, *, often: bool) -> Iterator[int]:
    """Yield the numbers of draws after which to look: 125, 250, 500 ..., and `total`.

    Runs of up to 125 draws are looked at in the middle, too.

    Parameters
    ----------
    total
        Draws of the whole run.
    often
        Twice a doubling instead of once: 125, 177, 250, 354 ...
    """
    if total <= _FIRST:
        yield (total + 1) // 2
    step = 0.0
    while (count := round(_FIRST * 2**step)) < total:
        yield count
        step += 0.5 if often else 1
    yield total


def lattice(size: Sequence[int]) -> tuple[Tensor, ...]:
    """Return, for each axis, at most 32 evenly spaced pixels: enough to compare smooth maps."""
    return tuple((torch.arange(n := min(length, _LATTICE)) * 2 + 1) * length // (2 * n) for length in size)


def repeatability(halves: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return split-half rank correlation and repeatability of the whole run.

    Parameters
    ----------
    halves
        For each way of halving the `(n, *size)` maps of either half.

    Returns
    -------
    tuple of Tensor
        `(n,)` float32 each, NaN where a map is constant; the second one is 0 to 1.
    """
    split = torch.stack([Agreement.of(*pair).spearman for pair in halves]).mean(0)
    positive = split.clamp_min(0)
    return split, 2 * positive / (1 + positive)


def relative_errors(maps: Tensor, halves: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the `(n,)` standard errors of a pixel (root mean square) over the range of its map.

    Parameters
    ----------
    maps
        `(n, *size)` of all draws; NaN where one is constant.
    halves
        As `repeatability` takes them.
    """
    squares = torch.stack([((a - b) / 2).flatten(1).square().mean(1) for a, b in halves]).mean(0)
    flat = maps.flatten(1).cpu()
    ranges = flat.amax(1) - flat.amin(1)
    return torch.where(ranges > 0, squares.sqrt() / ranges, torch.nan)


class Settling:
    """Keeps the map of each sample from the look at which it was repeatable enough.

    Parameters
    ----------
    samples
        How many.
    stop_at
        Repeatability at which a sample is settled, 0 to 1; None: never.
    unit
        What draws are called in the result.
    """

    def __init__(self, samples: int, stop_at: float | None, unit: str) -> None:
        self.stop_at, self.unit = stop_at, unit
        self._maps: list[Tensor | None] = [None] * samples
        self._facts: list[Json] = [{} for _ in range(samples)]

    @property
    def settled(self) -> bool:
        """Whether every sample is."""
        return all(kept is not None for kept in self._maps)

    def look(
        self,
        count: int,
        maps: Tensor,
        halves: Sequence[tuple[Tensor, Tensor]],
        *,
        decides: bool = True,
    ) -> tuple[Tensor, tuple[Json, ...]]:
        """Return the maps so far, and for each sample what is known of its map.

        That is split-half rank correlation, repeatability, relative standard error (None where the map is
        constant) and, where the run may stop, the number of draws that the map rests on.

        Parameters
        ----------
        count
            Draws so far.
        maps
            `(n, *size)` from all of them.
        halves
            As `repeatability` takes them.
        decides
            Whether samples may settle: not at looks whose place depends on time.
        """
        split, repeat = repeatability(halves)
        known = {
            "split_half_spearman": split.tolist(),
            "repeatability": repeat.tolist(),
            "relative_standard_error": relative_errors(maps, halves).tolist(),
        }
        shown = maps.clone()
        for i, kept in enumerate(self._maps):
            if kept is not None:
                shown[i] = kept
                continue
            self._facts[i] = {name: None if isnan(v[i]) else v[i] for name, v in known.items()}
            if self.stop_at is not None:
                self._facts[i][self.unit] = count
                if decides and float(repeat[i]) >= self.stop_at:
                    self._maps[i] = maps[i].clone()
        return shown, tuple(dict(facts) for facts in self._facts)
