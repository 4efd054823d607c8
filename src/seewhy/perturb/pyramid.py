"""A pyramid of blurs: the less of a pixel is kept, the more it is blurred (Fong, Patrick, Vedaldi 2019).

Level `l` of `L` is the input under a Gaussian blur of deviation `sigma * (1 - l / (L - 1))`, so the last
level is the input itself. A pixel that is kept to the degree `m` shows level `m * (L - 1)`, linearly
between two levels. With `fade` in place of the blur a level is the input times `l / (L - 1)`, and the pixel
shows `m * x`.

Paper: https://arxiv.org/abs/1910.08485. Blurs are cut off at four deviations and see 0, the mean colour,
beyond the edges. Frames of a clip are blurred one by one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.errors import BadInput
from seewhy.perturb.blurs import filtered, gaussian
from seewhy.perturb.edits import Filler
from seewhy.perturb.operators import OPERATORS, MaskOperator
from seewhy.question import Question

LEVELS = 8
"""Levels of the published pyramid."""
PERCENT = 100 * 20 / 224
"""Deviation of its lowest level in percent of the shorter side: 20 of 224 pixels."""


def blur_levels(x: Tensor, sigma: float, levels: int = LEVELS) -> Tensor:
    """Return `(levels, n, c, *size)`: `x`, `(n, c, *size)`, from the strongest blur to no blur.

    Parameters
    ----------
    x
        The inputs.
    sigma
        Deviation of the strongest blur, in pixels, more than 0.
    levels
        At least 2.
    """
    deviations = [sigma * (1 - level / (levels - 1)) for level in range(levels - 1)]
    blurred = [filtered(x, gaussian(s, max(1, math.ceil(4 * s))), "constant") for s in deviations]
    return torch.stack([*blurred, x])


def mixed(levels: Tensor, keep: Tensor, rows: Tensor) -> Tensor:
    """Return `(k, c, *size)`: each pixel at the level of its mask, differentiable in the mask.

    Parameters
    ----------
    levels
        `(levels, n, c, *size)`, from `blur_levels`.
    keep
        `(k, 1, *size)` in [0, 1].
    rows
        `(k,)`: the sample that each mask is for.
    """
    last = len(levels) - 1
    position = keep * last
    # On a level the slope is that of the interval above; at 1, of the last one.
    low = position.detach().floor().clamp(0, last - 1)
    rest = position - low
    picture = torch.zeros_like(levels[0][rows])
    for level in range(last + 1):
        weight = (low == level) * (1 - rest) + (low == level - 1) * rest
        picture = picture + weight * levels[level][rows]
    return picture


@OPERATORS.register
@dataclass(frozen=True)
class BlurPyramid(MaskOperator):
    """A blur that grows as less is kept; deviation where nothing is, in percent of the shorter side."""

    name: ClassVar[str] = "blur-pyramid"
    percent: float = PERCENT

    def __post_init__(self) -> None:
        if self.percent <= 0:
            raise BadInput(
                "Asked for a blur pyramid",
                f"Found a deviation of {self.percent:g} percent",
                "Give more than 0",
            )

    def behind(self, question: Question) -> Filler:
        """Return the filling that makes `keep * x + (1 - keep) * filling` the picture of the pyramid."""
        levels = blur_levels(question.x, self.percent / 100 * min(question.x.shape[-2:]))

        def fill(x: Tensor, keep: Tensor, rows: Tensor) -> Tensor:
            hidden = 1 - keep
            # Where all is kept the filling does not show.
            return torch.where(
                hidden > 1e-6, (mixed(levels, keep, rows) - keep * x) / hidden.clamp_min(1e-6), 0.0
            )

        return fill
