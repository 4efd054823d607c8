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

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from seewhy.methods.base import METHODS, Paper
from seewhy.methods.cam.gradient_cam import GradientCAM
from seewhy.methods.cam.layer_maps import weighted
from seewhy.types import Maps


@METHODS.register
@dataclass(frozen=True)
class GradCAMPlusPlus(GradientCAM):
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
    paper: ClassVar[Paper] = Paper(
        "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks",
        "Chattopadhyay, Sarkar, Howlader, Balasubramanian",
        2018,
        "https://arxiv.org/abs/1710.11063",
    )

    @staticmethod
    def combine(activation: Tensor, slope: Tensor) -> Maps:
        """See `GradientCAM.combine`."""
        total = activation.relu().flatten(2).sum(2)
        positive = slope.relu().flatten(2)
        weights = (positive / (2 + positive * total[..., None])).sum(2)
        return weighted(weights, activation)
