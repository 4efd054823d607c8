"""Gradient (saliency maps).

The gradient of the score with respect to a pixel says how fast the score would change with it: what the model
is sensitive to, which need not be what it has used.

Formula
    max over channels of |df/dx|; with `channels` the Euclidean norm over channels, or their signed sum.
Needs
    gradients.
Cost
    one forward and one backward pass; one more forward for the prediction.
Paper
    Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks, 2013, https://arxiv.org/abs/1312.6034.
Departures
    none in the default; "l2" and "sum" are common variants.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Need, Paper
from seewhy.methods.gradient.slopes import Reduction, input_slopes, reduced, require_reduction
from seewhy.question import Question
from seewhy.types import Size


@METHODS.register
@dataclass(frozen=True)
class Gradient(Method):
    """Gradient of the score with respect to the pixels.

    Parameters
    ----------
    channels
        How channels become one value: "max_abs" (the paper's), "l2" or "sum" (signed).
    """

    name: ClassVar[str] = "gradient"
    title: ClassVar[str] = "Gradient"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    paper: ClassVar[Paper] = Paper(
        "Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency Maps",
        "Simonyan, Vedaldi, Zisserman",
        2013,
        "https://arxiv.org/abs/1312.6034",
    )

    channels: Reduction = "max_abs"

    def __post_init__(self) -> None:
        require_reduction(self.channels)

    @property
    def signed(self) -> bool:
        """True where channels are summed."""
        return self.channels == "sum"

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(2, 1)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        yield Estimate(reduced(input_slopes(question, self.title), self.channels))
