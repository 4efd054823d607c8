"""Views: what a network is shown of an image while that is optimised, moved, turned and cropped at random.

An image that must please in every view cannot live on patterns that only work at one place to the pixel.
Everything is matrices along an axis and Fourier transforms, so that the way back adds in one order on every
device: same seed, same bits.

Paper
    Turning by three shears: Unser, Thévenaz, Yaroslavsky: Convolution-Based Interpolation for Fast,
    High-Quality Rotation of Images, 1995, https://doi.org/10.1109/83.465102.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, pi

import torch
from torch import Tensor
from torch.nn.functional import pad

from seewhy.concepts.draws import key
from seewhy.perturb.counters import normal, uniform

_USUAL = 224
GREY = 0.5
"""What lies outside of an image."""


def windows(images: Tensor, centres: Tensor, sides: Tensor) -> Tensor:
    """Return windows of images, as large as the images, by linear interpolation; grey outside of them.

    Parameters
    ----------
    images
        `(n, c, h, w)` in [0, 1].
    centres
        `(n, 2)` row and column as parts of the image's sides: 0.5 is the middle.
    sides
        `(n,)`: of the window, as a part of the image's.
    """
    h, w = images.shape[2:]
    rows = _along(h, centres[:, 0], sides).to(images)
    columns = _along(w, centres[:, 1], sides).to(images)
    found = rows[:, None] @ (images - GREY) @ columns[:, None].transpose(2, 3)
    return found + GREY


def _along(length: int, centre: Tensor, side: Tensor) -> Tensor:
    """Return `(n, length, length)` weights: a row for each pixel of the window, a column for each image's."""
    place = (torch.arange(length, dtype=torch.float64) + 0.5) / length - 0.5
    at = (centre.double()[:, None] + side.double()[:, None] * place) * length - 0.5
    return (1 - (at[:, :, None] - torch.arange(length, dtype=torch.float64)).abs()).clamp_min(0)


def turned(images: Tensor, degrees: Tensor) -> Tensor:
    """Return `(n, c, h, w)` images turned counter-clockwise about their middle, each by its own angle.

    Grey comes in from outside. For small angles: above 10 degrees corners come in at the other side.
    """
    h, w = images.shape[2:]
    margin = ceil(20 * max(h, w) / _USUAL)
    inner = pad(images - GREY, (margin,) * 4)
    angle = degrees.double() * pi / 180
    across, down = torch.tan(angle / 2), -torch.sin(angle)
    inner = _sheared(inner, across)
    inner = _sheared(inner.transpose(2, 3), down).transpose(2, 3)
    inner = _sheared(inner, across)
    return inner[:, :, margin : margin + h, margin : margin + w] + GREY


def _sheared(images: Tensor, slope: Tensor) -> Tensor:
    """Return images whose rows are moved to the right, by `slope` times their distance from the middle."""
    h, w = images.shape[2:]
    down = torch.arange(h, dtype=torch.float64) - (h - 1) / 2
    turn = 2 * pi * torch.fft.rfftfreq(w, dtype=torch.float64) * (slope[:, None, None] * down[:, None])
    move = torch.polar(torch.ones_like(turn), -turn).to(images.device, torch.complex64)[:, None]
    found: Tensor = torch.fft.irfft(torch.fft.rfft(images) * move, n=w)
    return found


@dataclass(frozen=True)
class Transforms:
    """Views of the whole image: moved by up to 6 pixels of 224, scaled by up to a tenth, turned by up to 10°.

    Parameters
    ----------
    strength
        Factor of all three; 0 shows the image as it is.
    """

    strength: float = 1.0

    def __call__(self, pixels: Tensor, seed: int, step: int, steps: int, numbers: range) -> Tensor:
        """Return `(n * len(numbers), c, h, w)` views, those of one image together.

        Parameters
        ----------
        pixels
            `(n, c, h, w)` in [0, 1].
        seed, step, numbers
            Address of the random numbers, with the image's place among the `n`.
        steps
            In all.
        """
        shown = pixels.repeat_interleave(len(numbers), 0)
        if not self.strength:
            return shown
        drawn = 2 * _drawn(len(pixels), key(seed, f"transforms {step}"), numbers, 4) - 1
        move = 6 / _USUAL * self.strength * drawn[:, :2]
        shown = turned(shown, 10 * self.strength * drawn[:, 2])
        return windows(shown, 0.5 + move, 1 / (1 + 0.1 * self.strength * drawn[:, 3]))


@dataclass(frozen=True)
class Crops:
    """Crops of the image that shrink as the optimisation goes on, with noise.

    Parameters
    ----------
    first, last
        Mean side at the first and the last step, as a part of the image's; it is linear in between.
    normal_noise, uniform_noise
        Standard deviation and largest size of what is added to pixels in [0, 1].
    """

    first: float = 0.5
    last: float = 0.05
    normal_noise: float = 0.08
    uniform_noise: float = 0.04

    def __call__(self, pixels: Tensor, seed: int, step: int, steps: int, numbers: range) -> Tensor:
        """As for `Transforms`; centres are normal about the middle (0.15), sides about the mean (0.05)."""
        own, n = key(seed, f"crops {step}"), len(pixels)
        mean = self.first + (self.last - self.first) * step / max(1, steps - 1)
        index = _index(n, numbers)
        drawn = normal(own, index, 3)
        side = (mean + 0.05 * drawn[:, 0]).clamp(0.05, 1)
        half = side[:, None] / 2
        centres = torch.minimum(torch.maximum(0.5 + 0.15 * drawn[:, 1:], half), 1 - half)
        shown = windows(pixels.repeat_interleave(len(numbers), 0), centres, side)
        lanes = shown[0].numel()
        at = index.to(shown.device)
        soft = normal(key(own, "soft"), at, lanes).reshape(shown.shape)
        hard = 2 * uniform(key(own, "hard"), at, lanes).reshape(shown.shape) - 1
        return shown + self.normal_noise * soft + self.uniform_noise * hard


def _index(images: int, numbers: range) -> Tensor:
    """Return addresses of views: those of an image are the same whatever other images and views there are."""
    own = torch.tensor(list(numbers))
    return (torch.arange(images)[:, None] * (1 << 20) + own).flatten()


def _drawn(images: int, seed: int, numbers: range, lanes: int) -> Tensor:
    return uniform(seed, _index(images, numbers), lanes)
