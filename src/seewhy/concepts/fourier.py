"""Images by their frequencies and colours: what optimised images are made of.

Neighbouring pixels of photos are alike, and so are their red, green and blue. Where an image is written by
frequencies, divided by how much photos hold of each, and by colours that vary independently, a step of an
optimiser moves all scales and colours alike instead of drawing fine, bright noise.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from seewhy.types import Size

_COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.0, -0.05), (0.27, -0.09, 0.03))
"""Square root of the covariance of red, green and blue in photos, as Lucid publishes it: rows are the colours
(https://github.com/tensorflow/lucid, Apache-2.0)."""
_EDGE = 1 / 510
"""Half of an 8-bit level: the least distance of a photo's values from black and white before the logit."""


def frequencies(size: Size) -> Tensor:
    """Return `(h, w // 2 + 1)` float32: cycles a pixel of each entry of `torch.fft.rfft2`'s answer."""
    rows, columns = torch.fft.fftfreq(size[0]), torch.fft.rfftfreq(size[1])
    found: Tensor = torch.sqrt(rows[:, None] ** 2 + columns[None] ** 2)
    return found


def natural_scale(size: Size, decay: float) -> Tensor:
    """Return `(h, w // 2 + 1)`: how much photos hold of each frequency, `sqrt(h w) / frequency ** decay`.

    The frequency 0 counts as one cycle an image's longer side.
    """
    lowest = 1 / max(size)
    found: Tensor = prod(size) ** 0.5 / frequencies(size).clamp_min(lowest) ** decay
    return found


def image_of(spectrum: Tensor, size: Size) -> Tensor:
    """Return the real `(..., h, w)` image of a complex `(..., h, w // 2 + 1)` half spectrum; any width."""
    found: Tensor = torch.fft.irfft2(spectrum, s=size)
    return found


def spectrum_of(image: Tensor) -> Tensor:
    """Return the complex `(..., h, w // 2 + 1)` half spectrum of a real `(..., h, w)` image."""
    found: Tensor = torch.fft.rfft2(image)
    return found


def possible_phases(phases: Tensor, width: int) -> Tensor:
    """Return phases of `(..., h, width // 2 + 1)` that a real image can have, equal to these where they can.

    The first column, and in even widths the last, holds each wave twice, at row k and -k, with opposite
    phases: those of the first half of the rows count. Waves that are their own opposite get phase 0. With
    any other phases a transform back would change the magnitudes.
    """
    height = phases.shape[-2]
    k = torch.arange(height, device=phases.device)[:, None]
    mirrored = phases.flip(-2).roll(1, -2)
    own = torch.where(2 * k < height, phases, -mirrored)
    own = torch.where((k == 0) | (2 * k == height), torch.zeros_like(phases), own)
    double = torch.zeros(phases.shape[-1], dtype=torch.bool, device=phases.device)
    double[0] = True
    if width % 2 == 0:
        double[-1] = True
    return torch.where(double, own, phases)


def from_independent(colours: Tensor) -> Tensor:
    """Return values in [0, 1] of `(n, c, h, w)` independent colours: correlated as in photos, then a sigmoid.

    One channel stays what it is but for the sigmoid.
    """
    if colours.shape[1] == 3:
        colours = torch.einsum("rc,nchw->nrhw", _mixing(colours), colours)
    return colours.sigmoid()


def to_independent(pixels: Tensor) -> Tensor:
    """Return what `from_independent` makes `pixels` of; black and white count as half a level off."""
    colours = pixels.clamp(_EDGE, 1 - _EDGE).logit()
    if colours.shape[1] == 3:
        colours = torch.einsum("rc,nchw->nrhw", torch.linalg.inv(_mixing(colours)), colours)
    return colours


def _mixing(like: Tensor) -> Tensor:
    root = torch.tensor(_COLOURS, dtype=torch.float64)
    largest: Tensor = root.norm(dim=0).max()
    return (root / largest).to(like)
