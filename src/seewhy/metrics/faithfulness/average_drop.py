"""Average drop: how much of the class's probability is lost when the input is seen through its map.

The map is laid over the input as a soft mask: bright places stay, dark ones fade to the mean colour. A map
that covers the evidence loses little. A map that covers everything loses nothing at all, so the number is
worth something only beside `increase_in_confidence`, the baselines or `adcc`, which counts the area.

Formula
    100 max(0, Y - O) / Y, averaged over samples by the table; Y = p(x), O = p(x S), S the map scaled to
    0 .. 1 by its lowest and highest value. `keep=100` takes all of S; below, the `keep` per cent highest
    pixels keep their value of S and the others become 0 (the published tables have 100, 50 and 15).
Needs
    maps at input resolution, a forward pass.
Cost
    2 forward passes: the input and the masked input, in one queue.
Paper
    Chattopadhay, Sarkar, Howlader, Balasubramanian: Grad-CAM++, WACV 2018, https://arxiv.org/abs/1710.11063
Departures
    What is masked becomes the mean colour, 0 in the model's own space (`constant:0` is the black of a product
    with the raw photo). The class is the explained one. The share of pixels is rounded, halves up, at least
    one; of equal values the first in row-major order stays. Signed maps are scaled like any other, so that
    their most negative value is hidden altogether. A constant map has no range: its value is NaN; so is that
    of a sample whose own score is not above 0, which only targets other than probabilities can have. One more
    pass scores the input itself beside the masked one, so that both come from the same arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import Cost, Paper
from seewhy.metrics.base import METRICS, Metric, Scored
from seewhy.metrics.faithfulness.soft_mask import behind_masks, drop, reasons, require_share, soft_mask
from seewhy.metrics.faithfulness.usable import usable
from seewhy.perturb.operators import operator
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class AverageDrop(Metric):
    """Loss of the class's probability behind the map, in per cent; lower is better.

    Parameters
    ----------
    keep
        Per cent of the pixels, the highest ones, that are seen at all; above 0, at most 100.
    operator
        What is masked becomes, as in `seewhy.perturb.operators`.
    """

    name: ClassVar[str] = "average_drop"
    title: ClassVar[str] = "Average drop"
    higher_is_better: ClassVar[bool] = False
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
            question, soft_mask(known, self.keep), self.operator, "average drop"
        )
        values = known.defined(100 * drop(whole, masked))
        return Scored(values, notes={"undefined": reasons(known, whole), **notes})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(2)
