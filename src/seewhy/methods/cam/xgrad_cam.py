"""XGrad-CAM.

Grad-CAM with another mean: the gradient of a channel is averaged with the channel's own activation as
weight, so that it counts where the channel answers. Then the map adds up to the sum of gradient times
activation, which approximates the score (the paper's axiom of conservation).

Formula
    w_k = sum over cells of df/dA_k * |A_k| / sum over cells of |A_k|, 0 for a channel without activation;
    map = relu(sum over k of w_k A_k) on the layer's grid, resized bilinearly.
Needs
    gradients, and a layer with a grid (`seewhy layers` lists those that fit and marks the default).
Cost
    one forward pass, and one backward pass from the score to the layer.
Paper
    Fu et al.: Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs, BMVC 2020,
    https://arxiv.org/abs/2008.02312.
Departures
    the paper writes A_k for |A_k|. On layers behind a ReLU that is the same; where a channel takes both
    signs, its sum may be next to zero and the paper's weight without bound, while a mean stays within the
    gradients it is made from. There conservation no longer holds. The map is not scaled. `relu=False` keeps
    evidence against the class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper
from seewhy.methods.cam.layer_maps import LayerMaps, chosen_layer, weighted
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Maps, Size


@METHODS.register
@dataclass(frozen=True)
class XGradCAM(Method):
    """Channels of a layer weighted by their gradient where they are active.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default, which is kept in the provenance.
    relu
        Keep only evidence for the target, as the paper does.
    """

    name: ClassVar[str] = "xgrad_cam"
    title: ClassVar[str] = "XGrad-CAM"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "layer"})
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs",
        "Fu, Hu, Dong, Guo, Gao, Li",
        2020,
        "https://arxiv.org/abs/2008.02312",
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
    """Return XGrad-CAM's map before its ReLU."""
    size, slopes = activation.abs().flatten(2), slope.flatten(2)
    total = size.sum(2)
    mean = (slopes * size).sum(2) / total.where(total > 0, torch.ones_like(total))
    return weighted(mean, activation)
