"""DeconvNet.

The network run backwards: from the score, filters are applied transposed, pooling puts values back where its
maxima were (the switches), and ReLUs rectify what comes back instead of what went in. It was made to show
which pattern excites a feature.

It says little about the decision: the picture hardly changes when the last layer's weights are replaced by
random numbers (a test shows it). It fails parameter randomisation: on EfficientNet-Lite0 the rank correlation
with the map of the trained network is 1.00 with the last layer shuffled, 0.59 with the upper half of the
layers and 0.47 with all (docs/sanity.md).

Formula
    max over channels of |R|, with R sent back like df/dx but at every ReLU y = max(z, 0): R_z = max(R_y, 0),
    whatever z was. Max pooling sends a value to the place of its window's maximum.
Needs
    gradients and a network whose activations are ReLU or ReLU6, as modules or functions.
Cost
    one forward and one backward pass; one more forward for the prediction.
Papers
    Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2013,
    https://arxiv.org/abs/1311.2901; Adebayo et al.: Sanity Checks for Saliency Maps, 2018,
    https://arxiv.org/abs/1810.03292 (the objection).
Departures
    the paper projects one feature map's strongest activation; here any target is projected, from 1, and a
    neuron target gives the paper's picture up to scale. A place that is the maximum of several overlapping
    windows gets the sum of what they send. Layers that the paper does not have (batch norm, sums, averages)
    send back their ordinary gradient. Networks with other activations (GELU, SiLU ...) are refused; a ReLU
    written as a clamp or a maximum, or compiled into a script, is not recognised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import METHODS, Paper
from seewhy.methods.gradient.rectified import RectifiedGradient
from seewhy.methods.gradient.rectifiers import Rule


@METHODS.register
@dataclass(frozen=True)
class DeconvNet(RectifiedGradient):
    """The score projected back through transposed filters, switches and rectifiers.

    Parameters
    ----------
    channels
        How channels become one value: "max_abs", "l2" or "sum" (signed).
    """

    name: ClassVar[str] = "deconvnet"
    title: ClassVar[str] = "DeconvNet"
    rule: ClassVar[Rule] = "deconvnet"
    paper: ClassVar[Paper] = Paper(
        "Visualizing and Understanding Convolutional Networks",
        "Zeiler, Fergus",
        2013,
        "https://arxiv.org/abs/1311.2901",
    )
