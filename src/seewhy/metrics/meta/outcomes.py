"""One metric of a table as a matrix: samples down, methods across, complete cases only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from seewhy.errors import BadInput, UnknownName
from seewhy.metrics.meta.ranking import ranks

if TYPE_CHECKING:
    from seewhy.metrics.table import Table

RANDOM = "random"
"""The baseline that knows nothing at all."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What one metric said of several methods on the same samples.

    Parameters
    ----------
    metric
        Its name.
    higher_is_better
        Its direction.
    methods
        Columns, in the order of the table.
    baselines
        Those of them that are baselines.
    samples
        Rows: the samples on which the metric is defined for every column.
    values
        `(samples, methods)` float64.
    left_out
        How many samples are missing because some method has no value there.
    dropped
        Methods without a value on more than half of the samples: they would cost too many rows.
    """

    metric: str
    higher_is_better: bool
    methods: tuple[str, ...]
    baselines: frozenset[str]
    samples: tuple[str, ...]
    values: Tensor
    left_out: int
    dropped: tuple[str, ...]

    @property
    def goodness(self) -> Tensor:
        """The values, turned so that more is better."""
        return self.values if self.higher_is_better else -self.values

    def places(self) -> Tensor:
        """Return `(samples, methods)` places within each sample: 1 the best, equal ones share their mean."""
        return ranks(-self.goodness)


def outcomes(
    table: Table, metric: str, methods: Sequence[str] | None = None, *, others: bool = False
) -> Outcomes:
    """Return one metric of a table as a matrix.

    Parameters
    ----------
    table
        Of an evaluation.
    metric
        Its name.
    methods
        Columns; by default every method of the table, and the random map where it is there.
    others
        Whether the default holds the other baselines, too.

    Raises
    ------
    UnknownName
        For a metric that the table does not have.
    BadInput
        When fewer than two methods or two samples are left: nothing to compare.
    """
    if metric not in table.higher_is_better:
        raise UnknownName("metric in this table", metric, list(table.higher_is_better))
    rows = [row for row in table.rows if row.metric == metric]
    known = {row.method: row.baseline for row in rows}
    if methods is None:
        methods = [m for m, baseline in known.items() if others or not baseline or m == RANDOM]
    column = {m: j for j, m in enumerate(methods)}
    line: dict[str, int] = {}
    for row in rows:
        line.setdefault(row.sample, len(line))
    flat = [math.nan] * (len(line) * len(column))
    for row in rows:
        if row.method in column:
            flat[line[row.sample] * len(column) + column[row.method]] = row.value
    values = torch.tensor(flat, dtype=torch.float64).reshape(len(line), len(column))
    # Infinities have an order but no mean: no row with one is complete.
    defined = values.isfinite()
    often = defined.double().mean(0) >= 0.5 if len(line) else torch.zeros(len(column), dtype=torch.bool)
    complete = defined[:, often].all(1)
    kept = tuple(m for m, j in column.items() if bool(often[j]))
    if len(kept) < 2 or int(complete.sum()) < 2:
        raise BadInput(
            f"Asked whether {metric} tells methods apart",
            f"It has values for {len(kept)} methods together on {int(complete.sum())} samples",
            "Evaluate at least two methods (or one and the baselines) on at least two samples",
        )
    return Outcomes(
        metric,
        table.higher_is_better[metric],
        kept,
        frozenset(m for m in kept if known.get(m)),
        tuple(s for s, i in line.items() if bool(complete[i])),
        values[complete][:, often],
        len(line) - int(complete.sum()),
        tuple(m for m in column if m not in kept),
    )
