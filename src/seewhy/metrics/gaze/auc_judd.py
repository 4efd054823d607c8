"""AUC-Judd: how well the map tells fixated pixels from the others.

The map's values are thresholds: above each, some fixated pixels (hits) and some others (false alarms) are
found. The score is the area under the curve of hits over false alarms, 1 for a map that is higher at every
fixated pixel than anywhere else. Only the order of values counts.

Formula
    with the N fixated pixels in falling order of S, the area by the trapezoid rule under (0, 0), (false
    alarms at the i-th, i / N) for i = 1 .. N, (1, 1), where the false alarms are the share of the other
    pixels that lie above the i-th
Needs
    maps at input resolution and the truth, boolean fixations a sample.
Cost
    No pass of the model.
Paper
    Bylinskii, Judd, Oliva, Torralba, Durand: What Do Different Evaluation Metrics Tell Us About Saliency
    Models?, TPAMI 2019, https://arxiv.org/abs/1604.03605; the measure is by Judd et al., 2009.
Departures
    Usual code adds a little noise to the map to break ties; this is the mean over such noise in closed
    form, without noise. The trapezoids start at (0, 0), which favours few fixations: a constant map scores
    1/2 + 1 / (2 (N + 1)), 0.75 for a single one, as random maps do on average, and the worst map 1 / (2 N).
    Computed at the input's resolution. NaN, left out of means: a map that is not finite, or every pixel
    fixated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import Cost, Paper
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.gaze.nss import SURVEY
from seewhy.metrics.truth import finite, truth_of
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class AUCJudd(Metric):
    """Area under the curve of fixated over other pixels found above a threshold; higher is better."""

    name: ClassVar[str] = "auc_judd"
    title: ClassVar[str] = "AUC-Judd"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"fixations"})
    paper: ClassVar[Paper] = SURVEY

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        fixated = truth_of(question, maps, self).flatten(1)
        flat = maps.to(question.x.device).double().flatten(1)
        everywhere, sound = fixated.all(1), finite(flat)
        undefined = [
            "not finite" if not s else "every pixel is fixated" if e else None
            for s, e in zip(sound.tolist(), everywhere.tolist(), strict=True)
        ]
        areas = [
            torch.nan if reason else area(row[on], row[~on])
            for row, on, reason in zip(flat, fixated, undefined, strict=True)
        ]
        return Scored(torch.tensor(areas, dtype=torch.float32), notes={"undefined": undefined})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(0)


def area(fixated: Tensor, others: Tensor) -> float:
    """Return the area for the values at `(N,)` fixated and `(M,)` other pixels, its mean where some tie.

    A fixated pixel's step of the curve is a trapezoid: its false alarms count from the middle between those
    of the fixated pixel before it and its own. Added up, that is the chance that a fixated pixel is above
    another one (ties by half), and 1 / (2 N) of the false alarms at the lowest fixated pixel.
    """
    others, low = others.sort().values, fixated.min()
    below = torch.searchsorted(others, fixated)
    tied = torch.searchsorted(others, fixated, right=True) - below
    chance = (below + tied.double() / 2).mean() / len(others)
    # Of m others that tie with the f lowest fixated pixels, m f / (f + 1) lie above the lowest on average.
    lowest = (fixated == low).sum().double()
    alarms = (others > low).sum() + (others == low).sum() * lowest / (lowest + 1)
    return float(chance + alarms / len(others) / (2 * len(fixated)))
