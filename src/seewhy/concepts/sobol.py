"""Total Sobol indices: what part of an output's variance would be left if all factors but one were fixed.

Jansen's estimator on a Halton sequence: for the rows of two designs A and B, and A with column i from B,

    S_i = mean (f(A) - f(A with B_i))^2 / (2 variance of f(A)).

Paper
    Jansen: Analysis of variance designs for model output, 1999,
    https://doi.org/10.1016/S0010-4655(98)00154-4.
"""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor


def halton(rows: int, columns: int) -> Tensor:
    """Return `(rows, columns)` float64 points in [0, 1): radical inverses of 0, 1, ... in prime bases."""
    index = torch.arange(rows)
    return torch.stack([_inverse(index, base) for base in _primes(columns)], 1)


def designs(factors: int, rows: int) -> Tensor:
    """Return `((factors + 2) * rows, factors)` points: A, B, then A with each column from B in turn."""
    both = halton(rows, 2 * factors)
    a, b = both[:, :factors], both[:, factors:]
    mixed = []
    for i in range(factors):
        one = a.clone()
        one[:, i] = b[:, i]
        mixed.append(one)
    return torch.cat([a, b, *mixed])


def total_indices(outputs: Tensor, factors: int) -> Tensor:
    """Return `(factors,)` float64 indices from the outputs at `designs`; zeros where nothing varies."""
    first, _, *mixed = outputs.double().reshape(factors + 2, -1)
    variance = first.var(correction=1)
    if not bool(variance > 0):
        return torch.zeros(factors, dtype=torch.float64)
    indices: Tensor = torch.stack([(first - m).square().mean() for m in mixed]) / (2 * variance)
    return indices


def _inverse(index: Tensor, base: int) -> Tensor:
    value, left, digit = torch.zeros(len(index), dtype=torch.float64), index.clone(), 1.0 / base
    while bool(left.any()):
        value += (left % base) * digit
        left, digit = left // base, digit / base
    return value


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % p for p in found if p <= isqrt(candidate)):
            found.append(candidate)
        candidate += 1
    return found
