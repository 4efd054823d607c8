"""LeGrad.

How would the score change if a layer's tokens attended more to a patch? LeGrad asks every layer for itself:
the answer is read from that layer's tokens, as if the network ended there, and differentiated with respect to
that layer's attention. Positive gradients are kept and averaged over heads, tokens and layers.

Formula
    s_l = f read from the tokens behind layer l;  E_l = mean over heads and rows of relu(ds_l/dA_l), one value
    a token attended to. The map is the mean of E_l over the layers at the cells of the patches.
Needs
    gradients, attention between all tokens of one grid in any implementation (see attention_rollout), and a
    network that can be resumed behind its last block: nothing may go around it.
Cost
    one forward pass and, for every layer, the network's head forward and a backward pass through the head and
    one block; two more forward passes for the prediction and the head.
Paper
    Bousselham, Boggust, Chaybouti, Strobelt, Kuehne: LeGrad: An Explainability Method for Vision Transformers
    via Feature Formation Sensitivity, ICCV 2025, https://arxiv.org/abs/2404.03214
Departures
    a layer's tokens go through the network's own ending, whatever that is, so that every target can be asked;
    `tokens="mean"` gives it their mean in every place, which is what the authors' code does for CLIP.
    Their code also takes the last two layers only (`last=2`), and scales the map to 0 to 1, which is left to
    display here. Attention pooling is part of the ending: its own attention is not differentiated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.methods.attention import flow
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper, require
from seewhy.models.attention import TokenAttention, reading, token_attention
from seewhy.models.model import Model
from seewhy.models.resume import Resumption, resume_from
from seewhy.question import Question
from seewhy.types import Cells, Scores, Size

Tokens = Literal["own", "mean"]


@METHODS.register
@dataclass(frozen=True)
class LeGrad(Method):
    """Gradients with respect to attention, each layer read for itself.

    Parameters
    ----------
    last
        How many layers to ask, counted from the end; None takes all.
    tokens
        What the network's ending reads of a layer: its "own" tokens, or their "mean" in every place.
    """

    name: ClassVar[str] = "le_grad"
    title: ClassVar[str] = "LeGrad"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient", "layer"})
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "LeGrad: An Explainability Method for Vision Transformers via Feature Formation Sensitivity",
        "Bousselham, Boggust, Chaybouti, Strobelt, Kuehne",
        2025,
        "https://arxiv.org/abs/2404.03214",
    )

    last: int | None = None
    tokens: Tokens = "own"

    def __post_init__(self) -> None:
        require(
            self.last is None or self.last >= 1, "Asked for the last layers", self.last, "Give at least 1"
        )
        require(
            self.tokens in ("own", "mean"),
            "Asked what to read of a layer",
            repr(self.tokens),
            "Choose own or mean",
        )

    @property
    def signed(self) -> bool:
        """Only positive gradients are kept."""
        return False

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`; one backward pass for each layer, through one block."""
        return Cost(-1, -1)

    def unfit(self, model: Model) -> str:
        """See `Method.unfit`."""
        return super().unfit(model) or flow.reason(model)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        attention = token_attention(question.model, tuple(question.x.shape[1:]))
        blocks = _blocks(question, attention)
        ending = resume_from(question.model, blocks[-1], question.x[:1])
        question.passes.forward += 1
        asked = list(enumerate(blocks))[-(self.last or len(blocks)) :]

        def run(start: int, stop: int) -> Cells:
            with torch.enable_grad(), reading(differentiable=True) as taken:
                answer = question.answer(question.x[start:stop], blocks)
            weights = attention.pick(taken)
            total = torch.zeros(stop - start, attention.tokens, device=question.x.device)
            for i, block in asked:
                with torch.enable_grad():
                    scores = self._read(question, ending, answer.activations[block], start, stop)
                slope = attention.heads(question.gradient(scores, weights[i]), stop - start)
                total += slope.float().relu().mean((1, 2))
            return attention.cells(total / len(asked))

        maps = torch.cat(list(question.in_batches(len(question.x), run, self.title)))
        yield Estimate(maps, notes=flow.notes(attention))

    def _read(self, question: Question, ending: Resumption, tokens: Tensor, start: int, stop: int) -> Scores:
        if self.tokens == "mean":
            tokens = tokens.mean(1, keepdim=True).expand_as(tokens)
        return question.target(ending(tokens), question.rows[start:stop])


def _blocks(question: Question, attention: TokenAttention) -> tuple[str, ...]:
    """Return the blocks, or refuse: every layer needs one, and the target must look behind the last."""
    asked = f"Asked {LeGrad.title} to explain {question.model.name}"
    if "" in attention.blocks:
        raise DoesNotFit(
            asked, "No module puts out the tokens behind each attention", "Choose transformer_attribution"
        )
    if question.target.layers:
        raise DoesNotFit(
            asked,
            "The target reads a layer, which only the last block's answer has",
            "Choose transformer_attribution, or a target that reads the answer",
        )
    return attention.blocks
