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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper
from seewhy.models.layers import default_layer, grid_of
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Maps, Size


@METHODS.register
@dataclass(frozen=True)
class GradCAM(Method):
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
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "layer"})
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
        "Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra",
        2017,
        "https://arxiv.org/abs/1610.02391",
    )

    layer: str | None = None
    relu: bool = True

    @property
    def signed(self) -> bool:
        """True without the final ReLU."""
        return not self.relu

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(1, 1)

    def layers(self, model: Model, input_shape: Size) -> tuple[str, ...]:
        """See `Method.layers`."""
        return (self.layer or default_layer(model, input_shape).name,)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        input_shape = tuple(question.x.shape[1:])
        (layer,) = self.layers(question.model, input_shape)
        grid = grid_of(question.model, layer, input_shape)

        def run(start: int, stop: int) -> Maps:
            with torch.enable_grad():
                answer = question.differentiable_answer(start, stop, (layer,))
                scores = question.target(answer, question.rows[start:stop])
            activation = answer.activations[layer]
            slope = grid.read(question.gradient(scores, activation)).float()  # (n, k, *cells)
            weights = slope.flatten(2).mean(2)  # (n, k)
            cam = torch.einsum("nk,nk...->n...", weights, grid.read(activation.detach()).float())
            return cam.relu() if self.relu else cam

        maps = torch.cat(list(question.in_batches(len(question.x), run, self.title)))
        yield Estimate(
            maps,
            notes={
                "layer": layer,
                "layer_chosen_by": "user" if self.layer else "default",
                "cells": list(grid.cells),
            },
        )
