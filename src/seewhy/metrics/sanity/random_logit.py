"""Random logit: whether the map of another class is another map.

A map that claims to explain one class must say which class that is. Here the method explains other classes of
the same input, and the maps are compared with the first one. A map that stays the same is a picture of the
input, however well it lies on the object. Classes that mean nearly the same may rightly look alike, so the
number is read beside those of other methods; the baselines, which know no class, score 1.

Formula
    mean over `classes` random other classes of the similarity of their map and the map that is scored:
    Spearman's rank correlation of the values as they are ("signed") or of absolute values ("absolute"), or
    the structural similarity of absolute values scaled to 0 .. 1 ("ssim"). Unsigned maps have one
    correlation.
Needs
    the method that made the map (rebuilt from what the attribution remembers); a target that is a class.
Cost
    `classes` maps.
Paper
    Sixt, Granz, Landgraf: When explanations lie: why many modified BP attributions fail, ICML 2020,
    https://arxiv.org/abs/1912.09818
Departures
    The paper compares logits by structural similarity; correlation is the default here, as in parameter
    randomisation, and all three are in the notes. Other classes lie a random distance on from the explained
    one, round the list; distances follow from the seed, the same for all samples and maps, so that every
    class may be drawn and none twice. The other map explains the same kind of score. A map that has become
    constant has nothing in common with any: 0. One that is constant or not finite to begin with is undefined.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.classes import explained
from seewhy.metrics.faithfulness.usable import usable
from seewhy.metrics.repeats import Similarity, averaged, compared, maker
from seewhy.perturb.counters import uniform
from seewhy.question import Question
from seewhy.targets import Class
from seewhy.types import Json, Maps, Scores, Size


@METRICS.register
@dataclass(frozen=True)
class RandomLogit(Metric):
    """Similarity of the map of a class to those of random other classes; lower is better.

    Parameters
    ----------
    classes
        How many other classes, at most; fewer where there are fewer.
    similarity
        The number: rank correlation of "absolute" or "signed" values, or "ssim".
    """

    name: ClassVar[str] = "random_logit"
    title: ClassVar[str] = "Random logit"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"again"})
    paper: ClassVar[Paper] = Paper(
        "When explanations lie: why many modified BP attributions fail",
        "Sixt, Granz, Landgraf",
        2020,
        "https://arxiv.org/abs/1912.09818",
    )

    classes: int = 3
    similarity: Similarity = "signed"

    def __post_init__(self) -> None:
        require(self.classes >= 1, "Asked for other classes", self.classes, "Give at least 1")
        require(
            self.similarity in ("absolute", "signed", "ssim"),
            "Asked for a similarity of maps",
            repr(self.similarity),
            "Choose absolute, signed or ssim",
        )

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        again, known = maker(question, "random logit"), usable(question, maps)
        own, count = explained(question, "random logit"), question.output.shape[1]
        found = []
        steps = self.distances(question.execution.seed, count)
        for i, step in enumerate(steps):
            question.execution.step(i, len(steps), "random logit")
            others = ((own + step) % count).tolist()
            found.append(compared(known.maps, again(question.model, target=[Class(c) for c in others])))
        question.execution.step(len(steps), len(steps), "random logit")
        scored = averaged(known, [f[self.similarity] for f in found], {})
        return replace(scored, notes={**(scored.notes or {}), **self._kinds(found)})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(-1, -1)

    def distances(self, seed: int, count: int) -> list[int]:
        """Return how far on from the explained class the others lie, of `count` classes."""
        drawn = uniform(seed, torch.arange(1, count), 1)[:, 0]
        chosen: list[int] = (drawn.argsort(stable=True)[: self.classes] + 1).tolist()
        return chosen

    @staticmethod
    def _kinds(found: list[dict[str, Scores]]) -> Json:
        """Return, for each similarity and sample, its mean over the classes; None where there is none."""
        means = {kind: torch.stack([f[kind] for f in found]).mean(0).tolist() for kind in found[0]}
        return {kind: [None if math.isnan(v) else v for v in row] for kind, row in means.items()}
