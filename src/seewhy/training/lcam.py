"""Training of L-CAM: one weight a class and channel of the last feature map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from seewhy.methods.base import require
from seewhy.methods.learned.own_stages import last_map
from seewhy.methods.learned.stages import Features
from seewhy.models import taps
from seewhy.models.model import Model
from seewhy.training.attention import AttentionLoss, AttentionTrainee, begin
from seewhy.training.base import TRAININGS, Training
from seewhy.types import Batch, Cells, Size


class FeatureMaskTrainee(AttentionTrainee):
    """A head whose masks hide cells of the feature map, not of the image."""

    def behind(self, x: Batch, mask: Cells) -> Tensor:
        """Return the explained model's output where its feature map is multiplied by `(n, *cells)` masks."""
        (stage,) = self.features.stages

        def hide(output: Tensor) -> Tensor:
            return stage.grid.write(stage.grid.read(output) * mask[:, None].to(output), output)

        with taps.replace(self.asked.module, {stage.layer: hide}):
            return self.asked.answer(x).output


@TRAININGS.register
@dataclass(frozen=True)
class LCAMTraining(Training):
    """L-CAM: a 1 x 1 convolution on the last feature map of the explained network.

    Parameters
    ----------
    layer
        Name of the layer; Grad-CAM's when left out.
    hide
        What masks hide in training: parts of the "image", or cells of the "features".
    ce
        Weight of the cross-entropy of the network's answer behind the mask.
    area
        Weight of the mask's area.
    tv
        Weight of the mask's variation.
    power
        Power of the area's values.
    border
        Weight of the frame in the variation.
    fill
        Grey level (0 to 255) behind the mask of an image; None for the mean colour.
    shared
        Whether classes share a row of weights (ours): better maps for classes with few images.
    """

    name: ClassVar[str] = "lcam"
    title: ClassVar[str] = "L-CAM"
    searched: ClassVar[tuple[str, ...]] = ("area", "tv")

    layer: str | None = None
    hide: Literal["image", "features"] = "image"
    ce: float = 1.5
    area: float = 2.0
    tv: float = 0.01
    power: float = 0.3
    border: float = 0.3
    fill: float | None = 0.0
    shared: bool = False

    def __post_init__(self) -> None:
        self._loss()
        require(
            self.hide in ("image", "features"), "Asked to hide", repr(self.hide), "Choose image or features"
        )

    def _loss(self) -> AttentionLoss:
        return AttentionLoss(self.ce, self.area, self.tv, self.power, self.border, self.fill)

    def begin(self, model: Model, input_shape: Size, classes: int, seed: int) -> AttentionTrainee:
        """See `Training.begin`."""
        named = (self.layer,) if self.layer else ()
        return begin(
            self.name,
            model,
            Features(model, last_map(model, input_shape, named)),
            None,
            self._loss(),
            classes,
            seed,
            bias=True,
            shared=self.shared,
            plain=True,
            kind=FeatureMaskTrainee if self.hide == "features" else AttentionTrainee,
        )
