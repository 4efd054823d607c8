"""What a comparison found: its table, agreement of maps, remarks, the command that gives the same."""

from __future__ import annotations

import contextlib
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from seewhy.errors import BadInput
from seewhy.files import unique_names
from seewhy.studio.schema import Cell

if TYPE_CHECKING:
    from torch import Tensor

    from seewhy.metrics.base import Metric
    from seewhy.metrics.table import Row, Summary, Table

FOLDER = "seewhy-compare"
"""Where the command for several photos writes maps."""


@dataclass
class Compared:
    """Measurements of some methods on some photos.

    Parameters
    ----------
    photos
        Paths in the order of the request.
    metrics
        By which maps are measured.
    rows
        By method or baseline: one list of rows a photo.
    ranks
        By method: the rank vectors of its maps, one a photo.
    """

    photos: Sequence[Path]
    metrics: Sequence[Metric]
    rows: dict[str, list[list[Row]]] = field(default_factory=dict)
    ranks: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Add a measurement of the photo that comes next for its method."""
        each = self.rows.setdefault(row.method, [])
        if not each or any(r.metric == row.metric for r in each[-1]):
            each.append([])
        each[-1].append(row)

    def drop(self, method: str) -> None:
        """Forget a method."""
        self.rows.pop(method, None)
        self.ranks.pop(method, None)

    @property
    def baselines(self) -> list[str]:
        """Names of the baselines that are measured."""
        return [name for name, each in self.rows.items() if each[0][0].baseline]

    def table(self, methods: Sequence[str] | None = None) -> Table:
        """Return the rows of some methods, or of all, that are measured on every photo.

        Photos stand in the order in which `seewhy evaluate` reads their files: intervals depend on it.
        """
        from seewhy.metrics.table import Table

        names = unique_names(self.photos)
        order = sorted(range(len(names)), key=lambda i: f"{names[i]}.")
        wanted = [n for n in (methods or self.rows) if len(self.rows.get(n, ())) == len(names)]
        rows = (replace(r, sample=names[i]) for i in order for n in wanted for r in self.rows[n][i])
        return Table(tuple(rows), {m.name: m.higher_is_better for m in self.metrics})

    def cells(self, method: str) -> list[Cell]:
        """Return the line of the table of one method or baseline, one cell a metric."""
        means = {s.metric: s for s in self.table([method]).mean()}
        cells = []
        for metric, s in means.items():
            values = [next(r.value for r in photo if r.metric == metric) for photo in self.rows[method]]
            cells.append(
                Cell(
                    method=method,
                    metric=metric,
                    mean=s.mean,
                    low=s.low,
                    high=s.high,
                    values=[None if math.isnan(v) else v for v in values],
                    baseline=s.baseline,
                )
            )
        return cells

    def agreement(self) -> tuple[list[str], list[list[float | None]]]:
        """Return names and the mean rank correlation over photos of every pair of methods."""
        names = [n for n, each in self.ranks.items() if len(each) == len(self.photos)]
        return names, [[self._alike(a, b) for b in names] for a in names]

    def _alike(self, a: str, b: str) -> float | None:
        each = (float(p.double() @ q.double()) for p, q in zip(self.ranks[a], self.ranks[b], strict=True))
        known = [min(1.0, max(-1.0, v)) for v in each if not math.isnan(v)]
        if not known:
            return None
        return 1.0 if a == b else sum(known) / len(known)

    # -- in words ----------------------------------------------------------------------------------------

    def remarks(self, titles: Mapping[str, str]) -> list[str]:
        """Return what a reader of the table must know; `titles` says how to call methods."""
        table = self.table()
        if not table.rows:
            return []
        said = []
        if len(self.photos) == 1:
            said.append("One photo says nothing about others: there are no intervals.")
        means = table.mean()
        for metric in self.metrics:
            known = [s for s in means if s.metric == metric.name and s.mean is not None]
            doubts = _doubts(metric, known, titles)
            with contextlib.suppress(BadInput):  # too little to compare
                for found in table.reliability(metric.name):
                    doubts.append(f"Paired tests: it {found.verdict} on these {found.samples} photos.")
                    doubts += [found.shortage.replace("samples", "photos")] if found.shortage else []
            if doubts:
                said.append(f"{metric.title}: {' '.join(doubts)}")
        return said


def _doubts(metric: Metric, known: Sequence[Summary], titles: Mapping[str, str]) -> list[str]:
    """Return sentences about one column of a table."""
    sign = 1 if metric.higher_is_better else -1

    def good(s: Summary) -> float:
        return sign * (s.mean or 0.0)

    own = sorted((s for s in known if not s.baseline), key=good, reverse=True)
    said = []
    if len(own) > 1 and (tied := [s for s in own[1:] if _overlap(own[0], s)]):
        others = f"that of {titles[tied[0].method]}" if len(tied) == 1 else f"those of {len(tied)} others"
        said.append(
            f"{titles[own[0].method]} has the best mean, but its interval overlaps {others}: "
            "which of them is better is not settled."
        )
    bar = max((s for s in known if s.baseline), key=good, default=None)
    if bar is not None and (worse := [titles[s.method] for s in own if good(s) <= good(bar)]):
        said.append(f"Not better than the baseline {bar.method!r}: {', '.join(worse)}.")
    return said


def _overlap(a: Summary, b: Summary) -> bool:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return max(a.low, b.low) <= min(a.high, b.high)


# -- elsewhere -------------------------------------------------------------------------------------------


def command(
    photos: Sequence[Path],
    methods: Sequence[str],
    metrics: Sequence[str],
    *,
    spec: str,
    steps: int,
    target: str | None,
    seed: int,
    device: str | None,
) -> str:
    """Return the shell commands that give the same numbers.

    One photo is one `seewhy compare`; of several, the maps are written and then evaluated together.
    """
    run = ["--model", spec, "--precision", "fp32", "--seed", str(seed)]
    run += ["--device", device] if device is not None else []
    aim = ["--target", target] if target is not None else []
    measures = ["--metrics", ",".join(metrics), "--steps", str(steps)] if metrics else []
    files = [str(p) for p in photos]
    if len(files) == 1:
        names = ["--methods", ",".join(methods)]
        return shlex.join(["seewhy", "compare", *files, *names, *measures, *aim, *run])
    out = ["--out", FOLDER]
    lines = [["seewhy", "explain", *files, "--method", name, *aim, *run, *out] for name in methods]
    if metrics:
        lines.append(["seewhy", "evaluate", FOLDER, *measures, *run])
    return " &&\n".join(shlex.join(line) for line in lines)


def python(
    photos: Sequence[Path],
    methods: Sequence[str],
    metrics: Sequence[str],
    *,
    steps: int,
    target: str | None,
    seed: int,
) -> str:
    """Return Python that gives the same numbers with a model that no spec names."""
    aim = f", target={target!r}" if target is not None else ""
    lines = [
        "import seewhy",
        "model = ...  # the model that was given to seewhy.studio.show",
        f"photos = {[str(p) for p in photos]!r}",
        f'options = {{"seed": {seed}, "precision": "fp32"}}',
        f"maps = [seewhy.explain(model, photos, name{aim}, **options) for name in {list(methods)!r}]",
    ]
    if metrics:
        lines += [
            "from seewhy.metrics.variants import metric_of",
            f"metrics = [metric_of(name, steps={steps}) for name in {list(metrics)!r}]",
            "print(seewhy.evaluate(model, photos, maps, metrics, **options))",
        ]
    return "\n".join(lines)
