"""What the report reads of an evaluation: means with intervals, and curves; dataclasses or dicts alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.errors import BadInput
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


def means(table: Any) -> list[Mean]:
    """Return the means of a table.

    Parameters
    ----------
    table
        None; an object or mapping with `means`, or else `rows` (sample, method, metric, value); or a sequence
        of either kind of line. Lines are mappings or objects whose names are those of `Mean`.

    Raises
    ------
    BadInput
        For a line without method, metric and number.
    """
    if table is None:
        return []
    lines = table
    if not isinstance(table, list | tuple):
        found = _field(table, "means")
        lines = found if found is not None else _field(table, "rows")
    if callable(lines):
        lines = lines()
    if lines is None:
        raise BadInput(
            "Asked for a report with a table",
            f"Found {type(table).__name__} without means or rows",
            "Give a list of lines with method, metric and mean",
        )
    if isinstance(lines, Mapping):
        lines = lines.values()
    given = [line if isinstance(line, Mean) else _mean(line) for line in lines]
    return _averaged(given)


def _mean(line: Any) -> Mean:
    method, metric = _field(line, "method"), _field(line, "metric")
    value = next((v for v in (_field(line, "mean"), _field(line, "value")) if v is not None), None)
    if method is None or metric is None or value is None:
        raise BadInput(
            "Asked for a report with a table",
            f"Found the line {line!r}",
            "Each line needs method, metric and mean (or value)",
        )
    low, high = _field(line, "low"), _field(line, "high")
    n = _field(line, "n")
    return Mean(
        str(method),
        str(metric),
        float(value),
        None if low is None else float(low),
        None if high is None else float(high),
        1 if n is None else int(n),
        bool(_field(line, "baseline")),
        _field(line, "higher_is_better"),
    )


def _averaged(lines: Iterable[Mean]) -> list[Mean]:
    """Join the lines of one method and metric, as rows by sample are; they have no interval then."""
    groups: dict[tuple[str, str], list[Mean]] = {}
    for line in lines:
        groups.setdefault((line.method, line.metric), []).append(line)
    joined = []
    for (method, metric), group in groups.items():
        first = group[0]
        if len(group) == 1:
            joined.append(first)
            continue
        mean = sum(g.mean for g in group) / len(group)
        joined.append(
            Mean(method, metric, mean, None, None, len(group), first.baseline, first.higher_is_better)
        )
    return joined


def _field(line: Any, name: str) -> Any:
    return line.get(name) if isinstance(line, Mapping) else getattr(line, name, None)
