"""Energy-based pointing game: how much of the map lies on the evidence.

The pointing game asks for one pixel; this asks for the whole map: the share of its positive values that lies
inside the mask. A map that spreads evenly scores the mask's share of the picture, so always read the number
beside the baselines' (random and centre).

Formula
    sum over the mask of max(S, 0) / sum over the picture of max(S, 0)
Needs
    maps at input resolution and the truth, a boolean mask a sample.
Cost
    No pass of the model.
Paper
    Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu: Score-CAM, CVPR Workshops 2020,
    https://arxiv.org/abs/1910.01279
Departures
    Masks instead of boxes; a box is a mask. Values are taken as they stand: no minimum is subtracted first,
    which would move energy about, and negative ones count as none. A map without a positive value spreads
    nothing: it scores like the constant map, the mask's share of the picture, and `notes` says so. A map that
    is not finite is NaN, left out of means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import Cost, Paper
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.localisation.truth import finite, masks_of
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class EnergyPointingGame(Metric):
    """Share of the map's positive values that lies on the evidence; higher is better."""

    name: ClassVar[str] = "energy_pointing_game"
    title: ClassVar[str] = "Energy-based pointing game"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"truth"})
    paper: ClassVar[Paper] = Paper(
        "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks",
        "Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu",
        2020,
        "https://arxiv.org/abs/1910.01279",
    )

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        masks = masks_of(question, maps, self.name).flatten(1).double()
        flat = maps.to(question.x.device).double().flatten(1)
        sound = finite(flat)
        energy = flat.where(sound[:, None], flat.new_zeros(())).clamp(min=0)
        silent = energy.amax(1) == 0
        energy = energy.where(~silent[:, None], energy.new_ones(()))
        # The scale does not matter; taking it out first keeps sums of tiny and huge values in range.
        energy = energy / energy.amax(1, keepdim=True)
        share = ((energy * masks).sum(1) / energy.sum(1)).float()
        return Scored(
            share.masked_fill(~sound, float("nan")),
            notes={
                "nothing_positive": (silent & sound).tolist(),
                "undefined": [None if s else "not finite" for s in sound.tolist()],
            },
        )

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(0)
