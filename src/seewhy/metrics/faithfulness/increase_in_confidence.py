"""Increase in confidence: for how many inputs the class is more probable when seen through their map.

The map is laid over the input as a soft mask, as in `average_drop`. Where that hides what spoke for other
classes and keeps what spoke for this one, the probability rises. Read both together. How far the probability
rose, the average gain, is in the notes.

Formula
    100 where O > Y, else 0, averaged over samples by the table; Y = p(x), O = p(x S), S and `keep` as in
    `average_drop`. Average gain: 100 max(0, O - Y) / (1 - Y).
Needs
    maps at input resolution, a forward pass.
Cost
    2 forward passes: the input and the masked input, in one queue.
Paper
    Chattopadhay, Sarkar, Howlader, Balasubramanian: Grad-CAM++, WACV 2018, https://arxiv.org/abs/1710.11063
Departures
    As in `average_drop`. An equal score is no increase. The gain, a later addition of others, is kept for
    probabilities below 1 only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import Cost, Paper
from seewhy.metrics.base import METRICS, Metric, Scored
from seewhy.metrics.faithfulness.soft_mask import behind_masks, require_share, soft_mask
from seewhy.metrics.faithfulness.usable import usable
from seewhy.perturb.operators import operator
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class IncreaseInConfidence(Metric):
    """Share of inputs whose class is more probable behind the map, in per cent; higher is better.

    Parameters
    ----------
    keep
        Per cent of the pixels, the highest ones, that are seen at all; above 0, at most 100.
    operator
        What is masked becomes, as in `seewhy.perturb.operators`.
    """

    name: ClassVar[str] = "increase_in_confidence"
    title: ClassVar[str] = "Increase in confidence"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 100.0)
    paper: ClassVar[Paper] = Paper(
        "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks",
        "Chattopadhay, Sarkar, Howlader, Balasubramanian",
        2018,
        "https://arxiv.org/abs/1710.11063",
    )

    keep: float = 100.0
    operator: str = "mean"

    def __post_init__(self) -> None:
        require_share(self.keep)
        operator(self.operator)

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        known = usable(question, maps)
        whole, masked, notes = behind_masks(
            question, soft_mask(known, self.keep), self.operator, "increase in confidence"
        )
        values = known.defined(100.0 * (masked > whole))
        facts = zip(known.why, whole.tolist(), masked.tolist(), strict=True)
        gains = [_gain(y, o) if why is None else None for why, y, o in facts]
        return Scored(values, notes={"undefined": known.why, "average gain": gains, **notes})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(2)


def _gain(whole: float, masked: float) -> float | None:
    """Return the gain in per cent; None where the scores are no probabilities, or there is none to gain."""
    if not 0 <= whole < 1 or not 0 <= masked <= 1 or math.isnan(whole):
        return None
    return 100 * max(0.0, masked - whole) / (1 - whole)
