"""Means over classes: each class counts alike, however many samples it has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

import torch

from seewhy.metrics.table import Row, Summary, Table, resampled


def class_means(table: Table, classes: Mapping[str, str], seed: int = 0) -> list[Summary]:
    """Return the mean over classes of the mean of each class, of every method under every metric.

    So the published pointing game counts: hits of a class by its samples, then averaged over the classes.

    Parameters
    ----------
    classes
        By the name of a sample its class; samples that are not named there are left out.
    seed
        Draws the resamples of the interval, within each class. It is None where no class has two samples.
    """
    groups: dict[tuple[str, str, bool], list[Row]] = {}
    for row in table:
        if row.sample in classes:
            groups.setdefault((row.method, row.metric, row.baseline), []).append(row)
    return [_summary(rows, classes, seed) for rows in groups.values()]


def _summary(rows: list[Row], classes: Mapping[str, str], seed: int) -> Summary:
    defined: dict[str, list[float]] = {}
    for row in rows:
        if not math.isnan(row.value):
            defined.setdefault(classes[row.sample], []).append(row.value)
    samples = sum(len(values) for values in defined.values())
    low = high = None
    if any(len(values) > 1 for values in defined.values()):
        generator = torch.Generator().manual_seed(seed)
        values = (torch.tensor(defined[c], dtype=torch.float64) for c in sorted(defined))
        drawn = torch.stack([resampled([each], generator)[0] for each in values]).mean(0)
        low, high = drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Summary(
        rows[0].method,
        rows[0].metric,
        fmean(fmean(values) for values in defined.values()) if defined else None,
        low,
        high,
        samples,
        len(rows) - samples,
        rows[0].baseline,
    )
