"""Path methods hand out the difference of two scores: how far a map's sum is from it."""

from __future__ import annotations

import torch

from seewhy.question import Question
from seewhy.types import Batch, Json, Maps, Scores


def start_scores(question: Question, starts: Batch, what: str) -> Scores:
    """Return the `(n,)` scores of the `(n, c, *size)` inputs that the paths start from."""

    def score(start: int, stop: int) -> Scores:
        return question.scores(starts[start:stop], question.rows[start:stop])

    with torch.no_grad():
        return torch.cat(list(question.in_batches(len(starts), score, f"{what}: baseline")))


def completeness(question: Question, maps: Maps, start: Scores) -> tuple[Json, ...]:
    """Return for each sample the score at the start and the gap, as a fraction of the rise in score."""
    rise = question.clean - start
    error = (maps.flatten(1).sum(1) - rise).abs() / rise.abs().clamp_min(1e-12)
    return tuple(
        {"baseline_score": score, "completeness_error": e}
        for score, e in zip(start.tolist(), error.tolist(), strict=True)
    )
