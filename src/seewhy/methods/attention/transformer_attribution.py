"""Transformer attribution.

Attention alone says what was mixed, not whether it mattered. Here every attention weight is multiplied with
the gradient of the score with respect to it: what is left, where it is positive, is the attention that spoke
for the target. It is then followed from the answer down to the patches, as in attention rollout. The first
generation of the method weights the gradient with the relevance of the attention weight instead of its value.

Formula
    2 (the default): E_l = mean over heads of relu(A_l * df/dA_l).
    1: E_l = mean over heads of relu(R_l * df/dA_l), with R_l the relevance of A_l: 1 at the target, handed
    down by the z+ rule without biases in matrices; halves to the two factors of a product; sums in proportion
    to the summands a and b, then scaled so that their totals in a sample are |sum R_a| to |sum R_b|;
    unchanged through softmax, layer norm and activations.
    R_0 = I, R_l = R_(l-1) + E_l R_(l-1), which is (I + E_L) ... (I + E_1) without scaling of rows in both
    generations. The map is the class token's row at the cells of the patches.
Needs
    gradients, and attention between all tokens of one grid, in any implementation (see attention_rollout).
    Generation 1 also needs operations that have propagation rules (see lrp), or refuses them by name.
Cost
    one forward and one backward pass, which goes no further down than the first layer's attention; one more
    forward pass for the prediction. Generation 1: one more of each, on the way back twice the work.
Papers
    Chefer, Gur, Wolf: Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
    Transformers, ICCV 2021, https://arxiv.org/abs/2103.15679 (generation 2, its rules for self-attention);
    Chefer, Gur, Wolf: Transformer Interpretability Beyond Attention Visualization, CVPR 2021,
    https://arxiv.org/abs/2012.09838 (generation 1).
Departures
    Every sample is worked out by itself (totals of sums too; the authors' code adds up the batch), and only
    one row of R. Where the answer reads several tokens (mean pooling, two class tokens) their rows are
    averaged. Nothing is scaled. In generation 1 other targets than a class start relevance from their
    gradient with respect to the answer; a residual sum is one of two tensors of the same shape, and
    the two ends of a skip connection add up as they come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from seewhy.methods.attention import flow
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper, require
from seewhy.methods.relevance.composites import Composite
from seewhy.methods.relevance.propagation import follow
from seewhy.methods.relevance.rules import Excitation
from seewhy.models.attention import TokenAttention, token_attention
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Cells, Size

FIRST_GENERATION = Composite(None, Excitation(), Excitation(), sums="balanced", norms="passed")


@METHODS.register
@dataclass(frozen=True)
class TransformerAttribution(Method):
    """Attention weighted by its gradient, followed from the answer to the patches.

    Parameters
    ----------
    start_layer
        Layers to leave out at the beginning.
    generation
        What gradients weight: 1 the relevance of attention (CVPR 2021), 2 attention itself (ICCV 2021).
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
    generation: Literal[1, 2] = 2

    def __post_init__(self) -> None:
        require(
            self.start_layer >= 0, "Asked for a first layer", self.start_layer, "Count from 0 at the input"
        )
        require(
            self.generation in (1, 2),
            "Asked for a generation of transformer attribution",
            self.generation,
            "Choose 1 (CVPR 2021) or 2 (ICCV 2021)",
        )

    @property
    def signed(self) -> bool:
        """Only attention that spoke for the target is kept."""
        return False

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(3, 2) if self.generation == 1 else Cost(2, 1)

    def unfit(self, model: Model) -> str:
        """See `Method.unfit`."""
        return super().unfit(model) or flow.reason(model)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        attention = token_attention(question.model, tuple(question.x.shape[1:]))
        flow.check_start(self.start_layer, attention)

        def run(start: int, stop: int) -> Cells:
            layers = flow.mixings(question, attention, start, stop, slopes=True)
            if self.generation == 1:
                layers = _relevant(question, attention, start, stop, layers)
            return flow.descend(attention, [_step(layer) for layer in layers[self.start_layer :]])

        maps = torch.cat(list(question.in_batches(len(question.x), run, self.title)))
        yield Estimate(maps, notes=flow.notes(attention))


def _relevant(
    question: Question, attention: TokenAttention, start: int, stop: int, layers: list[flow.Mixing]
) -> list[flow.Mixing]:
    """Return the layers with the relevance of their attention in its place."""
    trace = follow(question, start, stop, FIRST_GENERATION, "passed", attention=True)
    trace = trace.from_slopes(question.target, question.rows[start:stop])
    found = trace.reach(attention.pick(trace.attention))
    question.passes.backward += stop - start
    return [
        flow.Mixing(attention.heads(relevance, stop - start).float(), layer.slopes)
        for relevance, layer in zip(found, layers, strict=True)
    ]


def _step(layer: flow.Mixing) -> Tensor:
    """Return I + E, `(n, tokens, tokens)`."""
    evidence = (layer.weights * layer.slopes).relu().mean(1)
    return evidence + torch.eye(evidence.shape[-1], device=evidence.device)
