"""Random sets, splits and resamples by key: the same for any order and number of concepts and layers."""

from __future__ import annotations

from zlib import crc32

import torch
from torch import Tensor

from seewhy.perturb.counters import uniform


def key(seed: int, *words: str) -> int:
    """Return a seed for what some words name."""
    return seed ^ crc32("\0".join(words).encode()) << 20


def permutation(seed: int, index: int, count: int) -> Tensor:
    """Return `(count,)` int64: a permutation, by its address."""
    return uniform(seed, torch.tensor([index]), count)[0].argsort(stable=True)


def permutations(seed: int, many: int, count: int) -> Tensor:
    """Return `(many, count)` permutations."""
    return uniform(seed, torch.arange(many), count).argsort(stable=True, dim=1)


def resamples(seed: int, many: int, count: int) -> Tensor:
    """Return `(many, count)` float64: how often each is drawn in `count` draws with replacement."""
    drawn = (uniform(seed, torch.arange(many), count).double() * count).long()
    return torch.zeros(many, count, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(many, count, dtype=torch.float64)
    )
