"""Input x gradient.

The gradient says how fast the score changes with a pixel; times the pixel's value it is, to first order, what
the pixel contributes compared with a pixel of the mean colour (0 in the model's normalised space).

Formula
    sum over channels of x * df/dx.
Needs
    gradients.
Cost
    one forward and one backward pass; one more forward for the prediction.
Paper
    Shrikumar, Greenside, Shcherbina, Kundaje: Not Just a Black Box, 2016, https://arxiv.org/abs/1605.01713.
Departures
    none in the formula. x is the normalised input, so that pixels of the mean colour get 0 whatever their
    gradient; "max_abs" and "l2" reduce the channels without a sign.
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
class InputXGradient(Method):
    """The (normalised) input times its gradient.

    Parameters
    ----------
    channels
        How channels become one value: "sum" (signed), "max_abs" or "l2".
    """

    name: ClassVar[str] = "input_x_gradient"
    title: ClassVar[str] = "Input x gradient"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    paper: ClassVar[Paper] = Paper(
        "Not Just a Black Box: Learning Important Features Through Propagating Activation Differences",
        "Shrikumar, Greenside, Shcherbina, Kundaje",
        2016,
        "https://arxiv.org/abs/1605.01713",
    )

    channels: Reduction = "sum"

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
        product = input_slopes(question, self.title) * question.x.float()
        yield Estimate(reduced(product, self.channels))
