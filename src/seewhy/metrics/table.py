"""The table of an evaluation: rows, means with intervals, plain text, HTML and JSON."""

from __future__ import annotations

import contextlib
import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seewhy.errors import BadInput
from seewhy.types import Json

if TYPE_CHECKING:
    from seewhy.metrics.meta.reliability import Reliability

_RESAMPLES, _AT_ONCE = 2000, 200_000
_Key = tuple[str, str, bool]


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Parameters
    ----------
    sample
        Name of the input.
    method
        Name of the method or baseline.
    metric
        Name of the metric.
    value
        NaN where the metric is not defined for the map.
    baseline
        Whether `method` is a baseline that knows nothing of the model.
    at, curve
        Where the metric follows a curve: how far along, 0 to 1 (fractions of the input edited, say), and the
        score there.
    """

    sample: str
    method: str
    metric: str
    value: float
    baseline: bool = False
    at: tuple[float, ...] = ()
    curve: tuple[float, ...] = ()


@dataclass(frozen=True)
class Summary:
    """The mean of one method under one metric.

    Parameters
    ----------
    mean
        Over the samples for which the metric is defined; None without any.
    low, high
        95 % interval of the mean by bootstrap over samples; None for fewer than two.
    samples, undefined
        How many samples the mean is over, and how many were left out as undefined.
    """

    method: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    samples: int
    undefined: int
    baseline: bool


@dataclass(frozen=True)
class MeanCurve:
    """The mean score of one method along the way of one metric.

    Parameters
    ----------
    at
        How far along, 0 to 1, rising (see `Metric.along`).
    scores
        The mean over the samples for which the metric is defined, at each of them.
    """

    method: str
    metric: str
    at: tuple[float, ...]
    scores: tuple[float, ...]
    baseline: bool


@dataclass(frozen=True)
class Table:
    """What `evaluate` found.

    Parameters
    ----------
    rows
        All measurements, sample by sample.
    higher_is_better
        For each metric by name.
    provenance
        JSON-serialisable: model, targets, parameters of the metrics, what they noted, options of the run.
    """

    rows: tuple[Row, ...]
    higher_is_better: dict[str, bool]
    provenance: Json = field(default_factory=dict)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def mean(self, seed: int = 0) -> list[Summary]:
        """Return the mean of every method under every metric, in order; `seed` draws the resamples."""
        groups: dict[tuple[str, str, bool], list[float]] = {}
        for row in self.rows:
            groups.setdefault((row.method, row.metric, row.baseline), []).append(row.value)
        defined = {key: [v for v in values if not math.isnan(v)] for key, values in groups.items()}
        ends = _intervals(defined, seed)
        return [
            Summary(
                method,
                metric,
                fmean(values) if values else None,
                *ends[method, metric, baseline],
                len(values),
                len(groups[method, metric, baseline]) - len(values),
                baseline,
            )
            for (method, metric, baseline), values in defined.items()
        ]

    def reliability(self, metric: str | None = None) -> list[Reliability]:
        """Return how far each metric can be believed here: see `seewhy.metrics.metric_reliability`."""
        from seewhy.metrics.meta.reliability import metric_reliability

        return metric_reliability(self, metric)

    def curves(self) -> list[MeanCurve]:
        """Return the mean curve of every method under every metric that follows one, in order.

        Samples whose curves have other steps than the first (photos of another size) are left out.
        """
        groups: dict[tuple[str, str, bool], list[Row]] = {}
        for row in self.rows:
            if row.curve and not math.isnan(row.value):
                groups.setdefault((row.method, row.metric, row.baseline), []).append(row)
        curves = []
        for (method, metric, baseline), rows in groups.items():
            at = rows[0].at
            steps = zip(*(row.curve for row in rows if row.at == at), strict=True)
            curves.append(MeanCurve(method, metric, at, tuple(fmean(scores) for scores in steps), baseline))
        return curves

    def to_json(self) -> Json:
        """Return rows, means and provenance as plain JSON; undefined values are null."""
        rows = [{**asdict(row), "value": None if math.isnan(row.value) else row.value} for row in self.rows]
        means = [asdict(summary) for summary in self.mean()]
        return {
            "rows": rows,
            "means": means,
            "higher_is_better": self.higher_is_better,
            "provenance": self.provenance,
        }

    def __str__(self) -> str:
        head, body = self._cells()
        widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in (head, *body)
        ]
        return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:], "", self._caption()])

    def _repr_html_(self) -> str:
        head, body = self._cells()
        first = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
        rest = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in body
        )
        return (
            f"<table><caption>{html.escape(self._caption())}</caption><thead><tr>{first}</tr></thead>"
            f"<tbody>{rest}</tbody></table>"
        )

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Return the head and one line a method: the mean and interval under each metric."""
        metrics = list(self.higher_is_better)
        found = {(s.method, s.metric): s for s in self.mean()}
        methods = {row.method: row.baseline for row in self.rows}
        head = [
            "method",
            *(f"{m} ({'higher' if self.higher_is_better[m] else 'lower'} is better)" for m in metrics),
        ]
        body = [
            [f"{name} (baseline)" if baseline else name, *(_shown(found.get((name, m))) for m in metrics)]
            for name, baseline in methods.items()
        ]
        return head, body

    def _caption(self) -> str:
        samples = len({row.sample for row in self.rows})
        if samples < 2:
            return "One sample; no interval can be told from it."
        told = [f"Mean over {samples} samples [95 % bootstrap interval over samples]."]
        for metric in self.higher_is_better:
            with contextlib.suppress(BadInput):  # too little to compare
                told += [found.claim for found in self.reliability(metric)]
        return "\n".join(told)


def _intervals(
    columns: Mapping[_Key, Sequence[float]], seed: int
) -> dict[_Key, tuple[float | None, float | None]]:
    """Return the ends of the 95 % bootstrap interval of each mean; None for fewer than two values."""
    by_count: dict[int, list[_Key]] = {}
    for key, values in columns.items():
        by_count.setdefault(len(values), []).append(key)
    ends: dict[_Key, tuple[float | None, float | None]] = {}
    for n, keys in by_count.items():
        if n < 2:
            ends |= dict.fromkeys(keys, (None, None))
            continue
        # The same resamples of samples for every method: their intervals differ by the maps, not by luck.
        tensors = [torch.tensor(columns[key], dtype=torch.float64) for key in keys]
        means = resampled(tensors, torch.Generator().manual_seed(seed))
        for key, each in zip(keys, means, strict=True):
            low, high = each.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
            ends[key] = (low, high)
    return ends


def resampled(columns: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Return the `(2000,)` means of each of some columns, `(n,)` all of them, over resamples of the rows."""
    n = len(columns[0])
    means = torch.empty(len(columns), _RESAMPLES, dtype=columns[0].dtype)
    step = min(_RESAMPLES, max(1, _AT_ONCE // n))
    # One buffer for all: small results between large blocks that come and go would pin those in memory.
    draws, drawn = torch.empty(step, n, dtype=torch.int64), torch.empty(step, n, dtype=columns[0].dtype)
    for start in range(0, _RESAMPLES, step):
        count = min(step, _RESAMPLES - start)
        torch.randint(n, (count, n), generator=generator, out=draws[:count])
        for each, column in zip(means, columns, strict=True):
            torch.take(column, draws[:count], out=drawn[:count])
            torch.mean(drawn[:count], 1, out=each[start : start + count])
    return list(means)


def _shown(summary: Summary | None) -> str:
    if summary is None or summary.mean is None:
        return "undefined"
    interval = "" if summary.low is None else f" [{summary.low:.3f}, {summary.high:.3f}]"
    left_out = f" ({summary.undefined} undefined)" if summary.undefined else ""
    return f"{summary.mean:.3f}{interval}{left_out}"
