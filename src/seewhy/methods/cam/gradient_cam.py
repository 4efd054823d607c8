"""What gradient-weighted class activation maps share: one forward pass, one backward pass to a layer.

The maps differ only in how activation and gradient become a map; each method says that in `combine`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from seewhy.methods.base import Cost, Estimate, Method, Native, Need
from seewhy.methods.cam.layer_maps import LayerMaps, chosen_layer
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Maps, Size


@dataclass(frozen=True)
class GradientCAM(Method):
    """A map from one layer's activation and gradient; abstract.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default, which is kept in the provenance.
    relu
        Keep only evidence for the target, as the papers do.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "layer"})
    native: ClassVar[Native] = "layer grid"
    reads_only: ClassVar[bool] = True

    layer: str | None = None
    relu: bool = True

    @staticmethod
    @abstractmethod
    def combine(activation: Tensor, slope: Tensor) -> Maps:
        """Return the `(n, *cells)` map before its ReLU, from `(n, channels, *cells)` activation and slope."""

    @property
    def signed(self) -> bool:
        """True without the final ReLU."""
        return not self.relu

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(1, 1)

    def layers(self, model: Model, input_shape: Size) -> tuple[str, ...]:
        """See `Method.layers`."""
        return chosen_layer(self.layer, model, input_shape)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        tap = LayerMaps.of(question, self.layer)
        maps = tap.maps(self.combine, self.title)
        yield Estimate(maps.relu() if self.relu else maps, notes=tap.notes)
