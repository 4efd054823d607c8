"""Canvases: from the numbers that an optimiser moves to images in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from seewhy.concepts.draws import key
from seewhy.concepts.fourier import (
    from_independent,
    image_of,
    natural_scale,
    possible_phases,
)
from seewhy.perturb.counters import normal, uniform
from seewhy.types import Size

_FIRST = 0.01
"""Standard deviation of the first spectrum, as in Lucid."""
_FLAT = 4.0
"""What values are divided by before the sigmoid, as in Lucid."""


@runtime_checkable
class Canvas(Protocol):
    """A way to write images."""

    def start(self, seed: int, images: int) -> Tensor:
        """Return `(images, ...)` random numbers to start from; image i depends on nothing but (seed, i)."""

    def pixels(self, parameters: Tensor) -> Tensor:
        """Return `(images, c, h, w)` in [0, 1], differentiable."""


@dataclass(frozen=True)
class FourierCanvas:
    """Images as spectra of independent colours; magnitudes and phases are free.

    Parameters
    ----------
    channels, size
        Of the images.
    decay
        Exponent of the frequency by which parameters are divided.
    """

    channels: int
    size: Size
    decay: float = 1.0

    def start(self, seed: int, images: int) -> Tensor:
        """Return `(images, c, h, w // 2 + 1, 2)`: real and imaginary parts, normal, of deviation 0.01."""
        shape = (self.channels, self.size[0], self.size[1] // 2 + 1, 2)
        drawn = normal(key(seed, "spectrum"), torch.arange(images), torch.Size(shape).numel())
        return _FIRST * drawn.reshape(images, *shape)

    def pixels(self, parameters: Tensor) -> Tensor:
        """See `Canvas.pixels`."""
        scale = natural_scale(self.size, self.decay).to(parameters)
        spectrum = torch.view_as_complex(parameters.contiguous()) * scale
        return from_independent(image_of(spectrum, self.size) / _FLAT)


@dataclass(frozen=True, eq=False)
class PhaseCanvas:
    """Images as phases; the magnitudes are those given.

    Parameters
    ----------
    magnitudes
        `(c, h, w // 2 + 1)` float32, not negative but for the frequency 0, which is a signed sum.
    size
        Of the images.
    """

    magnitudes: Tensor
    size: Size

    def start(self, seed: int, images: int) -> Tensor:
        """Return `(images, c, h, w // 2 + 1)` phases in radians, uniform."""
        drawn = uniform(key(seed, "phases"), torch.arange(images), self.magnitudes.numel())
        return pi * (2 * drawn - 1).reshape(images, *self.magnitudes.shape)

    def colours(self, parameters: Tensor) -> Tensor:
        """Return `(images, c, h, w)` independent colours, whose spectrum has exactly the magnitudes."""
        phases = possible_phases(parameters, self.size[1])
        spectrum = torch.polar(torch.ones_like(phases), phases) * self.magnitudes.to(parameters)
        return image_of(spectrum, self.size)

    def pixels(self, parameters: Tensor) -> Tensor:
        """See `Canvas.pixels`."""
        return from_independent(self.colours(parameters))
