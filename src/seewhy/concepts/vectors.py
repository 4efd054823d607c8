"""Concept activation vectors: the direction in a layer that tells a concept's images from random ones.

All fits of a layer happen in the span of its samples. A difference of means and every linear classifier with
an L2 penalty lie in it, so that D = 100,000 features of 300 images become 300 coordinates once, and each
further vector costs nothing that grows with D.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from seewhy.errors import MissingExtra

Solver = Literal["difference_of_means", "lda", "logistic"]
Pool = Literal["mean", "none"]


def flat(activation: Tensor, pool: Pool) -> Tensor:
    """Return `(n, d)` float64 features of `(n, c, *cells)`: means over the cells, or everything in a row."""
    a = activation.double()
    return a.flatten(2).mean(2) if pool == "mean" else a.flatten(1)


def flat_gradient(gradient: Tensor, pool: Pool) -> Tensor:
    """Return the same for gradients: moving every cell along a pooled vector adds the cells' slopes up."""
    g = gradient.double()
    return g.flatten(2).sum(2) if pool == "mean" else g.flatten(1)


@dataclass(frozen=True)
class Span:
    """An orthonormal basis of what some samples span.

    Parameters
    ----------
    basis
        `(r, d)` float64, rows orthonormal.
    coordinates
        `(n, r)`: the samples in it.
    """

    basis: Tensor
    coordinates: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Span:
        """Return the span of `(n, d)` samples, by the eigenvectors of their `(n, n)` products."""
        n, d = features.shape
        if d <= n:
            return cls(torch.eye(d, dtype=features.dtype), features)
        values, vectors = torch.linalg.eigh(features @ features.T)
        kept = values > values.max().clamp_min(1e-300) * 1e-12
        lengths = values[kept].sqrt()
        basis = (vectors[:, kept] / lengths).T @ features
        return cls(basis, vectors[:, kept] * lengths)

    def project(self, rows: Tensor) -> Tensor:
        """Return `(k, r)` coordinates of `(k, d)` rows; what lies outside the span is dropped."""
        return rows @ self.basis.T

    def lift(self, vectors: Tensor) -> Tensor:
        """Return `(k, d)`: vectors of the span in the layer's own features."""
        return vectors @ self.basis


def fit(solver: Solver, samples: Tensor, concept: Tensor) -> tuple[Tensor, float]:
    """Return the `(r,)` float64 vector towards the concept, and the threshold along it.

    Parameters
    ----------
    solver
        "difference_of_means"; "lda": scikit-learn's linear discriminant with Ledoit and Wolf's shrinkage;
        "logistic": its logistic regression, C = 1 on samples of root mean square length 1.
    samples
        `(n, r)`.
    concept
        `(n,)` bool: which of them show the concept.
    """
    return SOLVERS[solver](samples, concept)


def accuracy(vector: Tensor, threshold: float, samples: Tensor, concept: Tensor) -> float:
    """Return the share of samples on the right side, each kind counting half."""
    side = samples @ vector > threshold
    return float(0.5 * side[concept].double().mean() + 0.5 * (~side[~concept]).double().mean())


def _difference_of_means(samples: Tensor, concept: Tensor) -> tuple[Tensor, float]:
    with_it, without = samples[concept].mean(0), samples[~concept].mean(0)
    vector = with_it - without
    return vector, float((with_it + without) @ vector / 2)


def _lda(samples: Tensor, concept: Tensor) -> tuple[Tensor, float]:
    try:
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    except ImportError as error:
        raise _missing("lda") from error
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.array([0.5, 0.5]))
    return _direction(model.fit(samples.numpy(), concept.numpy()))


def _logistic(samples: Tensor, concept: Tensor) -> tuple[Tensor, float]:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise _missing("logistic") from error
    scale = float(samples.square().sum(1).mean().sqrt().clamp_min(1e-300))
    model = LogisticRegression(C=1.0, max_iter=5000, class_weight="balanced")
    vector, threshold = _direction(model.fit((samples / scale).numpy(), concept.numpy()))
    return vector, threshold * scale


def _direction(model: object) -> tuple[Tensor, float]:
    coefficients = np.asarray(model.coef_, np.float64)[0]  # type: ignore[attr-defined]
    intercept = float(np.asarray(model.intercept_)[0])  # type: ignore[attr-defined]
    return torch.from_numpy(coefficients.copy()), -intercept


def _missing(solver: str) -> MissingExtra:
    return MissingExtra(
        f"Asked for concept vectors by {solver}", "scikit-learn", "pip install 'seewhy[concepts]'"
    )


SOLVERS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, float]]] = {
    "difference_of_means": _difference_of_means,
    "lda": _lda,
    "logistic": _logistic,
}
