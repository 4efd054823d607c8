"""Transformer attribution.

Attention alone says what was mixed, not whether it mattered. Here every attention weight is multiplied with
the gradient of the score with respect to it: what is left, where it is positive, is the attention that spoke
for the target. It is then followed from the answer down to the patches, as in attention rollout.

Formula
    E_l = mean over heads of relu(A_l * df/dA_l);  R_0 = I, R_l = R_(l-1) + E_l R_(l-1). The map is the class
    token's row of R_L at the cells of the patches.
Needs
    gradients, and attention between all tokens of one grid, in any implementation (see attention_rollout).
Cost
    one forward and one backward pass, which goes no further down than the first layer's attention; one more
    forward pass for the prediction.
Papers
    Chefer, Gur, Wolf: Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
    Transformers, ICCV 2021, https://arxiv.org/abs/2103.15679 (the rules for self-attention, used here);
    Chefer, Gur, Wolf: Transformer Interpretability Beyond Attention Visualization, CVPR 2021,
    https://arxiv.org/abs/2012.09838 (the first generation, which has relevance from layer-wise propagation in
    the place of A_l).
Departures
    only the second generation is here: the first needs propagation rules for every operation of a network.
    Every sample is worked out by itself, and only one row of R. Where the answer reads several tokens (mean
    pooling, two class tokens) their rows are averaged. Nothing is scaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.attention import flow
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper, require
from seewhy.models.attention import token_attention
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Cells, Size


@METHODS.register
@dataclass(frozen=True)
class TransformerAttribution(Method):
    """Attention weighted by its gradient, followed from the answer to the patches.

    Parameters
    ----------
    start_layer
        Layers to leave out at the beginning.
    """

    name: ClassVar[str] = "transformer_attribution"
    title: ClassVar[str] = "Transformer attribution"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "layer"})
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder Transformers",
        "Chefer, Gur, Wolf",
        2021,
        "https://arxiv.org/abs/2103.15679",
    )

    start_layer: int = 0

    def __post_init__(self) -> None:
        require(
            self.start_layer >= 0, "Asked for a first layer", self.start_layer, "Count from 0 at the input"
        )

    @property
    def signed(self) -> bool:
        """Only attention that spoke for the target is kept."""
        return False

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(2, 1)

    def unfit(self, model: Model) -> str:
        """See `Method.unfit`."""
        return super().unfit(model) or flow.reason(model)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        attention = token_attention(question.model, tuple(question.x.shape[1:]))
        flow.check_start(self.start_layer, attention)

        def run(start: int, stop: int) -> Cells:
            layers = flow.mixings(question, attention, start, stop, slopes=True)[self.start_layer :]
            return flow.descend(attention, [_step(layer) for layer in layers])

        maps = torch.cat(list(question.in_batches(len(question.x), run, self.title)))
        yield Estimate(maps, notes=flow.notes(attention))


def _step(layer: flow.Mixing) -> Tensor:
    """Return I + E, `(n, tokens, tokens)`."""
    evidence = (layer.weights * layer.slopes).relu().mean(1)
    return evidence + torch.eye(evidence.shape[-1], device=evidence.device)
