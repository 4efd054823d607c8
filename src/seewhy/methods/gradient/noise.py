"""Gradients at noisy copies of the input: what SmoothGrad and VarGrad take their statistics of."""

from __future__ import annotations

import torch
from torch import Tensor

from seewhy.batching import add_at
from seewhy.methods.base import require
from seewhy.methods.gradient.slopes import slopes
from seewhy.perturb.differentiation import differentiated
from seewhy.question import Question
from seewhy.types import Batch, Rows


def moments(question: Question, samples: int, noise: float, what: str) -> tuple[Batch, Batch]:
    """Return the mean of the gradients at noisy copies, and of their squares, `(n, c, *size)` float64 each.

    Copy k is x + e_k with e_k normal of deviation `noise` * (max x - min x), taken sample by sample. The
    pattern of copy k is the same for all samples and follows from the seed and k, so that a batch gives what
    its samples give alone. Sums are float64: a variance is a small difference of two of them.
    """
    x = question.x
    spread = noise * (x.flatten(1).amax(1) - x.flatten(1).amin(1)).reshape(-1, *[1] * (x.ndim - 1))

    def points(rows: Rows, which: Tensor) -> Batch:
        drawn = {
            k: torch.randn(x.shape[1:], generator=question.generator(k)).to(x)
            for k in which.unique().tolist()
        }
        return x[rows] + spread[rows] * torch.stack([drawn[k] for k in which.tolist()])

    first, second = (torch.zeros_like(x, dtype=torch.float64) for _ in range(2))
    for s in slopes(differentiated(question, samples, points), samples, points, what):
        add_at(first, s.rows, s.values.double())
        add_at(second, s.rows, s.values.double().square())
    return first / samples, second / samples


def require_noise(samples: int, noise: float, least: int) -> None:
    """Refuse a number of copies or a noise level out of range."""
    require(samples >= least, "Asked for a number of noisy copies", samples, f"Give at least {least}")
    require(0 <= noise <= 1, "Asked for a noise level", noise, "Give a fraction of the range, 0 to 1")
