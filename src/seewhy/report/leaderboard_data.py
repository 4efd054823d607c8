"""What the leaderboard reads of a study, and the numbers it draws from: one pass over the table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from seewhy.attribution import Attribution
from seewhy.errors import BadInput
from seewhy.metrics.base import METRICS, Metric
from seewhy.metrics.meta.reliability import Reliability, metric_reliability
from seewhy.metrics.table import MeanCurve, Summary, Table
from seewhy.types import Json


@runtime_checkable
class Cost(Protocol):
    """Medians over samples for one sample."""

    @property
    def seconds(self) -> float:
        """Of wall clock."""

    @property
    def forward(self) -> float:
        """Model inputs that went forward."""

    @property
    def backward(self) -> float:
        """Model inputs that went backward."""


@runtime_checkable
class Failed(Protocol):
    """What failed; an empty method or metric means all of them."""

    @property
    def sample(self) -> str:
        """Its name."""

    @property
    def method(self) -> str:
        """Its label."""

    @property
    def metric(self) -> str:
        """Its label."""

    @property
    def message(self) -> str:
        """Why."""


@runtime_checkable
class Study(Protocol):
    """A finished benchmark, as `seewhy.runs.study.Study` reads it from a folder."""

    folder: Path
    facts: Json

    @property
    def plan(self) -> Any:
        """Has `metrics` and `methods` (each with `name` and `label`), `model`, `data`, `to_toml()`."""

    @property
    def table(self) -> Table:
        """Every value."""

    @property
    def curves(self) -> Sequence[MeanCurve]:
        """Mean curves."""

    @property
    def costs(self) -> Mapping[str, Cost]:
        """By method; baselines are left out."""

    @property
    def failures(self) -> Sequence[Failed]:
        """What could not be done."""

    def kept(self) -> Iterable[tuple[str, str]]:
        """Yield (sample, method) of the maps that were kept."""

    def maps(self, sample: str, method: str) -> Attribution:
        """Return one of them."""


@dataclass(frozen=True)
class Board:
    """A study as the page needs it. Methods come best first by the first metric, baselines among them."""

    study: Study

    @cached_property
    def metrics(self) -> list[str]:
        """Labels, in the plan's order."""
        return list(self.study.table.higher_is_better)

    @cached_property
    def kinds(self) -> dict[str, type[Metric]]:
        """The registered metric behind each label, where there is one."""
        names = {c.label or c.name: c.name for c in self.study.plan.metrics}
        return {m: METRICS[names.get(m, m)] for m in self.metrics if names.get(m, m) in METRICS}

    @cached_property
    def names(self) -> dict[str, str]:
        """The registered method behind each label."""
        return {c.label or c.name: c.name for c in self.study.plan.methods}

    @cached_property
    def cells(self) -> dict[tuple[str, str], Summary]:
        """Means by method and metric."""
        return {(s.method, s.metric): s for s in self.study.table.mean()}

    @cached_property
    def methods(self) -> dict[str, bool]:
        """Whether each method is a baseline; best first by the first metric."""
        baseline = {s.method: s.baseline for s in self.cells.values()}
        return {m: baseline[m] for m in (self.ordered(self.metrics[0]) if self.metrics else baseline)}

    def ordered(self, metric: str) -> list[str]:
        """Return all methods, best first by their mean under a metric, those without one last."""
        sign = -1 if self.study.table.higher_is_better[metric] else 1

        def key(method: str) -> float:
            cell = self.cells.get((method, metric))
            return math.inf if cell is None or cell.mean is None else sign * cell.mean

        return sorted(dict.fromkeys(s.method for s in self.cells.values()), key=key)

    @cached_property
    def samples(self) -> list[str]:
        """Names in the order of the table."""
        return list(dict.fromkeys(row.sample for row in self.study.table.rows))

    @cached_property
    def values(self) -> dict[tuple[str, str], NDArray[np.float64]]:
        """By metric and method, one value a sample, NaN where there is none."""
        place = {name: i for i, name in enumerate(self.samples)}
        found: dict[tuple[str, str], NDArray[np.float64]] = {}
        for row in self.study.table.rows:
            key = (row.metric, row.method)
            if key not in found:
                found[key] = np.full(len(place), np.nan)
            found[key][place[row.sample]] = row.value
        return found

    @cached_property
    def reliability(self) -> dict[str, Reliability]:
        """By metric; those with too little to compare are missing."""
        found = {}
        for metric in self.metrics:
            try:
                found[metric] = metric_reliability(self.study.table, metric)[0]
            except BadInput:
                continue
        return found

    def higher(self, metric: str) -> bool:
        """Return the direction of a metric."""
        return self.study.table.higher_is_better[metric]


def plain(label: str) -> str:
    """Return a label as words: `average_drop` becomes `average drop`."""
    return label.replace("_", " ")
