"""What class activation maps share: a layer's output and its gradient, both on the layer's grid.

Every such map is a sum over channels. The methods differ in the weights only, so each of them is a function
of the activation and the gradient, `(n, channels, *cells)` both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from seewhy.models.grids import Grid
from seewhy.models.layers import default_layer, grid_of
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Cells, Json, Maps, Size

Formula: TypeAlias = Callable[[Tensor, Tensor], Maps]
"""From activation and gradient, `(n, channels, *cells)` float32, to maps, `(n, *cells)`."""


def chosen_layer(named: str | None, model: Model, input_shape: Size) -> tuple[str, ...]:
    """Return the one layer that a map is made from: as named, else the model's default."""
    return (named or default_layer(model, input_shape).name,)


def weighted(weights: Tensor, activation: Tensor) -> Maps:
    """Return `(n, *cells)`: the channels of `(n, k, *cells)` added up with `(n, k)` weights."""
    return torch.einsum("nk,nk...->n...", weights, activation)


@dataclass(frozen=True)
class LayerMaps:
    """One layer of a question.

    Parameters
    ----------
    question
        What is asked.
    layer
        The layer's name.
    grid
        How its output lies over the input.
    by_user
        Whether the user named it.
    """

    question: Question
    layer: str
    grid: Grid
    by_user: bool

    @classmethod
    def of(cls, question: Question, named: str | None) -> LayerMaps:
        """Return the layer called `named`, None for the default.

        Raises
        ------
        UnknownName, DoesNotFit
            For a layer that is not there, or that has no grid.
        """
        shape = tuple(question.x.shape[1:])
        if named is not None:
            return cls(question, named, grid_of(question.model, named, shape), True)
        default = default_layer(question.model, shape)
        assert default.grid is not None, "a default layer has one"
        return cls(question, default.name, default.grid, False)

    @property
    def notes(self) -> Json:
        """What a result should say of the layer."""
        return {
            "layer": self.layer,
            "layer_chosen_by": "user" if self.by_user else "default",
            "cells": list(self.grid.cells),
        }

    def maps(self, formula: Formula, what: str) -> Cells:
        """Return `formula(activation, gradient)` of every sample: a forward pass, and one back to the layer.

        Raises
        ------
        DoesNotFit
            When the score does not depend on the layer in a differentiable way.
        """
        question = self.question

        def run(start: int, stop: int) -> Maps:
            with torch.enable_grad():
                answer = question.differentiable_answer(start, stop, (self.layer,))
                scores = question.target(answer, question.rows[start:stop])
            raw = answer.activations[self.layer]
            slope = self.grid.read(question.gradient(scores, raw)).float()
            return formula(self.grid.read(raw.detach()).float(), slope)

        return torch.cat(list(question.in_batches(len(question.x), run, what)))

    def output(self, what: str) -> Tensor:
        """Return what the layer puts out for every sample, `(n, ...)` in its own layout and type."""
        question = self.question

        def run(start: int, stop: int) -> Tensor:
            with torch.no_grad():
                answer = question.differentiable_answer(start, stop, (self.layer,))
            return answer.activations[self.layer].detach()

        return torch.cat(list(question.in_batches(len(question.x), run, what)))

    def activation(self, what: str) -> Tensor:
        """Return the same on the grid: `(n, channels, *cells)` float32."""
        return self.grid.read(self.output(what)).float()
