"""Seed stability: how much of a map is luck.

Methods that draw masks, noises or samples give another map with another seed. Here they are asked again with
other seeds, and the maps compared. Below about 0.9 the ranking of pixels is not worth reading; ask for more
masks or samples. A method that draws nothing scores 1, the random baseline about 0.

Formula
    mean over `seeds` other seeds of Spearman's rank correlation of the map and the one made with that seed,
    equal values at their mean rank; the seeds are those that follow the map's own.
Needs
    the method that made the map (rebuilt from what the attribution remembers).
Cost
    `seeds` maps.
Paper
    Visani, Bagli, Chesani, Poluzzi, Capuzzo: Statistical stability indices for LIME, 2020,
    https://arxiv.org/abs/2001.11757
Departures
    The paper counts agreeing variables of repeated runs of LIME; here whole maps of any method are compared
    by their ranks. The seeds are counted from that of the run. A map that has become constant has nothing in
    common with any: 0. One that is constant or not finite to begin with is undefined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.faithfulness.usable import usable
from seewhy.metrics.repeats import averaged, likeness, maker
from seewhy.question import Question
from seewhy.types import Maps, Size


@METRICS.register
@dataclass(frozen=True)
class SeedStability(Metric):
    """Rank correlation of the map and those of other seeds; higher is better.

    Parameters
    ----------
    seeds
        How many other seeds.
    """

    name: ClassVar[str] = "seed_stability"
    title: ClassVar[str] = "Seed stability"
    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"again"})
    paper: ClassVar[Paper] = Paper(
        "Statistical stability indices for LIME: obtaining reliable explanations for Machine Learning models",
        "Visani, Bagli, Chesani, Poluzzi, Capuzzo",
        2020,
        "https://arxiv.org/abs/2001.11757",
    )

    seeds: int = 3

    def __post_init__(self) -> None:
        require(self.seeds >= 1, "Asked for other seeds", self.seeds, "Give at least 1")

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        again, known, found = maker(question, "seed stability"), usable(question, maps), []
        others = [question.execution.seed + 1 + i for i in range(self.seeds)]
        for i, seed in enumerate(others):
            question.execution.step(i, self.seeds, "seed stability")
            found.append(likeness(known.maps, again(question.model, seed=seed)))
        question.execution.step(self.seeds, self.seeds, "seed stability")
        return averaged(known, found, {"seeds": {str(i + 1): seed for i, seed in enumerate(others)}})

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(-1, -1)
