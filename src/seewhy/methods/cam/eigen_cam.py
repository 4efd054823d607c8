"""Eigen-CAM.

Where the cells of a layer differ most, there usually is an object. The map projects the activation of every
cell on the direction along which cells vary most (their first principal component). No gradient and no
class is asked: it shows what stands out to the network, not why it decided. `gradient=True` projects
gradient times activation instead (Eigen-Grad-CAM), which does depend on the target.

Formula
    R: one row a cell, one column a channel, the mean of each column taken off; v its first right singular
    vector; map = R v on the layer's grid, resized bilinearly.

    Sign: a cell is as active as the sum of squares of its positive uncentred values; v is turned so that
    the map goes up with it (the sum over cells of map times activity is not negative). Where activity does
    not decide, the largest value of the map is positive.
Needs
    a layer with a grid; gradients with `gradient=True`.
Cost
    one forward pass; with `gradient=True` one backward pass to the layer, too.
Paper
    Muhammad, Yeasin: Eigen-CAM: Class Activation Map using Principal Components, 2020,
    https://arxiv.org/abs/2008.00299.
Departures
    the sign of a singular vector is arbitrary, and other programs leave it to chance. Our rule is a guess
    that is right more often than not: on 15 pairs of photo and network it agreed 13 times with the sign
    that LayerCAM would have given. `centre=False` takes no means off. `relu=True` keeps the positive side,
    as other programs show it; the definition has none. The part of the cells' variation that the map
    explains is kept as `explained` (0 to 1): where it is small, another direction might have come first.
Limits
    The map cannot follow the question. With two objects on a photo, each asked about in turn, its maximum met
    the one that was asked about and the other one equally often (0.47 each, 48 questions to
    EfficientNet-Lite0), not surely more often than a centre Gaussian (0.31). Where the evidence is all that
    stands out, as on small networks whose pictures hold it in one striped disc, it met it in 100 of 100
    pictures on a CNN and 68 on a vision transformer, the Gaussian in 8 (`python -m benchmarks.ground_truth`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper
from seewhy.methods.cam.layer_maps import LayerMaps, chosen_layer
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Size

_UNDECIDED = 1e-3
"""Correlation of map and activity below which activity does not decide the sign."""


@METHODS.register
@dataclass(frozen=True)
class EigenCAM(Method):
    """First principal component of a layer's cells.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default, which is kept in the provenance.
    gradient
        Multiply the activation with the gradient first (Eigen-Grad-CAM).
    centre
        Take the mean of every channel off.
    relu
        Keep only the positive side.
    """

    name: ClassVar[str] = "eigen_cam"
    title: ClassVar[str] = "Eigen-CAM"
    needs: ClassVar[frozenset[Need]] = frozenset({"layer"})
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "Eigen-CAM: Class Activation Map using Principal Components",
        "Muhammad, Yeasin",
        2020,
        "https://arxiv.org/abs/2008.00299",
    )

    layer: str | None = None
    gradient: bool = False
    centre: bool = True
    relu: bool = False

    @property
    def signed(self) -> bool:
        """True without the ReLU."""
        return not self.relu

    @property
    def targeted(self) -> bool:
        """True with `gradient`."""
        return self.gradient

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(1, int(self.gradient))

    def layers(self, model: Model, input_shape: Size) -> tuple[str, ...]:
        """See `Method.layers`."""
        return chosen_layer(self.layer, model, input_shape)

    @property
    def differentiates(self) -> bool:
        """See `Method.differentiates`."""
        return self.gradient

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        tap = LayerMaps.of(question, self.layer)
        if self.gradient:
            features = tap.maps(lambda activation, slope: activation * slope, self.title)
        else:
            features = tap.activation(self.title)
        found = [component(f.flatten(1).T.double(), self.centre) for f in features]
        maps = torch.stack([m for m, _ in found]).float().reshape(len(features), *tap.grid.cells)
        yield Estimate(
            maps.relu() if self.relu else maps,
            notes=tap.notes,
            reliability=tuple({"explained": share} for _, share in found),
        )


def component(rows: Tensor, centre: bool) -> tuple[Tensor, float]:
    """Project on the first right singular vector, its sign fixed.

    Parameters
    ----------
    rows
        `(cells, channels)` float64.
    centre
        Whether to take the mean row off first.

    Returns
    -------
    map, explained
        `(cells,)`, and the part of the squared singular values that belongs to it; 0 for equal rows.
    """
    activity = rows.relu().square().sum(1)
    R = rows - rows.mean(0) if centre else rows
    total = R.square().sum()
    if float(total) <= 1e-12 * float(rows.square().sum()):  # equal rows: nothing stands out
        return torch.zeros_like(activity), 0.0
    # The smaller of the two Gram matrices; both have the squared singular values.
    if R.shape[1] <= R.shape[0]:
        _, vectors = torch.linalg.eigh(R.T @ R)
        found = R @ vectors[:, -1]
    else:
        values, vectors = torch.linalg.eigh(R @ R.T)
        found = vectors[:, -1] * values[-1].clamp_min(0).sqrt()
    sign = found @ activity
    if float(sign.abs()) <= _UNDECIDED * float(found.norm() * (activity - activity.mean()).norm()):
        sign = found[found.abs().argmax()]
    return torch.where(sign < 0, -found, found), float(found.square().sum() / total)
