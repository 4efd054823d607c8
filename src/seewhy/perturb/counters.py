"""Random numbers by index: that at (seed, index, lane) is the same in any batch, order, shard and device.

A generator with a state ties a mask to all those drawn before it. Here every number is a hash of its own
address instead: two rounds of the splitmix64 finaliser (Steele, Lea and Flood 2014,
https://doi.org/10.1145/2660193.2660195) in wrapping 64-bit integers, which every device computes alike.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)


def uniform(seed: int, index: Tensor, lanes: int) -> Tensor:
    """Return uniform numbers in [0, 1), multiples of 2^-24.

    Parameters
    ----------
    seed
        Any integer; only its lowest 64 bits count.
    index
        `(k,)` int64 addresses, at least 0.
    lanes
        How many numbers each address gives. The first ones stay the same when more are asked for.

    Returns
    -------
    Tensor
        `(k, lanes)` float32 on the device of `index`.
    """
    key = _mixed_integer(seed)
    stream = _mix(index.long() * _signed(_GOLDEN) + _signed(key))
    lane = torch.arange(1, lanes + 1, device=index.device, dtype=torch.int64)
    bits = _mix(stream[:, None] + lane * _signed(_GOLDEN))
    return ((bits >> 40) & 0xFFFFFF).float() * 2.0**-24


def normal(seed: int, index: Tensor, lanes: int) -> Tensor:
    """Return `(k, lanes)` float32 standard normal numbers (Box and Muller), addressed as in `uniform`."""
    u = uniform(seed, index, 2 * lanes)
    # 1 - u lies in (0, 1]: the logarithm is finite.
    radius = (-2 * torch.log1p(-u[:, :lanes])).sqrt()
    return radius * torch.cos(2 * math.pi * u[:, lanes:])


def _mix(z: Tensor) -> Tensor:
    for shift, multiplier in zip(_SHIFTS, (*_MULTIPLIERS, None), strict=True):
        # `>>` keeps the sign; the mask makes it a logical shift.
        z = z ^ ((z >> shift) & ((1 << (64 - shift)) - 1))
        if multiplier is not None:
            z = z * _signed(multiplier)
    return z


def _mixed_integer(z: int) -> int:
    word = (1 << 64) - 1
    z = (z + _GOLDEN) & word
    for shift, multiplier in zip(_SHIFTS, (*_MULTIPLIERS, 1), strict=True):
        z = ((z ^ (z >> shift)) * multiplier) & word
    return z


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word
