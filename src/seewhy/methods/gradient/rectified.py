"""What guided backpropagation and deconvnet share: a gradient that passes ReLUs by another rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import Cost, Estimate, Method, Need
from seewhy.methods.gradient.rectifiers import Rule, rectified_slopes, unfit_activations
from seewhy.methods.gradient.slopes import Reduction, reduced, require_reduction
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Size


@dataclass(frozen=True)
class RectifiedGradient(Method):
    """A gradient at the pixels with the ReLU rule `rule`; abstract.

    Parameters
    ----------
    channels
        How channels become one value: "max_abs", "l2" or "sum" (signed).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    rule: ClassVar[Rule]
    """See `seewhy.methods.gradient.rectifiers`."""

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

    def unfit(self, model: Model) -> str:
        """See `Method.unfit`."""
        return super().unfit(model) or unfit_activations(model.module)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        yield Estimate(reduced(rectified_slopes(question, self.rule, self.title), self.channels))
