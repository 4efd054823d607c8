"""Blur Integrated Gradients.

Integrated Gradients along another path: from a heavily blurred input to the sharp one. No colour has to stand
for "nothing", and what is handed out at each step is the detail that comes into focus there. The map sums to
the score of the input minus the score of the blurred input; the gap is kept as `completeness_error`.

Formula
    sum over steps of (g_i + g_i+1) / 2 * (L_i+1 - L_i), summed over channels; L_i is the input blurred by a
    Gaussian of deviation s_i, g_i the gradient there, s_i falls evenly from `max_sigma` to 0.
Needs
    gradients.
Cost
    `steps` + 1 forward and backward passes; two more forward for the scores of both ends.
Paper
    Xu, Venugopalan, Sundararajan: Attribution in Scale and Space, 2020, https://arxiv.org/abs/2004.03383.
Departures
    steps between blurred inputs take the place of derivatives with respect to the deviation, with gradients
    averaged over both ends of a step: for a linear model the map is exact. The Gaussian is not cut off;
    beyond the edges there is 0, the mean colour. Blurred images therefore fade towards
    the edges, and dark or bright corners get a share of the map. Clips are blurred frame by frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.batching import add_at
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Need, Paper, channel_sum, require
from seewhy.methods.gradient.completeness import completeness, start_scores
from seewhy.methods.gradient.slopes import slopes
from seewhy.perturb.differentiation import differentiated
from seewhy.question import Question
from seewhy.types import Batch, Rows, Size


@METHODS.register
@dataclass(frozen=True)
class BlurIG(Method):
    """Gradients integrated from a blurred input to the sharp one.

    Parameters
    ----------
    steps
        Steps from blurred to sharp, at least 1.
    max_sigma
        Deviation of the heaviest blur, in pixels, above 0.
    """

    name: ClassVar[str] = "blur_ig"
    title: ClassVar[str] = "Blur Integrated Gradients"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    paper: ClassVar[Paper] = Paper(
        "Attribution in Scale and Space",
        "Xu, Venugopalan, Sundararajan",
        2020,
        "https://arxiv.org/abs/2004.03383",
    )

    steps: int = 100
    max_sigma: float = 50.0

    def __post_init__(self) -> None:
        require(self.steps >= 1, "Asked for a number of steps", self.steps, "Give at least 1")
        require(self.max_sigma > 0, "Asked for the heaviest blur", self.max_sigma, "Give more than 0 pixels")

    @property
    def signed(self) -> bool:
        """Negative values lowered the score."""
        return True

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(self.steps + 3, self.steps + 1)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        x = question.x
        rows, columns = (self._profiles(length).to(x) for length in x.shape[-2:])

        def blurred(of: Rows, step: Tensor) -> Batch:
            return torch.einsum("kij,kc...jl,kml->kc...im", rows[step], x[of], columns[step])

        total = torch.zeros_like(x, dtype=torch.float32)
        quick = differentiated(question, self.steps + 1, blurred)
        for s in slopes(quick, self.steps + 1, blurred, self.title):
            # Each gradient serves the step before it and the step behind it, by half.
            ahead = blurred(s.rows, (s.which + 1).clamp_max(self.steps))
            behind = blurred(s.rows, (s.which - 1).clamp_min(0))
            add_at(total, s.rows, s.values * (ahead - behind).float() / 2)
        start = start_scores(quick, blurred(question.rows, torch.zeros_like(question.rows)), self.title)
        maps = channel_sum(total)
        yield Estimate(maps, reliability=completeness(question, maps, start))

    def _profiles(self, length: int) -> Tensor:
        """Return `(steps + 1, length, length)` float64 matrices that blur along one axis, heaviest first."""
        sigma = self.max_sigma * (1 - torch.arange(self.steps + 1, dtype=torch.float64) / self.steps)
        reach = ceil(10 * self.max_sigma) + length
        steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
        tiny = torch.finfo(torch.float64).tiny  # at 0 the Gaussian becomes one pixel
        bells = torch.exp(-(steps**2) / (2 * sigma[:, None] ** 2).clamp_min(tiny))
        bells /= bells.sum(1, keepdim=True)
        at = torch.arange(length)
        return bells[:, reach + at[:, None] - at]
