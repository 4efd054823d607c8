"""Pointing game: whether the highest place of the map lies on the evidence.

Where the place of the object (or of any evidence) is known, a map that found it has its maximum there. The
score of one sample is a hit or a miss; the mean over samples is the accuracy. Photographers put objects in
the middle, so a Gaussian at the centre scores well on many data sets: compare with the baselines.

Formula
    1 where some pixel of the mask lies nearer than `tolerance` to the highest pixel of the map (Euclidean
    distance, strictly nearer), or on it; else 0. Several highest pixels: the share of them that hit.
Needs
    maps at input resolution and the truth, a boolean mask a sample.
Cost
    No pass of the model.
Paper
    Zhang, Bargal, Lin, Brandt, Shen, Sclaroff: Top-down Neural Attention by Excitation Backprop, IJCV 2018,
    https://arxiv.org/abs/1608.00507
Departures
    The tolerance of 15 pixels counts pixels of the input, not of the original photo; 0 asks for a maximum on
    the mask itself. For the published tolerance, in pixels of the photo, grow the evidence before it is cut
    (`seewhy benchmark --data "voc:VOC2007?split=test&margin=15"`) and take tolerance 0. Ties are our choice,
    since common code takes whichever the library finds first: the
    expected score of a maximum drawn among the tied ones, so that a constant map scores the (grown) mask's
    share of the picture, as random pointing does, and `notes` has how many tie. The maximum is that of the
    map as it stands: of a signed map, the strongest evidence for the target. A map that is not finite has no
    maximum: its value is NaN, left out of means. The mean is over samples; `seewhy.metrics.class_means`
    takes it first over those of a class, as published. In clips
    the tolerance reaches within a frame only (ours).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.truth import finite, truth_of
from seewhy.question import Question
from seewhy.types import Maps, Masks, Size


@METRICS.register
@dataclass(frozen=True)
class PointingGame(Metric):
    """Whether the map's maximum lies on the evidence; higher is better.

    Parameters
    ----------
    tolerance
        Pixels; a maximum nearer than this to the mask is a hit, too. 0 for none.
    """

    name: ClassVar[str] = "pointing_game"
    title: ClassVar[str] = "Pointing game"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"truth"})
    paper: ClassVar[Paper] = Paper(
        "Top-down Neural Attention by Excitation Backprop",
        "Zhang, Bargal, Lin, Brandt, Shen, Sclaroff",
        2018,
        "https://arxiv.org/abs/1608.00507",
    )

    tolerance: float = 15.0

    def __post_init__(self) -> None:
        require(
            0 <= self.tolerance < float("inf"),
            "Asked for a tolerance of the pointing game",
            self.tolerance,
            "Give a number of pixels, 0 for none",
        )

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        target = grown(truth_of(question, maps, self), self.tolerance).flatten(1)
        flat = maps.to(question.x.device).float().flatten(1)
        sound = finite(flat)
        flat = flat.where(sound[:, None], flat.new_zeros(()))
        highest = flat == flat.amax(1, keepdim=True)
        ties = highest.sum(1)
        share = ((highest & target).sum(1).double() / ties).float()
        return Scored(
            share.masked_fill(~sound, float("nan")),
            notes={
                "tied": [t if s else None for t, s in zip(ties.tolist(), sound.tolist(), strict=True)],
                "undefined": [None if s else "not finite" for s in sound.tolist()],
            },
        )

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(0)


def grown(masks: Masks, tolerance: float) -> Masks:
    """Return the pixels on `(n, *size)` masks, or nearer than `tolerance` to such a pixel of their frame."""
    reach = int(min(tolerance, max(masks.shape[-2:])))
    if reach == 0:
        return masks
    at = torch.arange(-reach, reach + 1, dtype=torch.float64, device=masks.device)
    near = at[:, None] ** 2 + at[None] ** 2
    disc: Tensor = (near < tolerance**2) | (near == 0)
    frames = masks.reshape(-1, 1, *masks.shape[-2:]).float()
    # Sums of ones: whole numbers, so half is far from all of them.
    return (conv2d(frames, disc.float()[None, None], padding=reach) > 0.5).reshape(masks.shape)
