"""Attention of a question's inputs, layer by layer, and how it adds up from the answer down to the cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.errors import BadInput
from seewhy.models.attention import TokenAttention, reading, why_none
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Cells, Json


@dataclass(frozen=True)
class Mixing:
    """One layer.

    Parameters
    ----------
    weights
        `(n, heads, tokens, tokens)` float32: row i says what token i is mixed from; rows sum to 1.
    slopes
        The gradient of the score with respect to them; zeros where none was asked for.
    """

    weights: Tensor
    slopes: Tensor


def reason(model: Model) -> str:
    """Return why the attention of `model` cannot be read, as far as that is known without an input; or ""."""
    size = model.input_size()
    if size is None or model.preprocess is None:
        return ""
    why = why_none(model, (len(model.preprocess.mean), *size))
    return f"it needs attention between all tokens, and there is none to read: {why}" if why else ""


def mixings(
    question: Question, attention: TokenAttention, start: int, stop: int, *, slopes: bool
) -> list[Mixing]:
    """Return the attention of every layer on samples `start .. stop - 1`, the first layer first."""
    n = stop - start
    with torch.enable_grad() if slopes else torch.no_grad(), reading(differentiable=slopes) as taken:
        answer = question.answer(question.x[start:stop], differentiable=slopes)
    weights = attention.pick(taken)
    found: Sequence[Tensor] = [torch.zeros((), device=w.device).expand_as(w) for w in weights]
    if slopes:
        with torch.enable_grad():
            scores = question.target(answer, question.rows[start:stop])
        found = question.gradients(scores, weights)
    return [
        Mixing(attention.heads(w.detach(), n).float(), attention.heads(s, n).float())
        for w, s in zip(weights, found, strict=True)
    ]


def descend(attention: TokenAttention, steps: Sequence[Tensor]) -> Cells:
    """Return `(n, *cells)`: the rows of the tokens that the answer reads in the product of `steps`.

    The product is `steps[-1] ... steps[0]`, each `(n, tokens, tokens)`. Where the answer reads several tokens
    it is the mean of their rows. One row is taken from the last step to the first.
    """
    row = steps[-1].new_zeros(len(steps[-1]), attention.tokens)
    row[:, list(attention.read)] = 1 / len(attention.read)
    for step in reversed(steps):
        row = torch.einsum("nt,ntk->nk", row, step)
    return attention.cells(row)


def notes(attention: TokenAttention) -> Json:
    """Return what a result should say of the attention that it was made from."""
    return {
        "cells": list(attention.grid.cells),
        "attention_layers": len(attention.layers),
        "tokens_read": "all" if len(attention.read) == attention.tokens else _ranges(attention.read),
    }


def _ranges(tokens: Sequence[int]) -> str:
    first, last = tokens[0], tokens[-1]
    if list(tokens) != list(range(first, last + 1)):
        return ", ".join(map(str, tokens))
    return str(first) if first == last else f"{first} to {last}"


def check_start(layer: int, attention: TokenAttention) -> None:
    """Refuse to leave out as many layers as there are."""
    if layer >= len(attention.layers):
        raise BadInput(
            f"Asked to start at layer {layer}",
            f"The network has {len(attention.layers)} layers of attention, counted from 0",
            f"Give at most {len(attention.layers) - 1}",
        )
