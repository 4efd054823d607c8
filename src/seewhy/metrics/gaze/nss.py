"""Normalised scanpath saliency: how far above its mean the map is where people looked.

The map is brought to mean 0 and deviation 1; the score is its mean at the fixated pixels. 1 says that
people looked where the map is one deviation above its mean, 0 that they looked as if by chance, below 0
that they avoided its peaks. The mean of a random map is 0; people look at the middle of pictures, so the
centre baseline is well above.

Formula
    mean over the fixated pixels of (S - mean S) / std S, the deviation with n - 1
Needs
    maps at input resolution and the truth, boolean fixations a sample.
Cost
    No pass of the model.
Paper
    Bylinskii, Judd, Oliva, Torralba, Durand: What Do Different Evaluation Metrics Tell Us About Saliency
    Models?, TPAMI 2019, https://arxiv.org/abs/1604.03605; the measure is by Peters et al., 2005.
Departures
    Computed at the input's resolution, where usual code brings the map to the photo's. A pixel that was
    looked at twice counts once, as in usual code. A map that is constant or not finite has no deviations:
    NaN, left out of means, and `notes` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from seewhy.methods.base import Cost, Paper
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.truth import finite, truth_of
from seewhy.question import Question
from seewhy.types import Maps, Size

SURVEY = Paper(
    "What Do Different Evaluation Metrics Tell Us About Saliency Models?",
    "Bylinskii, Judd, Oliva, Torralba, Durand",
    2019,
    "https://arxiv.org/abs/1604.03605",
)
"""Which defines and compares all measures of this family."""


@METRICS.register
@dataclass(frozen=True)
class NSS(Metric):
    """Height of the map where people looked, in deviations above its mean; higher is better."""

    name: ClassVar[str] = "nss"
    title: ClassVar[str] = "Normalised scanpath saliency"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"fixations"})
    paper: ClassVar[Paper] = SURVEY

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        fixated = truth_of(question, maps, self).flatten(1)
        flat, undefined = varied(maps.to(question.x.device).flatten(1))
        heights = (flat - flat.mean(1, keepdim=True)) / flat.std(1, keepdim=True)
        return Scored(((heights * fixated).sum(1) / fixated.sum(1)).float(), notes={"undefined": undefined})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(0)


def varied(flat: Tensor) -> tuple[Tensor, list[str | None]]:
    """Return `(n, pixels)` rows as float64 scaled to magnitudes up to 1, and why some are undefined.

    Those become NaN: rows that are not finite, or constant.
    """
    flat = flat.double()
    sound, constant = finite(flat), flat.amin(1) == flat.amax(1)
    # The scale does not matter; taking it out first keeps squares of tiny and huge values in range.
    flat = (flat / flat.abs().amax(1, keepdim=True)).where((sound & ~constant)[:, None], float("nan"))
    return flat, [
        "not finite" if not s else "constant" if c else None
        for s, c in zip(sound.tolist(), constant.tolist(), strict=True)
    ]
