"""SIDU: similarity difference and uniqueness.

Every channel of a late layer, cut off at a threshold, is a mask of the places where it is strong. The input
is seen through each of them. A mask counts when the answer through it stays like the answer to the whole
input (a small difference in similarity), and when it differs from the answers through the other masks
(uniqueness).

Formula
    B_i = 1 where A_i > `threshold`, else 0; M_i = B_i enlarged linearly; P_i = probabilities of M_i x, P
    those of x. SD_i = exp(-d_i^2 / (2 `width`^2)), d_i the difference of the score ("target") or the length
    of P - P_i ("vector"); U_i = sum over j of |P_i - P_j|, scaled so that the least is 0 and the greatest 1.
    The map is the mean over i of SD_i U_i M_i.
Needs
    a layer with a grid; no gradients are taken.
Cost
    one forward pass for every channel with a mask of its own, one for the layer and one for the prediction.
    Channels with the same mask are scored once, which changes nothing. In a batch every sample takes as many
    passes as the one with the most masks.
Papers
    Muddamsetty, Jahromi, Moeslund: SIDU: Similarity Difference and Uniqueness Method for Explainable AI,
    2020, https://arxiv.org/abs/2006.03122;
    Muddamsetty et al.: Visual Explanation of Black-Box Model: Similarity Difference and Uniqueness (SIDU)
    Method, 2021, https://arxiv.org/abs/2101.10710
Departures
    the threshold of 0.1 is that of the authors' program, as are the width of 0.25 and the difference of one
    class' score; the papers speak of the answer as a whole ("vector", which makes the map the same for every
    target). Masks keep their value beyond the outer cells' centres where the program mirrors them. A constant
    factor is left out, and nothing is scaled. For a class that is improbable with and without masks the
    similarity is always 1, and the map shows uniqueness alone. Where all answers are alike no mask is unique
    and the map is 0. Answers that are no classes are compared as vectors of length 1.
    On transformers the masks come from the tokens of the default layer.
Limits
    Where the evidence is known the map points worse than the other methods of masks: its maximum met the
    striped disc in 64 of 100 pictures on a small CNN (a centre Gaussian 8), and on composites, asked with a
    middle layer of about a hundred channels and 36 questions a kind, the object in 0.56 and 0.42 on
    EfficientNet-Lite0 (centre 0.44 and 0.31), in 0.41 and 0.25 on MobileNetV2 (centre 0.42 and 0.27: no
    better). There the maps are nearly flat, the highest value 1.3 to 1.6 times the mean on seven of the
    first eight, and highest on textured ground as often as on the object: the likely reason is that a mask of
    the ground is as unlike the others as one of the object (`python -m benchmarks.ground_truth`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper, require
from seewhy.models.layers import layer_of
from seewhy.models.model import Model
from seewhy.models.outputs import Answer
from seewhy.perturb.map_masks import MapMasks, stacked
from seewhy.perturb.operators import operator
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question
from seewhy.types import ScoreKind, Size

Similarity = Literal["target", "vector"]


@METHODS.register
@dataclass(frozen=True)
class SIDU(Method):
    """Channels as masks, weighted by similarity and uniqueness of what is seen through them.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default.
    threshold
        Activation above which a cell is in a channel's mask.
    width
        Difference of scores at which the similarity has fallen to 0.61, above 0.
    similarity
        What must stay alike: the "target" score, or the whole "vector" of probabilities.
    operator
        What hidden pixels become; "mean" is 0 in normalised space, as published.
    """

    name: ClassVar[str] = "sidu"
    title: ClassVar[str] = "SIDU"
    needs: ClassVar[frozenset[Need]] = frozenset({"layer"})
    native: ClassVar[Native] = "layer grid"
    prefers: ClassVar[ScoreKind] = "probability"
    paper: ClassVar[Paper] = Paper(
        "SIDU: Similarity Difference and Uniqueness Method for Explainable AI",
        "Muddamsetty, Jahromi, Moeslund",
        2020,
        "https://arxiv.org/abs/2006.03122",
    )

    layer: str | None = None
    threshold: float = 0.1
    width: float = 0.25
    similarity: Similarity = "target"
    operator: str = "mean"

    def __post_init__(self) -> None:
        require(self.width > 0, "Asked SIDU for a width", self.width, "Give more than 0")
        require(
            self.similarity in ("target", "vector"),
            "Asked SIDU for a similarity",
            repr(self.similarity),
            "Choose target or vector",
        )
        operator(self.operator)

    @property
    def signed(self) -> bool:
        """Weights are never negative."""
        return False

    @property
    def targeted(self) -> bool:
        """False where the answer is compared as a whole."""
        return self.similarity == "target"

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`; as many passes as the layer has channels."""
        return Cost(-1)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        model, x = question.model, question.x
        layer = layer_of(model, self.layer, tuple(x.shape[1:]))
        assert layer.grid is not None  # a layer that fits has one
        grid = layer.grid

        def binary(start: int, stop: int) -> Tensor:
            with torch.no_grad():
                activation = question.answer(x[start:stop], (layer.name,)).activations[layer.name]
            return (grid.read(activation) > self.threshold).float()

        channels = torch.cat(list(question.in_batches(len(x), binary, f"{self.title}: masks")))
        distinct = [torch.unique(c, dim=0, return_counts=True) for c in channels]
        masks, _ = stacked([own for own, _ in distinct])
        times, _ = stacked([count for _, count in distinct])  # (n, k), 0 where a sample has no mask left

        def read(answer: Answer, rows: Tensor) -> Tensor:
            score = question.target(answer, rows).reshape(-1, 1)
            return torch.cat([score, _vector(model, answer.output)], 1)

        scorer = Scorer(question, "masks", read)
        table = scorer.table(MapMasks(masks, operator(self.operator).behind(question))).double()
        scores, vectors = table[..., 0], table[..., 1:]
        if self.similarity == "target":
            change = scores - question.clean.double()[:, None]
        else:
            change = (vectors - _vector(model, question.output).double()[:, None]).norm(dim=-1)
        weights = torch.exp(-change.square() / (2 * self.width**2)) * uniqueness(vectors, times) * times
        maps = torch.einsum("nk,nk...->n...", weights / times.sum(1, keepdim=True), masks.double())
        yield Estimate(
            maps.float(),
            notes={
                "layer": layer.name,
                "layer_chosen_by": "user" if self.layer else "default",
                "cells": list(grid.cells),
                "distinct_masks": [len(own) for own, _ in distinct],
                **scorer.notes(),
            },
        )


def uniqueness(vectors: Tensor, times: Tensor) -> Tensor:
    """Return `(n, k)` in [0, 1]: how far each mask's vector lies from those of all masks of its sample.

    Parameters
    ----------
    vectors
        `(n, k, c)` float64.
    times
        `(n, k)`: how many channels share each mask; 0 takes no part.
    """
    found = torch.zeros(times.shape, dtype=vectors.dtype, device=vectors.device)
    for i, (own, count) in enumerate(zip(vectors, times, strict=True)):
        real = count > 0
        apart = torch.cdist(own[real], own[real], compute_mode="donot_use_mm_for_euclid_dist")
        sums = apart @ count[real].to(apart)
        low, high = sums.min(), sums.max()
        # Below the precision of the scores nothing is unique.
        if float(high - low) > 1e-7 * float(count.sum()):
            found[i, real] = (sums - low) / (high - low)
    return found


def _vector(model: Model, output: Tensor) -> Tensor:
    """Return `(k, c)` float32: probabilities, or an embedding of length 1."""
    if model.kind(output) == "classes":
        return model.probabilities(output).flatten(1)
    return normalize(output.float().flatten(1), dim=1)
