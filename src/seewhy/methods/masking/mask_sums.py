"""Sums over random masks from which RISE's maps are made, whatever the estimator and the number of masks."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from math import prod
from typing import Literal

import torch
from torch import Tensor

from seewhy.batching import add_at
from seewhy.methods.masking.mask_regression import Fit, MaskRegression
from seewhy.methods.masking.repeatability import GROUPS, HALVINGS, lattice
from seewhy.perturb.edits import Jobs
from seewhy.perturb.mask_components import mask_components
from seewhy.perturb.masks import Grids
from seewhy.perturb.scorer import Chunk

Estimator = Literal["regressed", "centred", "published", "normalised"]


_WORTH = 256
"""Scores that are taken in at once: the sums cost as much for one as for a hundred."""


class Sums:
    """Score-weighted sums of masks, kept as sums of grids by shift, apart for interleaved groups of masks.

    A mask is `R_u G R_v^T`, so `sum s M = sum_uv R_u (sum of s G over the masks of shift u, v) R_v^T`: exact,
    and as large as the number of shifts, whatever the number of masks.

    Parameters
    ----------
    grids
        Where the masks come from; to regress, cells are independent and shifts uniform.
    keep
        Probability that a cell is visible.
    estimator
        What `maps` will return; see `methods.masking.rise`.
    samples
        How many share the masks.
    device
        Where the scores are.
    """

    def __init__(
        self, grids: Grids, keep: float, estimator: Estimator, samples: int, device: torch.device
    ) -> None:
        self.grids, self.keep, self.estimator, self.samples = grids, keep, estimator, samples
        self.keys = prod(grids.shifts)
        # For each group and sample: sums of (score, 1) times the grid, by shift; and of (score, 1) alone.
        self.by_shift = torch.zeros(
            GROUPS * samples * self.keys, 2, prod(grids.cells), dtype=torch.float64, device=device
        )
        self.plain = torch.zeros(GROUPS * samples, 2, dtype=torch.float64, device=device)
        self._waiting: list[Chunk] = []
        self._host: MaskRegression | None = None
        self.regression = (
            MaskRegression(mask_components(grids.size, grids.cells, keep), GROUPS, samples, device)
            if estimator == "regressed"
            else None
        )

    def add(self, chunk: Chunk) -> None:
        """Take in the scores of the next batch; small ones wait until they are worth the work."""
        self._waiting.append(chunk)
        if sum(len(c.jobs) for c in self._waiting) >= _WORTH:
            self.settle()

    def settle(self) -> None:
        """Take in what waits."""
        if not self._waiting:
            return
        first, last = self._waiting[0].jobs.span, self._waiting[-1].jobs.span
        jobs = Jobs(
            torch.cat([c.jobs.rows for c in self._waiting]),
            torch.cat([c.jobs.which for c in self._waiting]),
            range(first.start, last.stop),
        )
        scores = torch.cat([c.scores for c in self._waiting])
        self._waiting.clear()
        edits, place = jobs.edits, jobs.place
        grids, shifts = self.grids.draw(edits)
        key = torch.zeros_like(shifts[:, 0])
        for axis, count in enumerate(self.grids.shifts):
            key = key * count + shifts[:, axis]
        group = jobs.which % GROUPS * self.samples + jobs.rows
        values = torch.stack((scores, torch.ones_like(scores)), 1).double()
        weighted = values[:, :, None] * grids.flatten(1).double()[place][:, None]
        add_at(self.plain, group, values)
        add_at(self.by_shift, group * self.keys + key[place], weighted)
        self._host = None
        if self.regression is not None:
            table = values.new_zeros(2, len(edits), self.samples)
            table[:, place, jobs.rows] = values.T
            components = self.regression.components.values(grids, shifts)
            self.regression.add(components, edits % GROUPS, *table)

    def snapshot(self) -> Sums:
        """Return a copy in which nothing waits.

        What waits here goes on waiting: who looks along the way does not change the order of the sums, and so
        no bit of the map in the end.
        """
        now = copy(self)
        now.by_shift, now.plain, now._waiting = self.by_shift.clone(), self.plain.clone(), [*self._waiting]
        now.regression = None if self.regression is None else self.regression.snapshot()
        now.settle()
        return now

    def maps(self, fit: Fit | None = None) -> Tensor:
        """Return the `(n, *size)` float64 maps of all masks so far.

        Parameters
        ----------
        fit
            What `fit` returns; None: it is made.
        """
        self.settle()
        everything = list(range(GROUPS))
        sums = self._enlarged(self._grouped().sum(0, keepdim=True), None)[0]
        return self._estimate(sums, everything, fit or self.fit(), None)

    def fit(self) -> Fit | None:
        """Return the regression on all masks; None where the estimator needs none."""
        host = self._on_host()
        return None if host is None else host.fit(range(GROUPS))

    def _on_host(self) -> MaskRegression | None:
        self.settle()
        if self._host is None and self.regression is not None:
            self._host = self.regression.on_host()
        return self._host

    def halves(self, fit: Fit | None) -> list[tuple[Tensor, Tensor]]:
        """Return, for each of `HALVINGS`, the maps of either half on a lattice of pixels, on the CPU.

        Parameters
        ----------
        fit
            The regression on all masks, whose penalties the halves share.
        """
        pixels, host = lattice(self.grids.size), self._on_host()
        sums = self._enlarged(self._grouped(), pixels).cpu()

        def of(half: Sequence[int]) -> Tensor:
            refit = None if host is None or fit is None else host.fit(half, fit.penalty)
            return self._estimate(sums[list(half)].sum(0), half, refit, pixels)

        return [(of(a), of(b)) for a, b in HALVINGS]

    def _estimate(
        self, sums: Tensor, groups: Sequence[int], fit: Fit | None, pixels: tuple[Tensor, ...] | None
    ) -> Tensor:
        """Return `(n, *size)` maps from `(n, 2, *size)` sums of (score, 1) times the mask."""
        weighted, masks = sums.unbind(1)
        plain = self.plain.reshape(GROUPS, self.samples, 2)[list(groups)].sum(0).to(sums.device)
        total, count = (t.reshape(-1, *[1] * (masks.ndim - 1)) for t in plain.unbind(1))
        count = count.clamp_min(1)
        match self.estimator:
            case "published":
                return weighted / (count * self.keep)
            case "normalised":
                # A pixel that no mask ever showed has no mean score of its own.
                return torch.where(masks > 0, weighted / masks.clamp_min(1e-12), total / count)
        centred = (weighted - total / count * masks) / (count * self.keep)
        if self.regression is None or fit is None:
            return centred
        # Along the components the mean of products gives way to the known variance times the weight. What
        # lies beyond them is shrunk like the last of them.
        variances = self.regression.components.variances
        rest = 1 / (1 + fit.penalty / (fit.masks * variances[-1]))
        change = (variances * fit.weights - rest[:, None] * fit.covariances) / self.keep
        centred = centred * rest.to(centred.device).reshape(-1, *[1] * (centred.ndim - 1))
        return centred + self.regression.components.paint(change.to(centred.device), pixels)

    def _grouped(self) -> Tensor:
        return self.by_shift.reshape(GROUPS, self.samples, *self.grids.shifts, 2, *self.grids.cells)

    def _enlarged(self, sums: Tensor, pixels: tuple[Tensor, ...] | None) -> Tensor:
        """Return `(m, n, 2, *size)`: the `(m, n, *shifts, 2, *cells)` sums of grids as sums of masks."""
        axes = len(self.grids.shifts)
        sums = sums.movedim(2 + axes, 2)
        for axis, matrices in enumerate(self.grids.matrices):
            left = axes - axis  # the first shift and the first cell go, their pixels are appended
            rows = matrices if pixels is None else matrices[:, pixels[axis]]
            sums = torch.tensordot(sums, rows.to(sums), dims=([3, 3 + left], [0, 2]))
        return sums
