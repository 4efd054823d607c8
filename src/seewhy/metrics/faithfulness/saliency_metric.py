"""Saliency metric: how sure the model is of the tightest box around the map's bright part, for its size.

The part of the input that the map marks is cut out as a box, enlarged to the full size and shown to the model
instead of the input. A small box that the model recognises as well as the whole has a low value. Unlike
deletion and insertion it shows pictures as cameras make them. A map with one bright pixel at the rim gets a
large box; several objects do, too.

Formula
    log(max(a, 0.05)) - log p; a the area of the smallest box that holds every pixel where the map, scaled
    to 0 .. 1, is at least `threshold`, as a share of the input; p the probability of the class on that box.
    The whole input has -log p; no value is below log 0.05 = -2.996.
Needs
    maps at input resolution, a forward pass.
Cost
    1 forward pass.
Paper
    Dabkowski, Gal: Real time image saliency for black box classifiers, NIPS 2017,
    https://arxiv.org/abs/1705.07857
Departures
    The paper chooses thresholds on other photos; here one is a parameter: measure several and choose on
    photos of your own. The box is enlarged bilinearly, to the input's proportions whatever its own. Boxes of
    clips reach over frames, too (ours). A constant map and one that is not finite have no box and no value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, Scored
from seewhy.metrics.faithfulness.usable import usable
from seewhy.perturb.crops import CropEdits
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question
from seewhy.types import Maps, ScoreKind, Size

_LEAST_AREA = 0.05


@METRICS.register
@dataclass(frozen=True)
class SaliencyMetric(Metric):
    """Logarithm of the box's area over the probability of the class on it; lower is better.

    Parameters
    ----------
    threshold
        Part of the map's range from which on a pixel is in the box, 0 to 1.
    """

    name: ClassVar[str] = "saliency_metric"
    title: ClassVar[str] = "Saliency metric"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (math.log(_LEAST_AREA), float("inf"))
    prefers: ClassVar[ScoreKind] = "log_probability"
    paper: ClassVar[Paper] = Paper(
        "Real Time Image Saliency for Black Box Classifiers",
        "Dabkowski, Gal",
        2017,
        "https://arxiv.org/abs/1705.07857",
    )

    threshold: float = 0.5

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 1, "Asked for a threshold of the map", self.threshold, "Give 0 to 1")

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        known = usable(question, maps)
        boxes = [box_around(unit >= self.threshold) for unit in known.unit()]
        scorer = Scorer(question, "saliency metric")
        scores = scorer.table(CropEdits(boxes))[:, 0].double()
        places = known.maps[0].numel()
        areas = [math.prod(s.stop - s.start for s in box) / places for box in boxes]
        penalty = torch.tensor(areas, dtype=torch.float64).clamp_min(_LEAST_AREA).log().to(scores)
        notes = {
            "undefined": known.why,
            "area": areas,
            "box": [[[s.start, s.stop] for s in box] for box in boxes],
            "score on the box": scores.tolist(),
            **scorer.notes(),
        }
        return Scored(known.defined(penalty - scores), notes=notes)

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(1)


def box_around(inside: Tensor) -> tuple[slice, ...]:
    """Return the smallest box around the True pixels of `(*size,)`, a slice an axis; all without any."""
    if not bool(inside.any()):
        return tuple(slice(0, length) for length in inside.shape)
    places = inside.nonzero()
    first, last = places.amin(0).tolist(), places.amax(0).tolist()
    return tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))
