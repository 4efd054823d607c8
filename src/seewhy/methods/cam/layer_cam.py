"""LayerCAM.

Every cell of every channel is weighted by its own gradient where that is positive, and by nothing
elsewhere. This also gives sharp maps at early layers, where one weight for a whole channel says little.

Formula
    map = relu(sum over k of relu(df/dA_k) * A_k), cell by cell on the layer's grid, resized bilinearly.
Needs
    gradients, and a layer with a grid (`seewhy layers` lists those that fit and marks the default).
Cost
    one forward pass, and one backward pass from the score to the layer.
Paper
    Jiang et al.: LayerCAM: Exploring Hierarchical Class Activation Maps for Localization, IEEE Transactions
    on Image Processing 2021, https://doi.org/10.1109/TIP.2021.3089943.
Departures
    one layer a map: maps of several layers are not scaled and merged. The map is not scaled. Class,
    register and distillation tokens take no part. The outer ReLU matters only for layers with negative
    values; `relu=False` leaves it out.
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
class LayerCAM(GradientCAM):
    """Positive gradient times activation of a layer, summed over channels.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default, which is kept in the provenance.
    relu
        Keep only evidence for the target, as the paper does.
    """

    name: ClassVar[str] = "layer_cam"
    title: ClassVar[str] = "LayerCAM"
    paper: ClassVar[Paper] = Paper(
        "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization",
        "Jiang, Zhang, Hou, Cheng, Wei",
        2021,
        "https://doi.org/10.1109/TIP.2021.3089943",
    )

    @staticmethod
    def combine(activation: Tensor, slope: Tensor) -> Maps:
        """See `GradientCAM.combine`."""
        return (slope.relu() * activation).sum(1)
