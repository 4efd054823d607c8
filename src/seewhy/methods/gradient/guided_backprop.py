"""Guided backpropagation.

The gradient, except that every ReLU sends back only what is positive, and only where it let the signal
through. What is left is sharp and looks like an edge drawing of the object.

It says little about the decision: the picture hardly changes when the last layer's weights are replaced by
random numbers (a test shows it), since the rule mostly recovers the image from the ReLUs' on and off states.
It fails parameter randomisation: on EfficientNet-Lite0 the rank correlation with the map of the trained
network is still 0.99 with the last layer shuffled and 0.85 with the upper half of the layers
(docs/sanity.md). Use it to see what lower layers respond to, not to judge why a class was chosen.

Formula
    max over channels of |R|, with R sent back like df/dx but at every ReLU y = max(z, 0): R_z = max(R_y, 0)
    where z > 0, else 0.
Needs
    gradients and a network whose activations are ReLU or ReLU6, as modules or functions.
Cost
    one forward and one backward pass; one more forward for the prediction.
Papers
    Springenberg, Dosovitskiy, Brox, Riedmiller: Striving for Simplicity, 2014,
    https://arxiv.org/abs/1412.6806; Adebayo et al.: Sanity Checks for Saliency Maps, 2018,
    https://arxiv.org/abs/1810.03292 (the objection).
Departures
    ReLU6 counts as a ReLU that is also off above 6. Networks with other activations (GELU, SiLU ...) are
    refused; gates (sigmoid, softmax) send back their ordinary gradient. A ReLU written as a clamp or a
    maximum, or compiled into a script, is not recognised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import METHODS, Paper
from seewhy.methods.gradient.rectified import RectifiedGradient
from seewhy.methods.gradient.rectifiers import Rule


@METHODS.register
@dataclass(frozen=True)
class GuidedBackprop(RectifiedGradient):
    """Gradient that passes ReLUs only where signal and gradient are positive.

    Parameters
    ----------
    channels
        How channels become one value: "max_abs", "l2" or "sum" (signed).
    """

    name: ClassVar[str] = "guided_backprop"
    title: ClassVar[str] = "Guided backpropagation"
    rule: ClassVar[Rule] = "guided"
    paper: ClassVar[Paper] = Paper(
        "Striving for Simplicity: The All Convolutional Net",
        "Springenberg, Dosovitskiy, Brox, Riedmiller",
        2014,
        "https://arxiv.org/abs/1412.6806",
    )
