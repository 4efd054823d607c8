"""Attention rollout.

Every layer of a vision transformer mixes its tokens with the weights that attention gives them, and adds
the result to what was there before. Multiplying these mixtures up, from the first layer to the last, says how
much of every patch has reached the tokens that the answer reads. The map knows no target: it shows what was
looked at, whatever for.

It fails parameter randomisation: on a small DINOv2 and one photo its rank correlation with the map of the
trained network is 1.00 with the last layer shuffled and still 0.90 with the upper half of the layers
(docs/sanity.md), since what the lower half mixes is in every later product.

Formula
    F_l = mean over heads of A_l (or their max or min), the lowest `discard` of its entries set to zero;
    M_l = F_l + I, every row divided by its sum; R = M_L ... M_1. The map is the class token's row of R at
    the cells of the patches.
Needs
    attention between all tokens of one grid, in any implementation: fused kernels are computed in their
    explicit form meanwhile. CNNs, windowed and pooled attention are refused.
Cost
    one forward pass, and one more for the prediction. Only one row of R is worked out, from the last layer
    to the first.
Paper
    Abnar, Zuidema: Quantifying Attention Flow in Transformers, 2020, https://arxiv.org/abs/2005.00928
Departures
    max, min and `discard` are not in the paper, but common since; entries are discarded sample by sample in
    the whole fused matrix, the class token's own included, before the identity is added. Where the answer
    reads several tokens (mean pooling, two class tokens) their rows are averaged; which ones it reads is
    measured. Behind attention pooling that average ignores the weights of the pooling. The values of the
    cells and of the prefix tokens sum to 1; the prefix tokens are left out of the map and nothing is scaled.
    In large transformers without register tokens a few patches of plain background draw attention from
    everywhere, and rollout shows them brightest (so it does for `dinov2-s-saliency` here).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from seewhy.methods.attention import flow
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper, require
from seewhy.models.attention import token_attention
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Cells, Size

Fusion = Literal["mean", "max", "min"]


@METHODS.register
@dataclass(frozen=True)
class AttentionRollout(Method):
    """Attention multiplied up through the layers; class-agnostic.

    Parameters
    ----------
    heads
        How the heads of a layer become one: "mean" (the paper's), "max" or "min".
    residual
        Add the identity for the residual connections, as the paper does.
    discard
        Part of the lowest entries of every layer's fused attention to drop, 0 to below 1.
    start_layer
        Layers to leave out at the beginning.
    """

    name: ClassVar[str] = "attention_rollout"
    title: ClassVar[str] = "Attention rollout"
    needs: ClassVar[frozenset[Need]] = frozenset({"layer"})
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "Quantifying Attention Flow in Transformers",
        "Abnar, Zuidema",
        2020,
        "https://arxiv.org/abs/2005.00928",
    )

    heads: Fusion = "mean"
    residual: bool = True
    discard: float = 0.0
    start_layer: int = 0

    def __post_init__(self) -> None:
        require(
            self.heads in ("mean", "max", "min"),
            "Asked how to fuse heads",
            repr(self.heads),
            "Choose mean, max or min",
        )
        require(
            0 <= self.discard < 1,
            "Asked for a part of attention to discard",
            self.discard,
            "Give 0 to below 1",
        )
        require(
            self.start_layer >= 0, "Asked for a first layer", self.start_layer, "Count from 0 at the input"
        )

    @property
    def signed(self) -> bool:
        """Attention is never negative."""
        return False

    @property
    def targeted(self) -> bool:
        """Attention is the same whatever is asked."""
        return False

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(2)

    def unfit(self, model: Model) -> str:
        """See `Method.unfit`."""
        return super().unfit(model) or flow.reason(model)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        attention = token_attention(question.model, tuple(question.x.shape[1:]))
        flow.check_start(self.start_layer, attention)

        def run(start: int, stop: int) -> Cells:
            layers = flow.mixings(question, attention, start, stop, slopes=False)[self.start_layer :]
            return flow.descend(attention, [self._step(layer.weights) for layer in layers])

        maps = torch.cat(list(question.in_batches(len(question.x), run, self.title)))
        yield Estimate(maps, notes=flow.notes(attention))

    def _step(self, weights: Tensor) -> Tensor:
        """Return `(n, tokens, tokens)`, rows summing to 1, of `(n, heads, tokens, tokens)`."""
        fused = {"mean": weights.mean(1), "max": weights.amax(1), "min": weights.amin(1)}[self.heads]
        if drop := int(self.discard * fused[0].numel()):
            lowest = fused.flatten(1).argsort(stable=True, dim=1)[:, :drop]
            fused = fused.flatten(1).scatter(1, lowest, 0.0).reshape(fused.shape)
        if self.residual:
            fused = fused + torch.eye(fused.shape[-1], device=fused.device)
        return fused / fused.sum(-1, keepdim=True).clamp_min(torch.finfo(fused.dtype).tiny)
