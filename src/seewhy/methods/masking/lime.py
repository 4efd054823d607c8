"""LIME: a linear model of the score, as a function of which pieces of the image are shown.

The input is cut into segments, random subsets of them are hidden, and a linear regression from "shown or
hidden" to the score is fitted. Subsets close to the whole image weigh most. The coefficient of a segment
says by how much the score rises when it is shown.

Formula
    With z in {0, 1}^M, each bit on with probability 1/2, and f(z) the score when only the segments of z are
    shown: minimise sum_z pi(z) (f(z) - b - w . z)^2 + ridge ||w||^2, pi(z) = exp(-D(z)^2 / width^2), where
    D(z) = 1 - sqrt(|z| / M) is the cosine distance of z from the whole image, 1 for the empty z. Every
    pixel carries the coefficient of its segment, in units of the score. Signed.
Needs
    a forward pass.
Cost
    `samples` forward passes and one for the prediction.
Paper
    Ribeiro, Singh, Guestrin: "Why Should I Trust You?", KDD 2016, https://arxiv.org/abs/1602.04938
Departures
    The paper selects a few segments by Lasso before it fits; we fit all by ridge regression, solved in
    float64 with an intercept that is not penalised. Squares of a grid are the default instead of
    superpixels (`segments="slic:50"`), since these need a further package, and the mean colour hides them.
    The paper leaves width, ridge and the number of samples open; ours are the arguments below. The whole
    image is one of the samples. `r2` in the result is ours: the weighted share of the variance of the
    scores that the linear model explains, the local faithfulness of which the paper speaks; None when the
    scores do not vary.
Limits
    A fit needs many times as many samples as segments. With 80 for 36 segments maps are dotted with noise,
    and the maximum met the object on 0.48 and 0.54 of composites on MobileNetV2 (12 a kind); with 250 on 0.89
    and 0.91 (24 a kind; a centre Gaussian: 0.42 and 0.27; `python -m benchmarks.ground_truth`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Paper, require
from seewhy.perturb.coalitions import halves
from seewhy.perturb.operators import operator
from seewhy.perturb.scorer import Scorer
from seewhy.perturb.segments import SegmentEdits, parse, segments
from seewhy.question import Question
from seewhy.types import ScoreKind, Size

_ESTIMATES = 5


@METHODS.register
@dataclass(frozen=True)
class LIME(Method):
    """Local linear model over grid squares or superpixels.

    Parameters
    ----------
    segments
        "grid:N" for N x N squares, "slic:N" for about N superpixels (needs scikit-image).
    samples
        Subsets to score, at least 2.
    width
        Width of the kernel, a cosine distance, more than 0.
    ridge
        Penalty on squared coefficients, more than 0.
    operator
        What hidden segments become: "mean", "constant:LEVEL", "blur:PERCENT", "harmonic", "telea" ...
    """

    name: ClassVar[str] = "lime"
    title: ClassVar[str] = "LIME"
    native: ClassVar[Native] = "pixels"
    streams: ClassVar[bool] = True
    prefers: ClassVar[ScoreKind] = "probability"
    paper: ClassVar[Paper] = Paper(
        '"Why Should I Trust You?": Explaining the Predictions of Any Classifier',
        "Ribeiro, Singh, Guestrin",
        2016,
        "https://arxiv.org/abs/1602.04938",
    )

    segments: str = "grid:7"
    samples: int = 1000
    width: float = 0.25
    ridge: float = 1.0
    operator: str = "mean"

    def __post_init__(self) -> None:
        require(self.samples >= 2, "Asked LIME for samples", self.samples, "Give at least 2")
        require(self.width > 0, "Asked LIME for a kernel width", self.width, "Give more than 0")
        require(self.ridge > 0, "Asked LIME for a ridge", self.ridge, "Give more than 0")
        parse(self.segments)
        operator(self.operator)

    @property
    def signed(self) -> bool:
        """See `Method.signed`."""
        return True

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(self.samples + 1)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        pieces = segments(question, self.segments)
        shown = [halves(m, self.samples, question.generator(m)) for m in pieces.counts]
        for one in shown:
            one[0] = True
        edits = SegmentEdits(pieces, shown, operator(self.operator).behind(question))
        scorer = Scorer(question, "subsets")
        table = torch.zeros(len(question.x), self.samples, dtype=torch.float64)
        stops = sorted({max(2, self.samples * part // _ESTIMATES) for part in range(1, _ESTIMATES + 1)})
        for start, stop in zip([0, *stops], stops, strict=False):
            for chunk in scorer.stream(edits, start, stop):
                table[chunk.jobs.rows.cpu(), chunk.jobs.which.cpu()] = chunk.scores.double().cpu()
            fits = [
                fit(one[:stop].double(), scores[:stop], self.width, self.ridge)
                for one, scores in zip(shown, table, strict=True)
            ]
            painted = pieces.painted([w for w, _ in fits]).float()
            facts = tuple({"segments": m, "r2": r2} for m, (_, r2) in zip(pieces.counts, fits, strict=True))
            yield Estimate(painted, painted, stop, self.samples, scorer.notes(), facts)


def fit(shown: Tensor, scores: Tensor, width: float, ridge: float) -> tuple[Tensor, float | None]:
    """Fit the weighted ridge regression.

    Parameters
    ----------
    shown
        `(s, segments)` float64, 0 or 1.
    scores
        `(s,)` float64.
    width, ridge
        See `LIME`.

    Returns
    -------
    Tensor
        `(segments,)` float64 coefficients.
    float or None
        Weighted share of explained variance, at most 1; None when the scores do not vary.
    """
    distance = 1 - shown.mean(1).sqrt()
    weights = torch.exp(-((distance / width) ** 2))
    weights = weights / weights.max()  # the largest is 1, that of the whole image

    def centred(values: Tensor) -> Tensor:
        return values - (weights @ values) / weights.sum()

    z, y = centred(shown), centred(scores)
    system = z.T @ (weights[:, None] * z) + ridge * torch.eye(z.shape[1], dtype=z.dtype)
    w = torch.linalg.solve(system, z.T @ (weights * y))
    left, variance = float(weights @ (y - z @ w) ** 2), float(weights @ y**2)
    # Scores that are equal but for the last digits leave nothing to explain.
    return w, 1 - left / variance if variance > 1e-14 * float(weights @ scores**2) else None
