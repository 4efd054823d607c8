"""Alignment: what an encoder's vectors of photos say about a layer's features of the same photos.

A ridge regression from vectors to features, both less their means. A direction in the encoder's space,
carried through it, is a weighted sum of the photos' features whose weights add up to 0: what a difference of
means is for examples, with weights that the encoder gives instead of a choice of folders.

Formula
    Z, H: vectors and features less their means over the photos;  weights w = Z (Z' Z + r tr(Z' Z) / d)^-1 t
    of a direction t;  v = H' w.  r, among `RIDGES`, has the smallest leave-one-out error.
    R^2 = 1 - sum |h - predicted|^2 / sum |h - mean|^2 over photos held out, five parts in turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.concepts.draws import permutation, resamples
from seewhy.concepts.significance import interval
from seewhy.types import Json

RIDGES = tuple(10.0**k for k in range(-4, 3))
FOLDS, DRAWS = 5, 1000


@dataclass(frozen=True)
class Fit:
    """How well features follow from vectors.

    Parameters
    ----------
    r2, low, high
        Held out: 1 is perfect, 0 is no better than the mean; 95 % interval over photos.
    ridge
        The penalty, as a multiple of the mean eigenvalue of the vectors' scatter.
    """

    r2: float
    low: float
    high: float
    ridge: float

    def to_json(self) -> Json:
        """Return the numbers."""
        return {"r2": self.r2, "low": self.low, "high": self.high, "ridge": self.ridge}


def weights(vectors: Tensor, directions: Tensor, ridge: float) -> Tensor:
    """Return `(n, q)` float64 weights of the photos, each column summing to 0.

    Parameters
    ----------
    vectors
        `(n, d)` of the photos.
    directions
        `(q, d)`.
    ridge
        See `Fit`; 0 is least squares, the shortest solution where there are many.
    """
    z = _centred(vectors)
    n, d = z.shape
    penalty = ridge * float(z.square().sum()) / d
    if d <= n:
        return z @ _solved(z.T @ z, directions.double().T, penalty)
    return _solved(z @ z.T, z @ directions.double().T, penalty)


def best_ridge(vectors: Tensor, features: Tensor) -> float:
    """Return the ridge of `RIDGES` with the smallest squared error on photos left out one at a time."""
    errors = left_out_errors(vectors, features)
    return RIDGES[min(range(len(RIDGES)), key=errors.__getitem__)]


def left_out_errors(vectors: Tensor, features: Tensor) -> list[float]:
    """Return, for each of `RIDGES`, the squared error of photos left out one at a time, summed over them."""
    z, h = _centred(vectors), _centred(features)
    u, s, _ = torch.linalg.svd(z, full_matrices=False)
    projected, mean = u.T @ h, float(s.square().sum()) / z.shape[1]
    errors = []
    for ridge in RIDGES:
        kept = s.square() / (s.square() + max(ridge * mean, 1e-300))
        left = h - u @ (kept[:, None] * projected)
        own = 1 - 1 / len(z) - (u.square() @ kept)
        errors.append(float((left.square().sum(1) / own.clamp_min(1e-9).square()).sum()))
    return errors


def fit_held_out(vectors: Tensor, features: Tensor, seed: int) -> Fit:
    """Return how well `(n, c)` features follow from `(n, d)` vectors; the ridge is that of all photos."""
    n = len(vectors)
    order = permutation(seed, 0, n)
    left, there = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for test in order.chunk(FOLDS):
        train = order[~torch.isin(order, test)]
        z, h = vectors[train], features[train]
        toward = vectors[test].double() - z.double().mean(0)
        mean = h.double().mean(0)
        predicted = mean + weights(z, toward, best_ridge(z, h)).T @ (h.double() - mean)
        left[test] = (features[test].double() - predicted).square().sum(1)
        there[test] = (features[test].double() - mean).square().sum(1)
    counts = resamples(seed ^ 1, DRAWS, n)
    tiny = torch.finfo(torch.float64).tiny
    low, high = interval(1 - (counts @ left) / (counts @ there).clamp_min(tiny))
    r2 = 1 - float(left.sum() / there.sum().clamp_min(tiny))
    return Fit(r2, low, high, best_ridge(vectors, features))


def _centred(x: Tensor) -> Tensor:
    centred: Tensor = x.double() - x.double().mean(0)
    return centred


def _solved(gram: Tensor, right: Tensor, penalty: float) -> Tensor:
    if penalty <= 0:
        least: Tensor = torch.linalg.pinv(gram, hermitian=True) @ right
        return least
    eye = torch.eye(len(gram), dtype=gram.dtype)
    factor: Tensor = torch.linalg.cholesky(gram + penalty * eye)
    return torch.cholesky_solve(right, factor)
