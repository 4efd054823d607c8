"""Edits that fill random subsets of patches, the same for all samples, of chosen sizes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from seewhy.perturb.counters import uniform
from seewhy.perturb.edits import Edits, Fill, Jobs, chosen, compose
from seewhy.perturb.patches import on_pixels
from seewhy.types import Size


class SubsetEdits(Edits):
    """Edit `j` fills subset `j % draws` of the size `sizes[j // draws]`.

    A subset follows from the seed and the number of the edit alone; all of one size are as likely.

    Parameters
    ----------
    sizes
        Patches in a subset.
    draws
        Subsets of each size.
    grid, side
        Patches along each axis, and pixels of a patch.
    fill
        What the pixels of a subset become.
    seed
        Seed of the run.
    """

    def __init__(
        self, sizes: Sequence[int], draws: int, grid: Size, side: int, fill: Fill, seed: int
    ) -> None:
        self.sizes, self.draws, self.grid, self.side = tuple(sizes), draws, grid, side
        self.fill, self.seed = fill, seed

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return len(self.sizes) * self.draws

    def members(self, which: Tensor) -> Tensor:
        """Return `(k, *grid)` bool: the patches in the subsets of the edits `which`, `(k,)`."""
        drawn = uniform(self.seed, which, prod(self.grid))
        place = drawn.argsort(dim=1, stable=True).argsort(dim=1)
        wanted = torch.tensor(self.sizes, device=which.device)[which // self.draws]
        return (place < wanted[:, None]).reshape(-1, *self.grid)

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        keep = on_pixels(~self.members(jobs.edits), tuple(x.shape[2:]), self.side)[:, None].to(x)
        return compose(chosen(x, jobs.rows), jobs.each(keep), self.fill, jobs.rows)
