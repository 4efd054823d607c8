"""Grad-CAM.

The channels of a late layer respond to parts of objects, each at its place. Weighing every channel by the
mean gradient of the score with respect to it, and adding the weighted channels up, shows the places that
speak for the class.

Formula
    w_k = mean over cells of df/dA_k;  map = relu(sum over k of w_k A_k) on the layer's grid, resized
    bilinearly.
Needs
    gradients, and a layer with a grid: the last stage of a CNN, or the tokens that the last attention still
    reads in a vision transformer (`seewhy layers` lists those that fit and marks the default).
Cost
    one forward pass, and one backward pass from the score to the layer.
Paper
    Selvaraju et al.: Grad-CAM, 2017, https://arxiv.org/abs/1610.02391.
Departures
    none in the formula. The map is neither min-max scaled nor clipped: maps of unsure answers stay small.
    Class, register and distillation tokens take no part. `relu=False` keeps evidence against the class.
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
class GradCAM(GradientCAM):
    """Channels of a layer weighted by their mean gradient.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default, which is kept in the provenance.
    relu
        Keep only evidence for the target, as the paper does.
    """

    name: ClassVar[str] = "grad_cam"
    title: ClassVar[str] = "Grad-CAM"
    paper: ClassVar[Paper] = Paper(
        "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
        "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra",
        2017,
        "https://arxiv.org/abs/1610.02391",
    )

    @staticmethod
    def combine(activation: Tensor, slope: Tensor) -> Maps:
        """See `GradientCAM.combine`."""
        return weighted(slope.flatten(2).mean(2), activation)
