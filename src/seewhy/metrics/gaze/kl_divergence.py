"""Kullback-Leibler divergence: what is lost when the map stands for the gaze.

Map and density of fixations are taken as distributions over the pixels. 0 for equal ones; a place that
people looked at and the map gives nothing costs most, so sparse maps score badly even where they are right.

Formula
    sum over the pixels of Q log(e + Q / (S + e)), in nats, with S and Q scaled to sum 1, e = 2.2204e-16
Needs
    maps at input resolution and the truth, floating-point densities a sample.
Cost
    No pass of the model.
Paper
    Bylinskii, Judd, Oliva, Torralba, Durand: What Do Different Evaluation Metrics Tell Us About Saliency
    Models?, TPAMI 2019, https://arxiv.org/abs/1604.03605
Departures
    e is that of the authors' code and caps the score near 36; other code takes another, so numbers of maps
    with zeros compare only under the same. Maps without negative values are assumed there; here negative
    values count as none. A map without a positive value scores like the constant map, and `notes` says so.
    Computed at the input's resolution. What e takes below 0 (some 1e-11) is 0. A map that is not finite is
    NaN, left out of means.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

from seewhy.methods.base import Cost, Paper
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.gaze.nss import SURVEY
from seewhy.metrics.localisation.energy_pointing_game import rectified, scaled
from seewhy.metrics.truth import truth_of
from seewhy.question import Question
from seewhy.types import Maps, Size

EPSILON = 2.0**-52
"""Of double precision, as in the authors' code."""


@METRICS.register
@dataclass(frozen=True)
class KLDivergence(Metric):
    """Divergence of the map from the density of fixations, in nats; lower is better."""

    name: ClassVar[str] = "kl_divergence"
    title: ClassVar[str] = "Kullback-Leibler divergence from gaze"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, log(EPSILON + 1 / EPSILON))
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"density"})
    paper: ClassVar[Paper] = SURVEY

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        gaze, _, _ = scaled(truth_of(question, maps, self).flatten(1))
        weight, sound, silent = scaled(rectified(maps.to(question.x.device).flatten(1)))
        gaze, weight = gaze / gaze.sum(1, keepdim=True), weight / weight.sum(1, keepdim=True)
        lost = (gaze * (EPSILON + gaze / (weight + EPSILON)).log()).sum(1).clamp(min=0).float()
        return Scored(
            lost.masked_fill(~sound, float("nan")),
            notes={
                "nothing_positive": silent.tolist(),
                "undefined": [None if s else "not finite" for s in sound.tolist()],
            },
        )

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(0)
