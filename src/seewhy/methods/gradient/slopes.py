"""Gradients of the score at many points near each input, batch by batch: what gradient methods share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from seewhy.methods.base import channel_sum, require
from seewhy.perturb.differentiation import Points
from seewhy.perturb.edits import Jobs
from seewhy.question import Question
from seewhy.types import Batch, Maps, Rows, Scores

Reduction = Literal["max_abs", "l2", "sum"]


@dataclass(frozen=True)
class Slopes:
    """The gradients of one batch.

    Parameters
    ----------
    rows
        `(k,)` the sample that each point belongs to.
    which
        `(k,)` the number of each point among those of its sample.
    at
        `(k, c, *size)` the points.
    values
        `(k, c, *size)` float32 gradients of the score there.
    scores
        `(k,)` the scores.
    """

    rows: Rows
    which: Tensor
    at: Batch
    values: Batch
    scores: Scores


def slopes(question: Question, count: int, points: Points, what: str) -> Iterator[Slopes]:
    """Yield the gradients at `count` points for each sample, all samples' first points first.

    Parameters
    ----------
    question
        The inputs, model, target and options of the run.
    count
        Points for each sample.
    points
        Where they are.
    what
        Name of the work, for progress.

    Raises
    ------
    DoesNotFit
        When the score does not depend on the input in a differentiable way.
    """
    n = len(question.x)

    def run(start: int, stop: int) -> Slopes:
        jobs = Jobs.between(start, stop, n, question.x.device)
        at = points(jobs.rows, jobs.which).detach().requires_grad_()
        with torch.enable_grad():
            scores = question.scores(at, jobs.rows)
        values = question.gradient(scores, at).float()
        return Slopes(jobs.rows, jobs.which, at.detach(), values, scores.detach())

    yield from question.in_batches(n * count, run, what)


def input_slopes(question: Question, what: str) -> Batch:
    """Return the `(n, c, *size)` float32 gradients at the inputs themselves."""
    return torch.cat([s.values for s in slopes(question, 1, lambda rows, _: question.x[rows], what)])


def reduced(gradient: Batch, channels: Reduction) -> Maps:
    """Return `(n, *size)`: one value for the channels of `(n, c, *size)`."""
    match channels:
        case "max_abs":
            return gradient.abs().amax(1)
        case "l2":
            return gradient.square().sum(1).sqrt()
        case "sum":
            return channel_sum(gradient)


def require_reduction(channels: str) -> None:
    """Refuse an unknown way to reduce channels."""
    require(
        channels in ("max_abs", "l2", "sum"),
        "Asked how to reduce channels",
        repr(channels),
        "Choose max_abs, l2 or sum",
    )
