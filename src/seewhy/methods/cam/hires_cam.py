"""HiResCAM.

Grad-CAM averages the gradient of a channel over the cells, so that evidence found in one place is shown in
another where the channel is active, too. HiResCAM leaves the average out: each cell of each channel is
weighted by its own gradient. Where only linear layers follow, the map adds up to the score less its
constant part.

Formula
    map = relu(sum over k of df/dA_k * A_k), cell by cell on the layer's grid, resized bilinearly.
Needs
    gradients, and a layer with a grid (`seewhy layers` lists those that fit and marks the default). In a
    transformer this has to be the output of a norm, as the default is: what follows a layer norm does not
    see the length of a token, and so gradient times activation of the tokens before it is zero.
Cost
    one forward pass, and one backward pass from the score to the layer.
Paper
    Draelos, Carin: Use HiResCAM instead of Grad-CAM for Faithful Explanations of Convolutional Neural
    Networks, 2020, https://arxiv.org/abs/2011.08891.
Departures
    none in the formula. The map is not scaled. Class, register and distillation tokens take no part.
    `relu=False` keeps evidence against the class. Behind global average pooling and one linear layer it is
    Grad-CAM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper
from seewhy.methods.cam.layer_maps import LayerMaps, chosen_layer
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Maps, Size


@METHODS.register
@dataclass(frozen=True)
class HiResCAM(Method):
    """Gradient times activation of a layer, summed over channels.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default, which is kept in the provenance.
    relu
        Keep only evidence for the target, as the paper does.
    """

    name: ClassVar[str] = "hires_cam"
    title: ClassVar[str] = "HiResCAM"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "layer"})
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "Use HiResCAM instead of Grad-CAM for Faithful Explanations of Convolutional Neural Networks",
        "Draelos, Carin",
        2020,
        "https://arxiv.org/abs/2011.08891",
    )

    layer: str | None = None
    relu: bool = True

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
        maps = tap.maps(cam, self.title)
        yield Estimate(maps.relu() if self.relu else maps, notes=tap.notes)


def cam(activation: Tensor, slope: Tensor) -> Maps:
    """Return HiResCAM's map before its ReLU."""
    return (slope * activation).sum(1)
