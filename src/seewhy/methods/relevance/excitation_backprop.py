"""Excitation backpropagation.

A winner is drawn at the top, the target's neuron; it draws the winner among the neurons below that excited
it, each with a chance in proportion to its activation times its weight; and so on down. The map is the chance
of each place to win. With `contrastive` the winner's dual, a neuron with the opposite weights, plays the same
game, and its chances are subtracted: what excites everything cancels, what is the target's own remains.

Formula
    P(i) = sum over j of P(j) x_i w_ij+ / sum_k x_k w_kj+, biases left out, from P = 1 at the target's logit;
    the map is the sum over channels at `layer`. contrastive: P from the last weights W minus P from -W.
Needs
    gradients, a layer with a grid, and activations that are not negative where they are added up or averaged
    (see Departures). Operations are covered, or refused by name and layer.
Cost
    two forward passes and two backward passes to the layer (three if contrastive; one looks for negative
    chances); a few more forward passes of one sample find the default layer.
Conservation
    Chances sum to 1 at every layer that everything passes through, as long as every winner was excited by
    something: one that lives off its bias alone keeps its chance, and where a network merges much of it
    into biases (batch norm behind depthwise convolutions) most can go. The sum that has arrived at
    the layer is kept for each sample as `kept`. A contrastive map sums to about 0.
Layer
    By default the last one before the grid shrinks to that of Grad-CAM's default layer: there maps are finer
    and the features are already those of objects. The paper stops at such layers too (pool4 of VGG16).
Sanity
    The plain map fails parameter randomisation: on EfficientNet-Lite0 its rank correlation with the map of
    the trained network is 0.99 with the last layer shuffled, 0.66 with the upper half of the layers, 0.65
    with all. What excites one class excites them all. The contrastive map has 0.40, 0.18 and -0.03, and is
    the one to read (docs/sanity.md).
Paper
    Zhang, Lin, Brandt, Shen, Sclaroff: Top-down Neural Attention by Excitation Backprop, ECCV 2016,
    https://arxiv.org/abs/1608.00507
Departures
    The paper is for networks of ReLUs, where activations are never negative. Ours beyond it: negative inputs
    of a layer excite through negative weights; an output below 0 (linear bottlenecks) is won by what made it
    so; the summands of a residual sum that have its sign share it; batch norm counts as part of the layer
    before it; gates (squeeze-and-excitation) as constants. Where averages or products of signed
    activations (layer norm, attention) still leave more than 5 % of the chances negative at the layer, they
    are none, and the network is refused with the number. Other targets start from their gradient with respect
    to the answer, a contrast with 1 and -1. Contrastive maps keep their negative part, which implementations
    cut off for display.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper
from seewhy.methods.relevance.composites import Composite
from seewhy.methods.relevance.passing import last_layers
from seewhy.methods.relevance.propagation import Trace, follow
from seewhy.methods.relevance.rules import Excitation, OwnSign
from seewhy.models.layers import default_layer, grid_of, survey
from seewhy.models.model import Model
from seewhy.models.resume import resume_from
from seewhy.question import Question
from seewhy.types import Cells, Size

RULES = Composite(None, OwnSign(), OwnSign(), sums="own_sign")
_PASSING_ON = re.compile(r"pad|drop|identity", re.IGNORECASE)
NEGATIVE = 0.05
"""Part of the chances at the layer that may be negative."""


@METHODS.register
@dataclass(frozen=True)
class ExcitationBackprop(Method):
    """Chances of winning, handed down along excitation.

    Parameters
    ----------
    layer
        Where to read the chances, a name as in `seewhy layers`; None takes the last one before the grid
        shrinks to its smallest.
    contrastive
        Subtract the chances of the dual neuron: the map that tells classes apart.
    """

    name: ClassVar[str] = "excitation_backprop"
    title: ClassVar[str] = "Excitation backprop"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "layer"})
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "Top-down Neural Attention by Excitation Backprop",
        "Zhang, Lin, Brandt, Shen, Sclaroff",
        2016,
        "https://arxiv.org/abs/1608.00507",
    )

    layer: str | None = None
    contrastive: bool = False

    @property
    def signed(self) -> bool:
        """True of the difference that a contrastive map is."""
        return self.contrastive

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(2, 3 if self.contrastive else 2)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        layer = self.layer or finer_layer(question)
        grid = grid_of(question.model, layer, tuple(question.x.shape[1:]))
        kept: list[float] = []

        def run(start: int, stop: int) -> Cells:
            trace = follow(question, start, stop, RULES, "taylor", (layer,))
            rows = question.rows[start:stop]
            game = trace.from_slopes(question.target, rows)
            chances, all_of_them = (
                _chances(question, t, layer)
                for t in (game, trace.from_slopes(question.target, rows, unsigned=True))
            )
            _refuse_negative(question, all_of_them, layer)
            kept.extend(all_of_them.flatten(1).sum(1).tolist())
            if self.contrastive:
                chances = chances - _chances(question, game, layer, dual=True)
            elif not torch.equal(chances, all_of_them):
                raise DoesNotFit(
                    f"Asked {self.title} to explain {question.target.descriptions[start]['label']}",
                    "It has parts that count against it, which nothing can win",
                    "Give contrastive=True, or the score of one class before its softmax",
                )
            return grid.read(chances).float().sum(1)

        maps = torch.cat(list(question.in_batches(len(question.x), run, self.title)))
        notes = {"layer": layer, "layer_chosen_by": "user" if self.layer else "default"}
        yield Estimate(
            maps,
            notes={**notes, "cells": list(grid.cells)},
            reliability=tuple({"kept": k} for k in kept),
        )


def _chances(question: Question, trace: Trace, layer: str, *, dual: bool = False) -> Tensor:
    """Return the chances at the layer, in its own layout, from the target's neuron or from its dual."""
    for last in last_layers(trace.scores):
        last.rule = Excitation(dual)
    (chances,) = trace.reach([trace.layers[layer]])
    question.passes.backward += len(chances)
    return chances


def _refuse_negative(question: Question, chances: Tensor, layer: str) -> None:
    flat = chances.flatten(1).float()
    share = flat.clamp(max=0).abs().sum(1) / flat.abs().sum(1).clamp_min(torch.finfo(flat.dtype).tiny)
    if not float(share.max()) <= NEGATIVE:
        raise DoesNotFit(
            f"Asked {ExcitationBackprop.title} to explain {question.model.name}",
            f"{float(share.max()):.0%} of the chances at {layer!r} would be negative: activations of both "
            "signs are averaged or multiplied on the way",
            "Choose lrp, which has rules for such networks",
        )


def finer_layer(question: Question) -> str:
    """Return the last layer that everything passes through with twice the cells of Grad-CAM's default.

    That one itself where no grid is so fine. Layers that only pad or pass on are not looked at: the cells
    that padding adds can win nothing.
    """
    model, shape = question.model, tuple(question.x.shape[1:])
    last = default_layer(model, shape)
    assert last.grid is not None
    for layer in reversed(survey(model, shape)):
        if not layer.fits or layer.grid is None or prod(layer.grid.cells) < 2 * prod(last.grid.cells):
            continue
        if _PASSING_ON.search(layer.type):
            continue
        question.passes.forward += 1
        if _is_passed_by_all(model, layer.name, question):
            return layer.name
    return last.name


def _is_passed_by_all(model: Model, layer: str, question: Question) -> bool:
    try:
        resume_from(model, layer, question.x[:1])
    except DoesNotFit:
        return False
    return True
