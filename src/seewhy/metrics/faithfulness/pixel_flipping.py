"""Pixel flipping: how much the score falls on average while the highest patches of the map are flipped.

The input is covered by square patches; those on which the map sums to most are replaced first, a few at a
time. The area over the curve (AOPC) is large where the map found the evidence. With patches of one pixel and
as many a step as deletion takes, the curve is deletion's, and the value is the clean score minus its mean;
larger patches tear fewer edges into the picture, and stopping early looks only at what the map ranks highest.

Formula
    1 / (L + 1) sum over k = 0 .. L of f(x) - f(x_k); x_k has its first k `units` patches replaced,
    L = `steps` or as many as there are patches. Patches are `patch` pixels an axis, ranked by
    the sum of the map in them; the published setting is 9 x 9, one a step, 100 steps.
Needs
    maps at input resolution, a forward pass.
Cost
    `steps` + 1 forward passes (fewer where the patches do not suffice).
Paper
    Samek, Binder, Montavon, Bach, Mueller: Evaluating the visualization of what a deep neural network has
    learned, 2015, https://arxiv.org/abs/1509.06321; single pixels: Bach et al.: On pixel-wise
    explanations for non-linear classifier decisions by layer-wise relevance propagation, 2015,
    https://doi.org/10.1371/journal.pone.0130140
Departures
    Flipped patches become the mean colour (`operator`), not random colours. The patches lie on one regular
    grid from the first corner, cut off at the far edges. The score is a probability by default. Equal sums
    keep their row-major order; a constant map (or one whose patches all sum to the same) and one that is not
    finite have no order and no value. Clips are flipped in cubes (ours).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, Scored
from seewhy.metrics.faithfulness.usable import usable
from seewhy.perturb.edits import Edits, Fill, Jobs, chosen, compose
from seewhy.perturb.operators import operator
from seewhy.perturb.patches import on_pixels, patch_count, patch_sums
from seewhy.perturb.ranks import ranks, tied
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class PixelFlipping(Metric):
    """Mean fall of the score while the highest patches are flipped; higher is better.

    Parameters
    ----------
    patch
        Side of a patch in pixels; 1 flips pixels.
    units
        Patches a step.
    steps
        At most so many steps.
    operator
        What flipped patches become, as in `seewhy.perturb.operators`.
    """

    name: ClassVar[str] = "pixel_flipping"
    title: ClassVar[str] = "Pixel flipping"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    summary: ClassVar[str] = "area over the curve"
    paper: ClassVar[Paper] = Paper(
        "Evaluating the visualization of what a deep neural network has learned",
        "Samek, Binder, Montavon, Bach, Mueller",
        2015,
        "https://arxiv.org/abs/1509.06321",
    )

    patch: int = 9
    units: int = 1
    steps: int = 100
    operator: str = "mean"

    def __post_init__(self) -> None:
        for what, value in (("patches of some side", self.patch), ("patches a step", self.units)):
            require(value >= 1, f"Asked for {what}", value, "Give at least 1")
        require(self.steps >= 1, "Asked for steps of pixel flipping", self.steps, "Give at least 1")
        operator(self.operator)

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        known = usable(question, maps)
        sums = patch_sums(known.maps, self.patch)
        flat = sums.flatten(1)
        known = replace(known, constant=known.constant | (flat.amax(1) == flat.amin(1)))
        size = tuple(maps.shape[1:])
        fill = operator(self.operator).behind(question)
        edits = _Flips(ranks(sums), self.patch, self.units, self._steps(size), fill)
        scorer = Scorer(question, "pixel flipping")
        scores = scorer.table(edits)
        whole = scores.double()
        values = known.defined((whole[:, :1] - whole).mean(1))
        places = patch_count(size, self.patch)
        at = (torch.arange(edits.count) * self.units).clamp(max=places).float() / places
        notes = {"tied": tied(sums).tolist(), "undefined": known.why, **scorer.notes()}
        return Scored(values, scores, at.to(scores.device), notes)

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(self._steps(size) + 1)

    def _steps(self, size: Size) -> int:
        return min(self.steps, -(-patch_count(size, self.patch) // self.units))


class _Flips(Edits):
    """Edit `j` fills the first `j * units` patches of `(n, *grid)` ranks."""

    def __init__(self, order: Tensor, side: int, units: int, steps: int, fill: Fill) -> None:
        self.order, self.side, self.units, self.steps, self.fill = order, side, units, steps, fill

    @property
    def count(self) -> int:
        """The steps and the input before them."""
        return self.steps + 1

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        """See `Edits.apply`."""
        edge = (jobs.which * self.units).reshape(-1, *[1] * (x.ndim - 2))
        keep = on_pixels(self.order[jobs.rows] >= edge, tuple(x.shape[2:]), self.side)
        return compose(chosen(x, jobs.rows), keep[:, None].to(x), self.fill, jobs.rows)
