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

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import METHODS, Paper
from seewhy.methods.cam.gradient_cam import GradientCAM
from seewhy.methods.cam.layer_maps import weighted
from seewhy.types import Maps


@METHODS.register
@dataclass(frozen=True)
class XGradCAM(GradientCAM):
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
    paper: ClassVar[Paper] = Paper(
        "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs",
        "Fu, Hu, Dong, Guo, Gao, Li",
        2020,
        "https://arxiv.org/abs/2008.02312",
    )

    @staticmethod
    def combine(activation: Tensor, slope: Tensor) -> Maps:
        """See `GradientCAM.combine`."""
        size, slopes = activation.abs().flatten(2), slope.flatten(2)
        total = size.sum(2)
        mean = (slopes * size).sum(2) / total.where(total > 0, torch.ones_like(total))
        return weighted(mean, activation)
