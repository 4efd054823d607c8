"""Pictures whose class is decided by one small disc at a random place: evidence that is known exactly.

A picture is coloured clutter with discs on it. One disc is striped: the direction of its stripes is the
class. The other discs are distractors: plain, ringed, chequered or mottled. Colours, places, the phase and
width of the stripes and everything outside the striped disc say nothing about the class. Picture `i` of a
seed is the same in any batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.perturb.counters import uniform

SIDE, RADIUS, DISCS, CELLS = 64, 8.0, 4, 3
"""Pixels of a side, of a disc's radius; discs a picture, the evidence among them; places a side."""
LABELS = ("stripes lying", "stripes falling", "stripes standing", "stripes rising")
"""Directions 0, 45, 90 and 135 degrees, clockwise from the horizontal."""


@dataclass(frozen=True)
class Pictures:
    """Some pictures and what is known about them.

    Parameters
    ----------
    pixels
        `(n, 3, 64, 64)` float32 in [0, 1].
    classes
        `(n,)` int64, 0 to 3.
    truth
        `(n, 64, 64)` bool: the striped disc.
    """

    pixels: Tensor
    classes: Tensor
    truth: Tensor


def draw(seed: int, start: int, count: int, classes: Tensor | None = None) -> Pictures:
    """Return the pictures `start .. start + count - 1` of a seed, of other `classes` where given."""
    index = torch.arange(start, start + count)
    u = iter(uniform(seed, index, 2 + DISCS * 11 + CELLS * CELLS).T)
    own = (next(u) * len(LABELS)).long()
    classes = own if classes is None else classes
    contrast = 0.15 + 0.2 * next(u)
    # A disc in a cell of its own, jittered within it: no two touch, and all cells are alike.
    order = torch.stack([next(u) for _ in range(CELLS * CELLS)], 1).argsort(1)[:, :DISCS]
    pixels = clutter(seed, index, contrast)
    truth = torch.zeros(count, SIDE, SIDE, dtype=torch.bool)
    at = torch.arange(SIDE) + 0.5
    for d in range(DISCS):
        cell, room = SIDE / CELLS, SIDE / CELLS - 2 * RADIUS
        x0 = (order[:, d] % CELLS) * cell + RADIUS + room * next(u)
        y0 = (order[:, d] // CELLS) * cell + RADIUS + room * next(u)
        dx, dy = at[None, None] - x0[:, None, None], at[None, :, None] - y0[:, None, None]
        disc = dx**2 + dy**2 < RADIUS**2
        phase, period, kind = 2 * math.pi * next(u), 4 + 2 * next(u), next(u)
        first = torch.stack([next(u) for _ in range(3)], 1)
        # The other colour: brighter or darker by at least 0.4 in each channel.
        second = (first + 0.4 + 0.2 * torch.stack([next(u) for _ in range(3)], 1)) % 1.0
        if d == 0:
            wave = striped(dx, dy, classes * math.pi / 4, phase, period)
            truth = disc
        else:
            wave = distracting(dx, dy, kind, phase, period)
        mix = (0.5 + 0.5 * (3 * wave).tanh())[:, None]
        paint = first[:, :, None, None] * mix + second[:, :, None, None] * (1 - mix)
        pixels = torch.where(disc[:, None], paint, pixels)
    return Pictures(pixels.clamp(0, 1), classes, truth)


def clutter(seed: int, index: Tensor, contrast: Tensor) -> Tensor:
    """Return `(n, 3, 64, 64)` mottled colours around grey, with fine grain."""
    n, blobs = len(index), 8
    coarse = uniform(seed + 1, index, 3 * blobs * blobs).reshape(n, 3, blobs, blobs) - 0.5
    grain = uniform(seed + 2, index, SIDE * SIDE).reshape(n, 1, SIDE, SIDE) - 0.5
    smooth = interpolate(coarse, (SIDE, SIDE), mode="bilinear", align_corners=False)
    return 0.5 + 2.8 * contrast[:, None, None, None] * smooth + 0.1 * grain


def striped(dx: Tensor, dy: Tensor, angle: Tensor, phase: Tensor, period: Tensor) -> Tensor:
    """Return a wave `(n, h, w)` in [-1, 1] whose crests run at an angle; arguments `(n, h, w)` and `(n,)`."""
    angle, phase, period = (v[:, None, None] for v in (angle, phase, period))
    across = dy * angle.cos() - dx * angle.sin()
    return (2 * math.pi * across / period + phase).sin()


def distracting(dx: Tensor, dy: Tensor, kind: Tensor, phase: Tensor, period: Tensor) -> Tensor:
    """Return rings, a chequerboard, mottles or a plain disc: patterns without a direction."""
    kind, phase, period = (v[:, None, None] for v in (kind, phase, period))
    k = 2 * math.pi / period
    rings = (k * (dx**2 + dy**2).sqrt() + phase).sin()
    chequers = 2 * (k * dx + phase).sin() * (k * dy + phase).sin()
    # Waves in four directions at once prefer none of them.
    mottles = torch.zeros_like(rings)
    for j in range(4):
        along = dx * math.cos(j * math.pi / 4) + dy * math.sin(j * math.pi / 4)
        mottles += (k * along + (j + 1) * phase).sin() / 2
    patterns = torch.stack([rings, chequers, mottles, torch.ones_like(rings)])
    choice = (kind * len(patterns)).long().expand(1, *rings.shape)
    return patterns.gather(0, choice)[0]
