"""Guided Grad-CAM.

Guided backpropagation is sharp and hardly depends on the class; Grad-CAM depends on the class and is coarse.
Their product shows the sharp picture where Grad-CAM is warm. The fine structure inside a warm region is
guided backpropagation's, and means as little: it does not tell which edges mattered for the class. On
EfficientNet-Lite0 with shuffled layers the whole map changes, because Grad-CAM moves (rank correlation 0.05
with the last layer shuffled); within tiles that stay warm it fails like guided backpropagation: 0.92 with the
last layer shuffled, 0.71 with the upper half of the layers (docs/sanity.md).

Formula
    R(x) * enlarged Grad-CAM(x), with R of guided backpropagation, reduced over channels.
Needs
    gradients, a layer with a grid, and a network whose activations are ReLU or ReLU6.
Cost
    two forward and two backward passes, one of these only to the layer.
Paper
    Selvaraju et al.: Grad-CAM, 2017, https://arxiv.org/abs/1610.02391.
Departures
    Grad-CAM is enlarged linearly, as in the paper; some libraries take the nearest cell ("nearest"). No
    factor is scaled. The page of `guided_backprop` says what is done with ReLU6 and refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch.nn.functional import interpolate

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Need, Paper, require
from seewhy.methods.cam.grad_cam import GradCAM
from seewhy.methods.gradient.rectifiers import rectified_slopes, unfit_activations
from seewhy.methods.gradient.slopes import Reduction, reduced, require_reduction
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.resize import resize
from seewhy.types import Size


@METHODS.register
@dataclass(frozen=True)
class GuidedGradCAM(Method):
    """Guided backpropagation where Grad-CAM is warm.

    Parameters
    ----------
    layer
        Grad-CAM's layer, as in `seewhy layers`; None takes the model's default.
    channels
        How channels become one value: "max_abs", "l2" or "sum" (signed).
    enlarge
        How Grad-CAM is brought to the size of the input: "linear" or "nearest".
    """

    name: ClassVar[str] = "guided_grad_cam"
    title: ClassVar[str] = "Guided Grad-CAM"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "layer"})
    paper: ClassVar[Paper] = Paper(
        "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
        "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra",
        2017,
        "https://arxiv.org/abs/1610.02391",
    )

    layer: str | None = None
    channels: Reduction = "max_abs"
    enlarge: Literal["linear", "nearest"] = "linear"

    def __post_init__(self) -> None:
        require_reduction(self.channels)
        require(
            self.enlarge in ("linear", "nearest"),
            "Asked how to enlarge Grad-CAM",
            repr(self.enlarge),
            "Choose linear or nearest",
        )

    @property
    def signed(self) -> bool:
        """True where channels are summed."""
        return self.channels == "sum"

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(2, 2)

    def unfit(self, model: Model) -> str:
        """See `Method.unfit`."""
        return super().unfit(model) or unfit_activations(model.module)

    def layers(self, model: Model, input_shape: Size) -> tuple[str, ...]:
        """See `Method.layers`."""
        return GradCAM(layer=self.layer).layers(model, input_shape)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        size = tuple(question.x.shape[2:])
        *_, cam = GradCAM(layer=self.layer).estimate(question)
        warm = (
            resize(cam.native, size)
            if self.enlarge == "linear"
            else interpolate(cam.native[:, None], size, mode="nearest")[:, 0]
        )
        guided = rectified_slopes(question, "guided", self.title)
        yield Estimate(reduced(guided * warm[:, None], self.channels), notes=cam.notes)
