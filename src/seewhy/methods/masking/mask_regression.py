"""Ridge regression of scores on the masks that gave them, from sums that are gathered batch by batch.

The model is `s_i = b + w . M_i + noise`, with a weight for every pixel and all pixels equally likely to
matter. It is fitted along the masks' principal components, where it needs only `Z^T Z` and `Z^T s`. The
penalty is the ratio of noise to prior variance that makes the scores most likely (empirical Bayes, MacKay
1992, https://doi.org/10.1162/neco.1992.4.3.415); it does not grow with the number of masks, so that
shrinkage vanishes as masks come in.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.perturb.mask_components import MaskComponents

_LEAST, _MOST = -18.0, 6.0
"""Range of the logarithm of the penalty over the largest eigenvalue of `Z^T Z`."""
_ROUNDING = 1e-14
"""Variance, relative to the mean square, below which scores differ by the rounding of float32 alone."""


class MaskRegression:
    """Sums that a regression needs, apart for groups of masks.

    Parameters
    ----------
    components
        Along what to regress.
    groups, samples
        How many of each.
    device
        Where the scores are.
    """

    def __init__(self, components: MaskComponents, groups: int, samples: int, device: torch.device) -> None:
        self.components = components
        width = components.count + 1
        self.gram = torch.zeros(groups, width, width, dtype=torch.float64, device=device)
        self.moments = torch.zeros(groups, width, samples, dtype=torch.float64, device=device)
        self.squares = torch.zeros(groups, samples, dtype=torch.float64, device=device)

    def add(self, values: Tensor, group: Tensor, scores: Tensor, present: Tensor) -> None:
        """Take in some masks.

        Parameters
        ----------
        values
            `(k, count)` values of the masks along the components.
        group
            `(k,)` int64: the group of each mask.
        scores, present
            `(k, n)` float64 scores, 0 where one is missing, and 1 where it is there. Masks count with the
            first sample.
        """
        z = torch.cat([torch.ones_like(values[:, :1]), values], 1)
        member = (group == torch.arange(len(self.gram), device=group.device)[:, None]).to(z)
        left = z.T * member[:, None]  # (groups, 1 + count, k)
        self.gram += left @ (z * present[:, :1])
        self.moments += left @ scores
        self.squares += member @ scores.square()

    def snapshot(self) -> MaskRegression:
        """Return a copy of the sums so far."""
        now = copy(self)
        now.gram, now.moments, now.squares = (t.clone() for t in (self.gram, self.moments, self.squares))
        return now

    def on_host(self) -> MaskRegression:
        """Return the sums so far on the CPU, where small equations are solved faster."""
        host = copy(self)
        host.gram, host.moments, host.squares = (t.cpu() for t in (self.gram, self.moments, self.squares))
        return host

    def fit(self, groups: Sequence[int], penalty: Tensor | None = None) -> Fit:
        """Return the regression on the masks of some groups.

        Parameters
        ----------
        groups
            Which.
        penalty
            `(n,)`; None: what makes the scores of each sample most likely.
        """
        chosen = list(groups)
        gram, moments, squares = (sums[chosen].sum(0) for sums in (self.gram, self.moments, self.squares))
        count = gram[0, 0].clamp_min(1)
        totals = gram[0, 1:]
        inner = gram[1:, 1:] - torch.outer(totals, totals) / count
        outer = moments[1:] - torch.outer(totals, moments[0]) / count
        spread = squares - moments[0].square() / count
        constant = spread <= _ROUNDING * squares
        outer = torch.where(constant, 0.0, outer)
        if penalty is None:
            eigenvalues, vectors = torch.linalg.eigh(inner)
            eigenvalues, turned = eigenvalues.clamp_min(0), vectors.T @ outer
            penalty = _likeliest(eigenvalues, turned, torch.where(constant, 1.0, spread), float(count))
            weights = vectors @ (turned / (eigenvalues[:, None] + penalty))
        else:
            weights = torch.stack([_ridge(inner, p, o) for p, o in zip(penalty, outer.T, strict=True)], 1)
        return Fit(weights.T, outer.T / count, penalty, float(count))


@dataclass(frozen=True, eq=False)
class Fit:
    """A regression of the scores of `n` samples.

    Parameters
    ----------
    weights
        `(n, components)` float64: `w` along the components.
    covariances
        `(n, components)`: mean of (score - mean score) times value.
    penalty
        `(n,)`.
    masks
        How many it rests on.
    """

    weights: Tensor
    covariances: Tensor
    penalty: Tensor
    masks: float


def _ridge(inner: Tensor, penalty: Tensor, outer: Tensor) -> Tensor:
    """Solve `(inner + penalty I) w = outer` for a positive definite left side."""
    factor = torch.linalg.cholesky(inner + penalty * torch.eye(len(inner), dtype=inner.dtype))
    return torch.cholesky_solve(outer[:, None], factor)[:, 0]


def _likeliest(eigenvalues: Tensor, turned: Tensor, spread: Tensor, count: float) -> Tensor:
    """Return the `(n,)` penalties of the largest marginal likelihood (constant and noise level profiled).

    A lattice that is narrowed again and again instead of one fine one: the penalty is then a continuous
    function of the scores, and rounding cannot make it jump by a step.
    """
    top = eigenvalues[-1].clamp_min(torch.finfo(torch.float64).tiny)
    degrees = max(count - 1, 1)

    def cost(log: Tensor) -> Tensor:  # (steps, n) to the same
        penalty = (top * log.exp())[:, None]
        shares = 1 / (eigenvalues[:, None] + penalty)  # (steps, components, n)
        left = (spread - (turned.square() * shares).sum(1)).clamp_min(_ROUNDING * spread)
        return degrees * left.log() - (penalty * shares).log().sum(1)

    low, high = torch.full_like(spread, _LEAST), torch.full_like(spread, _MOST)
    steps = torch.linspace(0, 1, 17, dtype=spread.dtype)[:, None]
    for _ in range(10):
        lattice = low + (high - low) * steps
        best = cost(lattice).argmin(0, keepdim=True)
        low = lattice.gather(0, (best - 1).clamp_min(0))[0]
        high = lattice.gather(0, (best + 1).clamp_max(16))[0]
    return top * ((low + high) / 2).exp()
