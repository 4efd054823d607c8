"""How much two maps agree: correlation of their values, and of their ranks; structural similarity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from seewhy.types import Scores


@dataclass(frozen=True, eq=False)
class Agreement:
    """Correlations of two sets of maps, sample by sample.

    Parameters
    ----------
    spearman
        `(n,)` float32 correlation of ranks, -1 to 1; ties share their mean rank. NaN where a map is constant
        or holds a value that is no number.
    pearson
        `(n,)` float32 correlation of values, likewise.
    """

    spearman: Scores
    pearson: Scores

    @classmethod
    def of(cls, a: Tensor, b: Tensor) -> Agreement:
        """Return the agreement of two tensors `(n, *size)` of one shape."""
        a, b = a.flatten(1).double(), b.flatten(1).double()
        return cls(_correlation(_ranks(a), _ranks(b)).float(), _correlation(a, b).float())


WINDOW = 11
"""Side of the window of structural similarity, in cells; smaller maps have none."""


def structural_similarity(a: Tensor, b: Tensor) -> Scores:
    """Return the `(n,)` float32 mean structural similarity of maps, -1 to 1; 1 for equal ones.

    Luminance, contrast and structure under an 11 x 11 Gaussian window of deviation 1.5, with K1 = 0.01 and
    K2 = 0.03 (Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment, 2004,
    https://doi.org/10.1109/TIP.2003.819861), over the windows that lie inside; clips frame by frame.

    Parameters
    ----------
    a, b
        `(n, *size)` of one shape with values from 0 to 1; the last two axes are rows and columns. NaN where a
        side is shorter than the window, or a value is no number.
    """
    n, h, w = len(a), *a.shape[-2:]
    if min(h, w) < WINDOW:
        return torch.full((n,), torch.nan)
    at = torch.arange(WINDOW, dtype=torch.float64, device=a.device) - WINDOW // 2
    bell = torch.exp(-(at**2) / (2 * 1.5**2))
    bell = bell / bell.sum()

    def blurred(v: Tensor) -> Tensor:
        rows = conv2d(v, bell.reshape(1, 1, -1, 1))
        return conv2d(rows, bell.reshape(1, 1, 1, -1))

    a, b = (v.double().reshape(-1, 1, h, w) for v in (a, b))
    mean_a, mean_b = blurred(a), blurred(b)
    spread = blurred(a * a) - mean_a**2 + blurred(b * b) - mean_b**2
    common = blurred(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    index = (2 * mean_a * mean_b + c1) * (2 * common + c2)
    index = index / ((mean_a**2 + mean_b**2 + c1) * (spread + c2))
    return index.reshape(n, -1).mean(1).float()


def rank_vectors(maps: Tensor) -> Tensor:
    """Return `(n, cells)` float64 ranks of maps `(n, *size)`, centred and scaled to length 1.

    The product of two is the rank correlation of their maps: for many maps of one photo, each is ranked
    once. NaN where a map is constant or holds a value that is no number.
    """
    ranks = _ranks(maps.flatten(1).double())
    centred = ranks - ranks.mean(1, keepdim=True)
    size: Tensor = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    return centred / size


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    def centred(v: Tensor) -> Tensor:
        # The scale does not matter; taking it out first keeps squares of tiny and huge values in range.
        v = v / v.abs().amax(1, keepdim=True)
        constant = v.amin(1, keepdim=True) == v.amax(1, keepdim=True)
        return torch.where(constant, torch.nan, v - v.mean(1, keepdim=True))

    a, b = centred(a), centred(b)
    products: Tensor = (a * b).sum(1) / (a.square().sum(1).sqrt() * b.square().sum(1).sqrt())
    return products.clamp(-1, 1)


def _ranks(v: Tensor) -> Tensor:
    """Return `(n, m)` ranks from 1; equal values share the mean of theirs, rows with NaN are NaN."""
    ranked = torch.empty_like(v)
    for row, out in zip(v, ranked, strict=True):
        _, place, counts = row.unique(return_inverse=True, return_counts=True)
        last = counts.cumsum(0).double()
        out.copy_((last - (counts.double() - 1) / 2)[place])
        if not bool(row.isfinite().all()):
            out.fill_(torch.nan)
    return ranked
