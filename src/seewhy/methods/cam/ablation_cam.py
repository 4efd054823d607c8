"""Ablation-CAM.

A channel weighs as much as the score falls when it is switched off. This asks the network instead of its
gradient, which says little where the score is saturated. Only what follows the layer runs again.

Formula
    w_k = (f - f with A_k = 0) / |f|;  map = relu(sum over k of w_k A_k) on the layer's grid, resized
    bilinearly.
Needs
    a layer with a grid.
Cost
    one pass for each channel through the part of the network behind the layer (or behind the nearest layer
    before it that everything passes through; the result says which, as `resumed_from`), and a few whole
    ones.
Paper
    Desai, Ramaswamy: Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
    Localization, WACV 2020, https://doi.org/10.1109/WACV45572.2020.9093360.
Departures
    the paper divides by f; dividing by |f| keeps the signs of the weights where f is negative, and is the
    same where it is not. A channel that is switched off is zero, also where it takes both signs. Class,
    register and distillation tokens stay. The map is not scaled. `relu=False` keeps evidence against the
    target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper
from seewhy.methods.cam.layer_maps import LayerMaps, chosen_layer, weighted
from seewhy.methods.cam.switching import Gates, layer_question
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Size


@METHODS.register
@dataclass(frozen=True)
class AblationCAM(Method):
    """Channels of a layer weighted by the fall of the score without them.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default, which is kept in the provenance.
    relu
        Keep only evidence for the target, as the paper does.
    """

    name: ClassVar[str] = "ablation_cam"
    title: ClassVar[str] = "Ablation-CAM"
    needs: ClassVar[frozenset[Need]] = frozenset({"layer"})
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization",
        "Desai, Ramaswamy",
        2020,
        "https://doi.org/10.1109/WACV45572.2020.9093360",
    )

    layer: str | None = None
    relu: bool = True

    @property
    def signed(self) -> bool:
        """True without the final ReLU."""
        return not self.relu

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(-1)

    def layers(self, model: Model, input_shape: Size) -> tuple[str, ...]:
        """See `Method.layers`."""
        return chosen_layer(self.layer, model, input_shape)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        tap = LayerMaps.of(question, self.layer)
        asked = layer_question(tap, f"{self.title}: activation")
        activation = tap.grid.read(asked.x).float()
        channels = activation.shape[1]
        scorer = asked.scorer(self.title)
        off = ~torch.eye(channels, dtype=torch.bool, device=activation.device)
        without = scorer.table(Gates(tap.grid, off[None]))
        size = question.clean.abs().clamp_min(torch.finfo(torch.float32).tiny)
        maps = weighted((question.clean[:, None] - without) / size[:, None], activation)
        notes = {**tap.notes, "resumed_from": asked.anchor or None, "channels": channels, **scorer.notes()}
        yield Estimate(maps.relu() if self.relu else maps, None, channels, channels, notes)
