"""Similarity: how much of the map's mass and of the gaze's lies at the same places.

Both are brought to [0, 1] and to a sum of 1, like histograms; the score is what they share. 1 for equal
ones, 0 where they never overlap. What the map misses costs most.

Formula
    sum over the pixels of min(S, Q), each first scaled to [0, 1] by its minimum and maximum, then to sum 1
Needs
    maps at input resolution and the truth, floating-point densities a sample.
Cost
    No pass of the model.
Paper
    Bylinskii, Judd, Oliva, Torralba, Durand: What Do Different Evaluation Metrics Tell Us About Saliency
    Models?, TPAMI 2019, https://arxiv.org/abs/1604.03605
Departures
    Scaling by the minimum is the authors' (so that a level everywhere earns nothing); of a signed map, the
    strongest evidence against the target becomes 0 and no evidence something above. Computed at the input's
    resolution. NaN, left out of means, where the map is not finite, or the map or the density is constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import Cost, Paper
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.gaze.correlation import either
from seewhy.metrics.gaze.nss import SURVEY, varied
from seewhy.metrics.truth import truth_of
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class Similarity(Metric):
    """Mass that the map and the density of fixations share; higher is better."""

    name: ClassVar[str] = "similarity"
    title: ClassVar[str] = "Similarity to gaze"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"density"})
    paper: ClassVar[Paper] = SURVEY

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        density, even = varied(truth_of(question, maps, self).flatten(1))
        flat, undefined = varied(maps.to(question.x.device).flatten(1))
        shared = torch.minimum(_histogram(flat), _histogram(density)).sum(1).clamp(max=1)
        return Scored(shared.float(), notes={"undefined": either(undefined, even)})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(0)


def _histogram(flat: Tensor) -> Tensor:
    """Return `(n, pixels)` rows from minimum 0, at sum 1."""
    raised = flat - flat.amin(1, keepdim=True)
    raised = raised / raised.amax(1, keepdim=True)
    histogram: Tensor = raised / raised.sum(1, keepdim=True)
    return histogram
