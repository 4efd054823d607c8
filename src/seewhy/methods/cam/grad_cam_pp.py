"""Grad-CAM++.

Grad-CAM's mean gives a channel that answers in a small region a small weight, so that of several objects
the largest wins. Grad-CAM++ adds up the positive gradients of a channel, each with a coefficient that falls
with the channel's total activation.

Formula
    With g = df/dA_k in a cell and S_k = sum over cells of A_k: w_k = sum over cells of relu(g) / (2 + g
    S_k);  map = relu(sum over k of w_k A_k), resized bilinearly. This is alpha = g^2 / (2 g^2 + g^3 S_k),
    times relu(g), with g^2 cancelled.
Needs
    gradients, and a layer with a grid (`seewhy layers` lists those that fit and marks the default).
Cost
    one forward pass, and one backward pass from the score to the layer.
Paper
    Chattopadhyay et al.: Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional
    Networks, 2018, https://arxiv.org/abs/1710.11063.
Departures
    S_k adds up relu(A_k). On layers behind a ReLU that is the paper's sum; on others (tokens, say) the
    paper's denominator could cross zero and one channel would drown the map. The common factor exp(f),
    which comes from the paper's choice of exp(f) as the score, is left out. There is no epsilon, which in
    other programs changes the weights once gradients are as small as .001. The map is not scaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper
from seewhy.methods.cam.layer_maps import LayerMaps, chosen_layer, weighted
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Maps, Size


@METHODS.register
@dataclass(frozen=True)
class GradCAMPlusPlus(Method):
    """Channels of a layer weighted by their positive gradients, small regions as much as large ones.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default, which is kept in the provenance.
    relu
        Keep only evidence for the target, as the paper does.
    """

    name: ClassVar[str] = "grad_cam_pp"
    title: ClassVar[str] = "Grad-CAM++"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "layer"})
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks",
        "Chattopadhyay, Sarkar, Howlader, Balasubramanian",
        2018,
        "https://arxiv.org/abs/1710.11063",
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
    """Return Grad-CAM++'s map before its ReLU."""
    total = activation.relu().flatten(2).sum(2)
    positive = slope.relu().flatten(2)
    weights = (positive / (2 + positive * total[..., None])).sum(2)
    return weighted(weights, activation)
