"""ViT-CX: causal explanation of vision transformers.

Every dimension of the patch embeddings, drawn over the patches, is a picture of some property of the image.
Hundreds of them say much the same, so that those alike are merged into some tens of masks. A mask counts by
what the score is with the places it shows, with noise in the place of the rest; a control in which the
same noise is only added tells how much the noise itself did.

Formula
    M_1 .. M_K: the layer's channels, enlarged linearly and scaled to 0 .. 1, clustered by cosine distance
    with complete linkage while nearer than `distance`, summed by cluster and scaled again. With noise e_i:
    s_i = f(M_i x + (1 - M_i) e_i) - f(x + (1 - M_i) e_i) + f(x). The map at a pixel is 1/K times the mean of
    s_i over the masks, weighted by M_i there: sum of s_i M_i / sum of M_i.
Needs
    a layer with a grid; no gradients are taken. By default it is the last one whose patches the answer still
    reads: the last block's first norm in a vision transformer, as in the paper.
Cost
    2 K forward passes, one for the layer and one for the prediction; K is known when the layer has been read.
    In a batch every sample takes as many passes as the one with the most masks.
Paper
    Xie, Li, Cao, Zhang: ViT-CX: Causal Explanation of Vision Transformers, IJCAI 2023,
    https://arxiv.org/abs/2211.03064
Departures
    the noise of a mask follows from the seed and the mask's number, the same for all samples. Channels that
    are constant over the input make no mask. Where no mask shows anything the map is 0. Nothing is scaled.
    Any layer with a grid serves, also of a CNN. Scores are probabilities unless the target says otherwise;
    then the map is about the score of the input over K wherever it is flat, and what stands out is small
    beside that. Scores that can be negative make maps that can.
Limits
    Behind a ReLU most of a channel is exactly zero. Dividing by the sum of the masks then gives a pixel that
    one good mask touches ever so faintly that mask's whole score: maps are plateaus around the evidence, with
    single pixels far off as high. On a small CNN whose pictures hold the evidence in one striped disc the
    maximum met it in 5 of 100 pictures, a centre Gaussian in 8, though twice the disc's share of the map lay
    on it; on a small vision transformer it met it in 98 (`python -m benchmarks.ground_truth`). Prefer other
    methods on CNNs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from seewhy.batching import add_at
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper, require
from seewhy.models.layers import layer_of
from seewhy.perturb.clusters import complete_linkage, cosine_distances, unit
from seewhy.perturb.map_masks import NoisyMasks, stacked
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question
from seewhy.resize import resize
from seewhy.types import ScoreKind, Size


@METHODS.register
@dataclass(frozen=True)
class ViTCX(Method):
    """Clustered patch embeddings as masks, weighted by their causal impact.

    Parameters
    ----------
    layer
        Name as in `seewhy layers`; None takes the model's default.
    distance
        Cosine distance up to which channels are merged into one mask, 0 (none) to 2 (all).
    noise
        Standard deviation of the noise, in units of the normalised input.
    """

    name: ClassVar[str] = "vit_cx"
    title: ClassVar[str] = "ViT-CX"
    needs: ClassVar[frozenset[Need]] = frozenset({"layer"})
    native: ClassVar[Native] = "layer grid"
    prefers: ClassVar[ScoreKind] = "probability"
    paper: ClassVar[Paper] = Paper(
        "ViT-CX: Causal Explanation of Vision Transformers",
        "Xie, Li, Cao, Zhang",
        2023,
        "https://arxiv.org/abs/2211.03064",
    )

    layer: str | None = None
    distance: float = 0.1
    noise: float = 0.1

    def __post_init__(self) -> None:
        require(0 <= self.distance <= 2, "Asked ViT-CX for a distance", self.distance, "Give 0 to 2")
        require(self.noise >= 0, "Asked ViT-CX for noise", self.noise, "Give a deviation of 0 or more")

    @property
    def signed(self) -> bool:
        """Its level is that of the score: 0 is no border between for and against."""
        return False

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`; two passes a mask."""
        return Cost(-1)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        x, size = question.x, tuple(question.x.shape[2:])
        layer = layer_of(question.model, self.layer, tuple(x.shape[1:]))
        assert layer.grid is not None  # a layer that fits has one
        grid = layer.grid

        def read(start: int, stop: int) -> Tensor:
            with torch.no_grad():
                activation = question.answer(x[start:stop], (layer.name,)).activations[layer.name]
            return grid.read(activation).double()

        channels = torch.cat(list(question.in_batches(len(x), read, f"{self.title}: masks")))
        masks, counts = stacked([merged(c, size, self.distance) for c in channels])
        scorer = Scorer(question, "masks")
        impact = torch.zeros(masks.shape[:2], dtype=torch.float64, device=x.device)
        if masks.shape[1]:
            table = scorer.table(NoisyMasks(masks.float(), self.noise, question.execution.seed)).double()
            impact = table[:, 0::2] - table[:, 1::2] + question.clean.double()[:, None]
        weighted, cover = torch.einsum("nk,nk...->n...", impact, masks), masks.sum(1)
        # Enlarging is linear: the sums over masks are enlarged, not the masks.
        per_mask = counts.clamp_min(1).reshape(-1, *[1] * len(size))
        yield Estimate(
            _ratio(weighted, cover) / per_mask,
            _ratio(resize(weighted, size), resize(cover, size)) / per_mask,
            notes={
                "layer": layer.name,
                "layer_chosen_by": "user" if self.layer else "default",
                "cells": list(grid.cells),
                "masks": counts.tolist(),
                **scorer.notes(),
            },
        )


def merged(channels: Tensor, size: Size, distance: float) -> Tensor:
    """Return the `(k, *cells)` masks in [0, 1] of one sample's `(c, *cells)` channels, float64."""
    maps = unit(channels, size)
    cluster = complete_linkage(np.asarray(cosine_distances(maps, size).cpu()), distance)
    sums = maps.new_zeros(int(cluster.max(initial=-1)) + 1, *maps.shape[1:])
    add_at(sums, torch.from_numpy(cluster).to(maps.device), maps)
    return unit(sums, size)


def _ratio(weighted: Tensor, cover: Tensor) -> Tensor:
    return (weighted / cover.clamp_min(1e-12)).where(cover > 1e-12, 0).float()
