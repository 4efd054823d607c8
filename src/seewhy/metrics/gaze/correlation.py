"""Linear correlation of the map with how often people looked where.

1 for a map that is the density of fixations up to scale and offset, 0 for one that has nothing to do with it,
-1 for its negative. False alarms and misses count alike.

Formula
    Pearson's correlation of S and Q over the pixels, with Q the density of fixations
Needs
    maps at input resolution and the truth, floating-point densities a sample.
Cost
    No pass of the model.
Paper
    Bylinskii, Judd, Oliva, Torralba, Durand: What Do Different Evaluation Metrics Tell Us About Saliency
    Models?, TPAMI 2019, https://arxiv.org/abs/1604.03605
Departures
    Computed at the input's resolution, where usual code brings the map to the density's. NaN, left out of
    means, where the map is not finite, or the map or the density is constant; `notes` says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.agreement import Agreement
from seewhy.methods.base import Cost, Paper
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.gaze.nss import SURVEY, varied
from seewhy.metrics.truth import truth_of
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class Correlation(Metric):
    """Linear correlation of the map with the density of fixations; higher is better."""

    name: ClassVar[str] = "correlation"
    title: ClassVar[str] = "Linear correlation with gaze"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"density"})
    paper: ClassVar[Paper] = SURVEY

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        density, even = varied(truth_of(question, maps, self).flatten(1))
        flat, undefined = varied(maps.to(question.x.device).flatten(1))
        return Scored(Agreement.of(flat, density).pearson, notes={"undefined": either(undefined, even)})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(0)


def either(of_map: list[str | None], of_density: list[str | None]) -> list[str | None]:
    """Return why a pair is undefined: by the map, else by the density."""
    return [m or (d and f"{d} density") for m, d in zip(of_map, of_density, strict=True)]
