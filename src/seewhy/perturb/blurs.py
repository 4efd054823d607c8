"""Blurs: profiles, and their convolution with every frame."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


def gaussian(sigma: float, radius: int) -> Tensor:
    """Return the `(2 radius + 1,)` float64 profile of a Gaussian of `sigma` pixels; its sum is 1."""
    steps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-(steps**2) / (2 * sigma**2))
    return weights / weights.sum()


def folded_gaussian(size: int = 11, sigma: float = 5.0) -> Tensor:
    """Return the `(size,)` float64 profile of `FlatBlur`: a Gaussian folded at both ends of its canvas."""
    reach, centre = int(4 * sigma + 0.5), size // 2
    steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    # On a mirrored canvas the dot repeats with period 2 size: at centre and at 2 size - 1 - centre.
    seen = (torch.arange(size)[:, None] + steps.long()) % (2 * size)
    return ((seen == centre) | (seen == 2 * size - 1 - centre)).double() @ weights


def filtered(x: Tensor, weights: Tensor, edges: str) -> Tensor:
    """Return `(n, c, *size)` with each frame convolved along rows and columns with the same odd profile."""
    weights, radius = weights.to(x), len(weights) // 2
    frames = x.reshape(-1, 1, *x.shape[-2:])
    frames = conv2d(pad(frames, (0, 0, radius, radius), mode=edges), weights.reshape(1, 1, -1, 1))
    frames = conv2d(pad(frames, (radius, radius, 0, 0), mode=edges), weights.reshape(1, 1, 1, -1))
    return frames.reshape(x.shape)
