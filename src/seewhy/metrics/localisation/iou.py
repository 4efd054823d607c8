"""Intersection over union: how well the map, cut at a threshold, outlines the evidence.

The map becomes a region, the region is compared with the mask. Where to cut decides much of the score, and
no single cut is fair to every method: the rule is part of the number and must be stated with it.
`rule="area"` takes the choice away by giving every map a region as large as the mask.

Formula
    |region and mask| / |region or mask|, the region by `rule`:
    "maximum": S > 0 and S >= level x max S;
    "mean": S > 0 and S >= level x mean of max(S, 0);
    "area": the highest pixels of S, as many as the mask has;
    with `box` the same of two boxes: around the region's largest piece, and around that piece of the mask
    which fits best;
    with `thresholds` the share of them that this number reaches.
Needs
    maps at input resolution and the truth, a boolean mask a sample.
Cost
    No pass of the model.
Paper
    Zhou, Khosla, Lapedriza, Oliva, Torralba: Learning Deep Features for Discriminative Localization, CVPR
    2016, https://arxiv.org/abs/1512.04150: a region above a fifth of the maximum, the default here.
Departures
    The paper draws a box around the region's largest piece and counts boxes that overlap by half: `box=True`,
    `thresholds=(0.5,)`. The mean over samples is the localisation accuracy; with thresholds 0.5, 0.55 ...
    0.95 it is the mean accuracy over those of COCO. There is one box a sample and it has no confidence, so
    nothing is ranked and precision is accuracy. Boxes of the truth are those around the pieces of its mask:
    objects that touch make one. By default this compares the region
    itself with the mask. The other rules are ours to offer. Negative values belong to no region. A map
    without a positive value has the whole picture as its region, as the constant map has, and `notes` says
    so. With "area", pixels that tie for the last places each count by their chance of being drawn. A map
    that is not finite is NaN, left out of means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.localisation.energy_pointing_game import rectified, scaled
from seewhy.metrics.localisation.pieces import boxes, overlap
from seewhy.metrics.localisation.relevance_rank import highest
from seewhy.metrics.truth import truth_of
from seewhy.question import Question
from seewhy.types import Maps, Masks, Size


@METRICS.register
@dataclass(frozen=True)
class IoU(Metric):
    """Overlap of the map, cut at a threshold, with the evidence; higher is better.

    Parameters
    ----------
    rule
        Where the map is cut: at a share of its maximum, at a multiple of the mean of its positive part, or so
        that the region is as large as the mask (area).
    level
        The share or multiple; not read by "area".
    box
        Compare boxes around the largest piece, not regions. Not for clips.
    thresholds
        Overlaps in (0, 1]; where given, the value is the share of them that the overlap reaches.
    """

    name: ClassVar[str] = "iou"
    title: ClassVar[str] = "Intersection over union"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"truth"})
    paper: ClassVar[Paper] = Paper(
        "Learning Deep Features for Discriminative Localization",
        "Zhou, Khosla, Lapedriza, Oliva, Torralba",
        2016,
        "https://arxiv.org/abs/1512.04150",
    )

    rule: Literal["maximum", "mean", "area"] = "maximum"
    level: float = 0.2
    box: bool = False
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require(
            self.rule in ("maximum", "mean", "area"),
            "Asked iou for a rule",
            self.rule,
            "Give maximum, mean or area",
        )
        require(
            0 <= self.level < float("inf") and (self.rule != "maximum" or self.level <= 1),
            "Asked iou for a level",
            self.level,
            'Give 0 to 1 of the maximum, or with rule="mean" 0 or more times the mean',
        )
        require(
            all(0 < threshold <= 1 for threshold in self.thresholds),
            "Asked iou for thresholds",
            self.thresholds,
            "Give overlaps above 0, up to 1",
        )

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        masks = truth_of(question, maps, self).flatten(1)
        flat = maps.to(question.x.device).double().flatten(1)
        values, sound, silent = scaled(rectified(flat))
        if self.rule == "area":
            # In the order of the map as it stands: below zero it has one, too.
            region = highest(flat.where(sound[:, None], flat.new_zeros(())), masks.sum(1))
        else:
            region = self._region(values).double()
        if self.box:
            overlaps = self._of_boxes(region > 0, masks, tuple(maps.shape))
        else:
            inside = (region * masks).sum(1)
            overlaps = inside / (region.sum(1) + masks.sum(1) - inside)
        if self.thresholds:
            wanted = torch.tensor(self.thresholds, dtype=torch.float64, device=overlaps.device)
            overlaps = (overlaps[:, None] >= wanted).double().mean(1)
        return Scored(
            overlaps.float().masked_fill(~sound, float("nan")),
            notes={
                "nothing_positive": silent.tolist(),
                "undefined": [None if s else "not finite" for s in sound.tolist()],
            },
        )

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(0)

    def _region(self, values: Tensor) -> Tensor:
        """Return `(n, pixels)` bool of non-negative rows with a maximum of 1."""
        cut = self.level if self.rule == "maximum" else self.level * values.mean(1, keepdim=True)
        return (values > 0) & (values >= cut)

    def _of_boxes(self, regions: Masks, masks: Masks, shape: Size) -> Tensor:
        """Return `(n,)` float64 overlaps of boxes, for `(n, pixels)` regions and masks of maps of `shape`."""
        if len(shape) != 3:
            raise DoesNotFit("Asked iou to compare boxes", "These are maps of clips", "Leave `box` out")
        overlaps = []
        for region, mask in zip(regions.reshape(shape), masks.reshape(shape), strict=True):
            largest = boxes(region)[:1]
            overlaps.append(max((overlap(a, b) for a, _ in largest for b, _ in boxes(mask)), default=0.0))
        return torch.tensor(overlaps, dtype=torch.float64, device=regions.device)
