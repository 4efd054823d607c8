"""What shows where a mask hides an image: its blur, or a plain colour with noise; drawn for each image.

Numbers follow from the seed and the image's number in the run, on every device the same. All strengths are
in units of half the range of display pixels, as the published ones are, whose images run from -1 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.models.preprocessing import Preprocessing
from seewhy.perturb.blurs import filtered, gaussian
from seewhy.perturb.counters import normal, uniform
from seewhy.resize import resize
from seewhy.types import Batch, Cells, Rows

BLUR_SIGMA, BLUR_RADIUS = 11.0, 27
COLOUR = 0.33
"""Plain colours are drawn from mid-grey less this to mid-grey plus this."""
COLOUR_NOISE = 0.11
IMAGE_NOISE = 0.03
_CHUNK = 8
_LANES = (0x5EED_C010, 0x5EED_0153, 0x5EED_A17E)  # one stream each: choices, noise of images, of colours


@dataclass(frozen=True)
class Composer:
    """Images behind masks.

    Parameters
    ----------
    look
        The model's preprocessing; without one, inputs are taken to run from -1 to 1.
    seed
        Of the run.
    """

    look: Preprocessing | None
    seed: int

    def __call__(self, x: Batch, mask: Cells, numbers: Rows) -> Batch:
        """Return `m (x + noise) + (1 - m) alternative`.

        Parameters
        ----------
        x
            `(n, c, h, w)` model inputs.
        mask
            `(n, rows, columns)` in [0, 1], enlarged to the input.
        numbers
            `(n,)` addresses of the draws: the same ones draw the same.
        """
        _, half = self._levels(x)
        noisy = x + IMAGE_NOISE * half * self._noise(x, numbers, _LANES[1])
        keep = resize(mask, x.shape[2:])[:, None].to(x)
        return keep * noisy + (1 - keep) * self.alternatives(x, numbers)

    def alternatives(self, x: Batch, numbers: Rows) -> Batch:
        """Return what shows where `(n, c, h, w)` inputs are hidden: of each the blur, or a plain colour."""
        middle, half = self._levels(x)
        draws = uniform(self.seed ^ _LANES[0], numbers, 1 + x.shape[1]).to(x)
        plain = (draws[:, 0] >= 0.5).nonzero()[:, 0]
        blurred = (draws[:, 0] < 0.5).nonzero()[:, 0]
        found = torch.empty_like(x)
        if len(blurred):
            found[blurred] = filtered(x[blurred], gaussian(BLUR_SIGMA, BLUR_RADIUS), "replicate")
        if len(plain):
            colours = (2 * draws[plain, 1:, None, None] - 1) * COLOUR
            noise = COLOUR_NOISE * self._noise(x[plain], numbers[plain], _LANES[2])
            found[plain] = middle + half * (colours + noise)
        return found

    def _noise(self, x: Batch, numbers: Rows, lane: int) -> Tensor:
        parts = [normal(self.seed ^ lane, part, x[0].numel()).to(x) for part in numbers.split(_CHUNK)]
        return torch.cat(parts).reshape(x.shape)

    def _levels(self, x: Batch) -> tuple[Tensor, Tensor]:
        """Return mid-grey and half the range of pixels as model inputs, `(c, 1, 1)`."""
        if self.look is None:
            return x.new_zeros(1, 1, 1), x.new_ones(1, 1, 1)
        middle = self.look.normalised(127.5).to(x)[:, None, None]
        return middle, self.look.normalised(255).to(x)[:, None, None] - middle
