"""Kernel SHAP: the score shared out among the pieces of the image, fairly.

The input is cut into segments. A game is played with them: a coalition of segments is shown, the others are
hidden, and the score is what the coalition earns. The Shapley value of a segment is its mean contribution
over all orders in which the segments can appear, and the values of all segments add up to the whole score.

Formula
    With v(S) the score when only the segments of S are shown, N all of them, M their number:
    phi = argmin sum_S pi(S) (v(S) - v({}) - sum_{i in S} phi_i)^2 subject to sum_i phi_i = v(N) - v({}),
    pi(S) = (M - 1) / (C(M, |S|) |S| (M - |S|)).
    Over all S this is the Shapley value. If `samples` allow all 2^M coalitions they are enumerated; otherwise
    S is drawn with probability proportional to pi, in pairs of S and its complement, and weighs 1. The last
    segment is eliminated by the constraint, so that efficiency holds exactly, and the system is solved in
    float64. Every pixel carries the value of its segment, in units of the score. Signed.
Needs
    a forward pass.
Cost
    `samples` forward passes, by default 2 M + 2048, and two for the empty and the full coalition.
Paper
    Lundberg, Lee: A Unified Approach to Interpreting Model Predictions, NeurIPS 2017,
    https://arxiv.org/abs/1705.07874
Departures
    The paper regularises the regression when there are many features; we do not, and refuse fewer samples
    than segments. Drawing from the kernel in pairs instead of weighting uniform draws, enumerating small
    games and the number of samples are choices of ours that common implementations share in part. The score
    is the logit by default, since values should add up. So is the error estimate `split_half_spearman`: for
    each sample the rank correlation of the values from one half of the pairs with those from the other
    (None when enumerated).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.agreement import Agreement
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Paper, require
from seewhy.perturb.coalitions import Coalitions, every, paired
from seewhy.perturb.operators import operator
from seewhy.perturb.scorer import Scorer
from seewhy.perturb.segments import SegmentEdits, grid, parse, segments
from seewhy.question import Question
from seewhy.types import Json, Size

_ESTIMATES = 5


@METHODS.register
@dataclass(frozen=True)
class KernelSHAP(Method):
    """Shapley values of grid squares or superpixels.

    Parameters
    ----------
    segments
        "grid:N" for N x N squares, "slic:N" for about N superpixels (needs scikit-image).
    samples
        Coalitions to score, at least as many as segments; None: two a segment and 2048 more.
    operator
        What hidden segments become: "mean", "constant:LEVEL", "blur:PERCENT", "harmonic", "telea" ...
    """

    name: ClassVar[str] = "kernel_shap"
    title: ClassVar[str] = "Kernel SHAP"
    native: ClassVar[Native] = "pixels"
    streams: ClassVar[bool] = True
    paper: ClassVar[Paper] = Paper(
        "A Unified Approach to Interpreting Model Predictions",
        "Lundberg, Lee",
        2017,
        "https://arxiv.org/abs/1705.07874",
    )

    segments: str = "grid:7"
    samples: int | None = None
    operator: str = "mean"

    def __post_init__(self) -> None:
        require(
            self.samples is None or self.samples >= 2,
            "Asked Kernel SHAP for samples",
            self.samples,
            "Give at least 2",
        )
        parse(self.segments)
        operator(self.operator)

    @property
    def signed(self) -> bool:
        """See `Method.signed`."""
        return True

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`; for superpixels by their number as asked."""
        kind, number = parse(self.segments)
        players = number if kind == "slic" else int(grid(size, number).max()) + 1
        return Cost(self._samples(players) + 2)

    def _samples(self, players: int) -> int:
        wanted = 2 * players + 2048 if self.samples is None else self.samples
        return 2**players - 2 if players < 40 and 2**players - 2 <= wanted else wanted + wanted % 2

    def coalitions(self, question: Question, players: int) -> Coalitions:
        """Return what is scored for a sample of `players` segments: it depends on their number alone."""
        count = self._samples(players)
        require(
            count >= players - 1,
            f"Asked Kernel SHAP for {count} samples",
            f"{players} segments",
            "Give at least one sample a segment",
        )
        if count == 2**players - 2:
            return every(players)
        return paired(players, count, question.generator(players))

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        pieces = segments(question, self.segments)
        drawn = [self.coalitions(question, players) for players in pieces.counts]
        count = max(len(c.members) for c in drawn)
        # Edit 0 is the empty coalition; the full one is the clean score.
        empty = [torch.zeros(1, players, dtype=torch.bool) for players in pieces.counts]
        members = [torch.cat([e, c.padded(count).members]) for e, c in zip(empty, drawn, strict=True)]
        edits = SegmentEdits(pieces, members, operator(self.operator).behind(question))
        scorer, scores = Scorer(question, "coalitions"), []
        done = 0
        for part in range(1, _ESTIMATES + 1):
            # Whole pairs only, so that every estimate is balanced.
            stop = count + 1 if part == _ESTIMATES else 1 + count * part // _ESTIMATES // 2 * 2
            if stop <= max(pieces.counts) and part < _ESTIMATES:
                continue
            table = torch.zeros(len(question.x), stop - done)
            for chunk in scorer.stream(edits, done, stop):
                table[chunk.jobs.rows.cpu(), chunk.jobs.which.cpu() - done] = chunk.scores.cpu()
            scores.append(table.double())
            done = stop
            so_far = torch.cat(scores, 1)
            clean = question.clean.double().cpu()
            values, facts = [], []
            for i, sample in enumerate(drawn):
                value, fact = _solved(sample, so_far[i, 1:], float(so_far[i, 0]), float(clean[i]))
                values.append(value)
                facts.append({"segments": pieces.counts[i], **fact})
            painted = pieces.painted(values).float()
            yield Estimate(painted, painted, done, count + 1, scorer.notes(), tuple(facts))


def _solved(drawn: Coalitions, scores: Tensor, empty: float, full: float) -> tuple[Tensor, Json]:
    """Return the values from the first coalitions, as far as they are scored, and what is known of them."""
    known = min(len(scores), len(drawn.members))
    members, weights = drawn.members[:known], drawn.weights[:known]
    earned, whole = scores[:known] - empty, full - empty
    values = shapley_values(members, weights, earned, whole)
    agreement = None
    if not drawn.exact:
        pair = torch.arange(known) // 2 % 2
        sides = [
            shapley_values(members[pair == h], weights[pair == h], earned[pair == h], whole) for h in (0, 1)
        ]
        found = float(Agreement.of(*(s[None] for s in sides)).spearman[0])
        agreement = None if isnan(found) else found
    return values, {"split_half_spearman": agreement, "empty_score": empty}


def shapley_values(members: Tensor, weights: Tensor, earned: Tensor, whole: float) -> Tensor:
    """Solve the weighted regression whose values add up to `whole`.

    Parameters
    ----------
    members
        `(s, players)` bool: the coalitions.
    weights, earned
        `(s,)` float64: weight and score, less the score of the empty coalition.
    whole
        The score of all players, less that of none.

    Returns
    -------
    Tensor
        `(players,)` float64; the shortest solution where the coalitions leave it open.
    """
    if members.shape[1] == 1:
        return torch.tensor([whole], dtype=torch.float64)
    last = members[:, -1:].double()
    root = weights.sqrt()[:, None]
    design = (members[:, :-1].double() - last) * root
    right = (earned[:, None] - last * whole) * root
    values = torch.linalg.lstsq(design, right, driver="gelsd").solution[:, 0]
    return torch.cat([values, whole - values.sum(0, keepdim=True)])
