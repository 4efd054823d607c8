"""Training of T-TAME: tokens of the explained transformer, hidden behind the mean colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.learned.own_stages import last_blocks
from seewhy.methods.learned.stages import Features
from seewhy.models.model import Model
from seewhy.training.attention import AttentionLoss, AttentionTrainee, begin
from seewhy.training.base import TRAININGS, Training
from seewhy.training.masks import Objective
from seewhy.types import Size


@TRAININGS.register
@dataclass(frozen=True)
class TTAMETraining(Training):
    """T-TAME: a head on features of the explained transformer itself.

    Parameters
    ----------
    stages
        Names of the layers; those of the last three blocks are found when left out.
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
        Grey level (0 to 255) behind the mask; the mean colour when left out.
    objective
        "paper"; or (ours) "shown" and "surer": masks as the metrics make them, "ranked": the order of pixels
        alone. "surer" and "ranked" compare the answer's log-odds behind the mask with those without it.
    shared
        Whether classes share a row of the fusion (ours): better maps for classes with few images.
    """

    name: ClassVar[str] = "ttame"
    title: ClassVar[str] = "T-TAME"
    searched: ClassVar[tuple[str, ...]] = ("area", "tv")

    stages: tuple[str, ...] = ()
    ce: float = 1.5
    area: float = 2.0
    tv: float = 0.01
    power: float = 0.3
    border: float = 0.3
    fill: float | None = None
    objective: Objective = "paper"
    shared: bool = False

    def __post_init__(self) -> None:
        self._loss()

    def _loss(self) -> AttentionLoss:
        return AttentionLoss(self.ce, self.area, self.tv, self.power, self.border, self.fill, self.objective)

    def begin(self, model: Model, input_shape: Size, classes: int, seed: int) -> AttentionTrainee:
        """See `Training.begin`."""
        features = Features(model, last_blocks(model, input_shape, self.stages))
        return begin(
            self.name, model, features, None, self._loss(), classes, seed, bias=True, shared=self.shared
        )
