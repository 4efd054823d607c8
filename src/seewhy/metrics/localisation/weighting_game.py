"""Weighting game: how much of the map's weight lies on the object, with some slack around it.

Like the energy-based pointing game, on masks drawn along the object's outline instead of boxes. Maps of
coarse layers spill over such outlines, so the mask is grown a little first; objects of a few pixels are
left out.

Formula
    sum over the grown mask of max(S, 0) / sum over the picture of max(S, 0)
Needs
    maps at input resolution and the truth, a boolean mask a sample.
Cost
    No pass of the model.
Paper
    Raatikainen, Rahtu: The Weighting Game, SCIA 2025, https://arxiv.org/abs/2208.06175
Departures
    The accuracy alone: the paper's stability under zoom needs further maps. The square that grows the mask
    counts pixels of the input, not of the original photo; clips grow frame by frame. The authors' code
    scales maps to [0, 1] first, which subtracts the minimum; after the rectifier of a CAM that is 0 nearly
    always, and where it is not, subtracting moves weight about: `floor="minimum"` does, the default does
    not. A map without a positive value (in their code 0 / 0) scores like the constant map, the grown mask's
    share of the picture, and `notes` says so. NaN, left out of means: masks of at most `smallest` pixels
    once grown, maps that are not finite. The mean is over samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch.nn.functional import max_pool2d

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.localisation.energy_pointing_game import rectified, share_inside
from seewhy.metrics.truth import truth_of
from seewhy.question import Question
from seewhy.types import Maps, Masks, Size


@METRICS.register
@dataclass(frozen=True)
class WeightingGame(Metric):
    """Share of the map's weight on the object and its rim; higher is better.

    Parameters
    ----------
    side
        Pixels, odd: the mask grows by a square of this side; 1 for none.
    smallest
        Masks of at most so many pixels, once grown, are left out.
    floor
        What counts as no weight: zero, or the map's minimum.
    """

    name: ClassVar[str] = "weighting_game"
    title: ClassVar[str] = "Weighting game"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"truth"})
    paper: ClassVar[Paper] = Paper(
        "The Weighting Game: Evaluating Quality of Explainability Methods",
        "Raatikainen, Rahtu",
        2025,
        "https://arxiv.org/abs/2208.06175",
    )

    side: int = 9
    smallest: int = 100
    floor: Literal["zero", "minimum"] = "zero"

    def __post_init__(self) -> None:
        require(
            self.side >= 1 and self.side % 2 == 1,
            "Asked the weighting game for a square of side",
            self.side,
            "Give an odd number of pixels, 1 for none",
        )
        require(
            self.smallest >= 0,
            "Asked the weighting game to leave out masks up to",
            self.smallest,
            "Give a number of pixels, 0 for none",
        )
        require(
            self.floor in ("zero", "minimum"),
            "Asked the weighting game for a floor",
            self.floor,
            "Give zero or minimum",
        )

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        masks = grown_by_square(truth_of(question, maps, self), self.side).flatten(1)
        weight = rectified(maps.to(question.x.device).flatten(1))
        if self.floor == "minimum":
            weight = weight - weight.amin(1, keepdim=True)
        scored = share_inside(weight, masks)
        small = masks.sum(1) <= self.smallest
        notes = dict(scored.notes or {})
        notes["undefined"] = [
            "mask too small" if s else reason
            for s, reason in zip(small.tolist(), notes["undefined"], strict=True)
        ]
        return replace(scored, values=scored.values.masked_fill(small, torch.nan), notes=notes)

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(0)


def grown_by_square(masks: Masks, side: int) -> Masks:
    """Return the pixels whose square of odd `side`, in their frame, touches the `(n, *size)` masks."""
    frames = masks.reshape(-1, 1, *masks.shape[-2:]).float()
    # A square is a row of a column; each reaches no further than the frame, which max pooling wants.
    for reach in ((side // 2, 0), (0, side // 2)):
        pad = tuple(min(r, s) for r, s in zip(reach, masks.shape[-2:], strict=True))
        kernel = tuple(2 * p + 1 for p in pad)
        frames = max_pool2d(frames, kernel, stride=1, padding=pad)
    return (frames > 0).reshape(masks.shape)
