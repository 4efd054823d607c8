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

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from seewhy.methods.base import METHODS, Paper
from seewhy.methods.cam.gradient_cam import GradientCAM
from seewhy.types import Maps


@METHODS.register
@dataclass(frozen=True)
class HiResCAM(GradientCAM):
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
    paper: ClassVar[Paper] = Paper(
        "Use HiResCAM instead of Grad-CAM for Faithful Explanations of Convolutional Neural Networks",
        "Draelos, Carin",
        2020,
        "https://arxiv.org/abs/2011.08891",
    )

    @staticmethod
    def combine(activation: Tensor, slope: Tensor) -> Maps:
        """See `GradientCAM.combine`."""
        return (slope * activation).sum(1)
