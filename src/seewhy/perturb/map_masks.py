"""Masks of each sample's own: small maps, enlarged linearly when they are used."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seewhy.perturb.counters import normal
from seewhy.perturb.edits import Edits, Fill, Jobs, chosen, compose
from seewhy.resize import resize


class MapMasks(Edits):
    """Hides what each sample's own masks leave out behind `fill`.

    Parameters
    ----------
    maps
        `(n, k, *cells)` in [0, 1]: 1 keeps the pixel.
    fill
        What hidden pixels become (see `edits.compose`).
    """

    def __init__(self, maps: Tensor, fill: Fill) -> None:
        self.maps, self.fill = maps, fill

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return self.maps.shape[1]

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        masks = resize(self.maps[jobs.rows, jobs.which], x.shape[2:]).to(x)
        return compose(chosen(x, jobs.rows), masks[:, None], self.fill, jobs.rows)


class NoisyMasks(Edits):
    """Two edits a mask: noise in the place of what it hides, then noise added to what it hides.

    Edit 2 i shows `M x + (1 - M) e` and edit 2 i + 1 `x + (1 - M) e`, with the same noise `e`, which follows
    from the seed and the number of the mask alone: samples share it.

    Parameters
    ----------
    maps
        `(n, k, *cells)` in [0, 1].
    deviation
        Of the noise, in units of the model's input.
    seed
        Seed of the run.
    """

    def __init__(self, maps: Tensor, deviation: float, seed: int) -> None:
        self.maps, self.deviation, self.seed = maps, deviation, seed

    @property
    def count(self) -> int:
        """See `Edits.count`."""
        return 2 * self.maps.shape[1]

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        which, control = jobs.which // 2, jobs.which % 2
        masks = resize(self.maps[jobs.rows, which], x.shape[2:]).to(x)[:, None]
        drawn, place = which.unique(return_inverse=True)
        noise = self.deviation * normal(self.seed, drawn, x[0].numel()).reshape(-1, *x.shape[1:]).to(x)
        kept = torch.where(control.bool().reshape(-1, *[1] * (x.ndim - 1)), 1, masks)
        return chosen(x, jobs.rows) * kept + noise[place] * (1 - masks)


def stacked(maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return `(n, k, ...)` of `n` tensors `(k_i, ...)`, filled up with zeros, and their lengths, `(n,)`.

    Samples with fewer masks are scored on empty ones, too; their scores mean nothing.
    """
    lengths = torch.tensor([len(m) for m in maps], device=maps[0].device)
    return torch.nn.utils.rnn.pad_sequence(list(maps), batch_first=True), lengths
