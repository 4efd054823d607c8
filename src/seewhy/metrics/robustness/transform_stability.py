"""Transform stability: whether the map moves along when the camera zooms in and pans.

A random part of the input, nearly all of it, is cut out and enlarged to the full size; the map made of that
is compared with the same part of the first map, enlarged alike. A map of the object follows it; one that is
luck does not. It says nothing about whether the object is the reason for the answer: edges follow, too, and a
window of nearly everything moves the centre baseline by little.

Formula
    mean over `draws` windows w of Spearman's rank correlation of map(w(x)) and w(map(x)), equal values at
    their mean rank; w cuts out a window whose area is a share between `smallest` and `largest` of the input,
    at a random place, and enlarges it bilinearly. The class is that of the whole input.
Needs
    the method that made the map (rebuilt from what the attribution remembers).
Cost
    `draws` maps.
Paper
    Raatikainen, Rahtu: The Weighting Game: Evaluating Quality of Explainability Methods, 2022,
    https://arxiv.org/abs/2208.06175
Departures
    Windows have the proportions of the input and whole pixels; they follow from the seed, the same for all
    samples and maps. Several are averaged, the paper takes one. A map that is constant on the window, or made
    constant again, has nothing in common with the other: 0. A map that is constant or not finite to begin
    with is undefined. Frames of a clip share one window (ours).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.faithfulness.usable import usable
from seewhy.metrics.repeats import averaged, likeness, maker
from seewhy.perturb.counters import uniform
from seewhy.perturb.crops import enlarged
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class TransformStability(Metric):
    """Rank correlation of the map of a part and the part of the map; higher is better.

    Parameters
    ----------
    draws
        How many windows.
    smallest, largest
        Area of a window as a share of the input, above 0 and at most 1.
    """

    name: ClassVar[str] = "transform_stability"
    title: ClassVar[str] = "Transform stability"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"again"})
    paper: ClassVar[Paper] = Paper(
        "The Weighting Game: Evaluating Quality of Explainability Methods",
        "Raatikainen, Rahtu",
        2022,
        "https://arxiv.org/abs/2208.06175",
    )

    draws: int = 4
    smallest: float = 0.75
    largest: float = 0.9

    def __post_init__(self) -> None:
        require(self.draws >= 1, "Asked for windows to zoom into", self.draws, "Give at least 1")
        require(
            0 < self.smallest <= self.largest <= 1,
            "Asked for windows of some area",
            f"{self.smallest} to {self.largest}",
            "Give shares of the input: above 0, at most 1, the smallest first",
        )

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        again, known = maker(question, "transform stability"), usable(question, maps)
        found, windows = [], []
        for draw in range(self.draws):
            question.execution.step(draw, self.draws, "transform stability")
            box = self.window(question, draw)
            part = enlarged(known.maps[:, None], box)[:, 0]
            made = again(question.model, enlarged(question.x, box))
            found.append(_both_ways(part, made))
            windows.append([[side.start, side.stop] for side in box])
        question.execution.step(self.draws, self.draws, "transform stability")
        return averaged(known, found, {"windows": {str(i + 1): w for i, w in enumerate(windows)}})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(-1, -1)

    def window(self, question: Question, draw: int) -> tuple[slice, ...]:
        """Return rows and columns of window number `draw`."""
        numbers = uniform(question.execution.seed, torch.tensor([draw]), 3)[0].tolist()
        side = math.sqrt(self.smallest + (self.largest - self.smallest) * numbers[0])
        box = []
        for length, place in zip(question.x.shape[-2:], numbers[1:], strict=True):
            part = max(1, math.floor(length * side + 0.5))
            start = min(math.floor(place * (length - part + 1)), length - part)
            box.append(slice(start, start + part))
        return tuple(box)


def _both_ways(part: Maps, made: Maps) -> Tensor:
    """Return the likeness, 0 also where the window shows a constant part of the first map."""
    flat = part.cpu().flatten(1)
    return likeness(part, made).masked_fill(flat.amax(1) == flat.amin(1), 0.0)
