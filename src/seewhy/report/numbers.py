"""What the report reads of an evaluation: means with intervals, and curves; dataclasses or dicts alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seewhy.errors import BadInput
from seewhy.metrics.base import METRICS
from seewhy.metrics.table import Table
from seewhy.metrics.variants import class_of
from seewhy.show.curves import Curve


@dataclass(frozen=True)
class Mean:
    """One cell of the table of faithfulness.

    Parameters
    ----------
    method, metric
        Their names.
    mean
        Over the samples.
    low, high
        Ends of the 95 % interval; None where there is none.
    n
        Number of samples; 0 where unknown.
    baseline
        Whether the method is a baseline (random map, centre, edges).
    higher_is_better
        Direction of the metric; None where unknown.
    """

    method: str
    metric: str
    mean: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    baseline: bool = False
    higher_is_better: bool | None = None

    def apart(self, other: Mean) -> bool:
        """Return whether the two intervals do not overlap; False where one is missing."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return False
        return self.low > other.high or self.high < other.low

    def better(self, other: Mean) -> bool:
        """Return whether this mean is better in the metric's direction; False where that is unknown."""
        if self.higher_is_better is None:
            return False
        return self.mean > other.mean if self.higher_is_better else self.mean < other.mean


@dataclass(frozen=True)
class Plot:
    """The curves of one metric, each a line; see `seewhy.show.Curve`."""

    metric: str
    curves: Sequence[Curve]
    across: str = "fraction of the input edited"
    up: str = "score"


def plots(table: Any) -> list[Plot]:
    """Return one plot a metric of the mean curves in a table of `seewhy.evaluate`; none of anything else."""
    if not isinstance(table, Table):
        return []
    areas = {(s.method, s.metric): s.mean for s in table.mean()}
    by_metric: dict[str, list[Curve]] = {}
    for c in table.curves():
        note = f"{class_of(c.metric).summary} {areas[c.method, c.metric]:.3f}"
        line = Curve(c.method, c.at, c.scores, baseline=c.baseline, note=note)
        by_metric.setdefault(c.metric, []).append(line)
    return [
        Plot(metric, curves, class_of(metric).along, class_of(metric).up)
        for metric, curves in by_metric.items()
    ]


def means(table: Any) -> list[Mean]:
    """Return the means of a table.

    Parameters
    ----------
    table
        None; what `seewhy.evaluate` returns, or its JSON; or any object or mapping with `means` (a list, or a
        function that gives it) or `rows`; or a sequence of lines. A line is a mapping or an object with the
        names of `Mean` (`samples` may stand for `n`), or of one measurement: method, metric, value. Lines
        whose number is missing or NaN are left out.

    Raises
    ------
    BadInput
        For a line without method, metric or number.
    """
    if table is None:
        return []
    lines: Any = table
    directions: Mapping[str, bool] = {}
    if not isinstance(table, list | tuple):
        found = (_field(table, name) for name in ("means", "mean", "rows"))
        lines = next((f for f in found if f is not None), None)
        directions = _field(table, "higher_is_better") or {}
    if callable(lines):
        lines = lines()
    if not isinstance(lines, Iterable):
        raise BadInput(
            "Asked for a report with a table",
            f"Found {type(table).__name__} without means or rows",
            "Give a list of lines with method, metric and mean",
        )
    return _averaged([line if isinstance(line, Mean) else _mean(line, directions) for line in lines])


def _mean(line: Any, directions: Mapping[str, bool]) -> Mean:
    method, metric = _field(line, "method"), _field(line, "metric")
    numbered = any(_has(line, name) for name in ("mean", "value"))
    if method is None or metric is None or not numbered:
        raise BadInput(
            "Asked for a report with a table",
            f"Found the line {line!r}",
            "Each line needs method, metric and mean (or value)",
        )
    value = _field(line, "mean") if _has(line, "mean") else _field(line, "value")
    low, high = _field(line, "low"), _field(line, "high")
    n = next((int(v) for v in (_field(line, "n"), _field(line, "samples")) if v is not None), 1)
    higher = _field(line, "higher_is_better")
    if higher is None:
        known = str(metric).partition("?")[0] in METRICS
        higher = directions.get(str(metric), class_of(str(metric)).higher_is_better if known else None)
    return Mean(
        str(method),
        str(metric),
        math.nan if value is None else float(value),
        None if low is None else float(low),
        None if high is None else float(high),
        n,
        bool(_field(line, "baseline")),
        higher,
    )


def _averaged(lines: Iterable[Mean]) -> list[Mean]:
    """Join the lines of one method and metric, as those of several samples are: without an interval."""
    groups: dict[tuple[str, str], list[Mean]] = {}
    for line in lines:
        if not math.isnan(line.mean):
            groups.setdefault((line.method, line.metric), []).append(line)
    return [
        group[0]
        if len(group) == 1
        else replace(
            group[0], mean=math.fsum(g.mean for g in group) / len(group), low=None, high=None, n=len(group)
        )
        for group in groups.values()
    ]


def _has(line: Any, name: str) -> bool:
    return name in line if isinstance(line, Mapping) else hasattr(line, name)


def _field(line: Any, name: str) -> Any:
    return line.get(name) if isinstance(line, Mapping) else getattr(line, name, None)
