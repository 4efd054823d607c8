"""The classes that maps explain, and others beside them."""

from __future__ import annotations

import torch
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.question import Question


def explained(question: Question, what: str) -> Tensor:
    """Return `(n,)` int64: the class that each target is, on the device of the answers.

    Raises
    ------
    DoesNotFit
        Where a target is anything else than the score of a class, or there is but one class; `what` is the
        name of the metric that asks.
    """
    named = [(d.get("score"), d.get("index"), d["label"]) for d in question.target.descriptions]
    kinds = ("logit", "probability", "log_probability")
    strange = [label for score, index, label in named if score not in kinds or index is None]
    if strange:
        raise DoesNotFit(
            f"Asked for {what}",
            f"It compares classes, and the target is {strange[0]!r}",
            "Explain the score of a class",
        )
    if question.output.shape[1] < 2:
        raise DoesNotFit(
            f"Asked for {what}", "The model knows one class only", "Ask a model of several classes"
        )
    return torch.tensor([index for _, index, _ in named], device=question.output.device)


def next_best(question: Question, own: Tensor, count: int) -> Tensor:
    """Return `(n, k)` int64: the `count` classes that the model ranks highest beside `own`, `(n,)`.

    Fewer where there are fewer; equal answers in the order of their numbers.
    """
    order = question.output.argsort(dim=1, descending=True, stable=True)
    others = order[order != own[:, None]].reshape(len(own), -1)
    return others[:, :count]
