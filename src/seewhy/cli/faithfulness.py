"""Metrics on the command line: their names, and their tables in text and JSON."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from seewhy.cli.output import print_table
from seewhy.errors import BadInput

if TYPE_CHECKING:
    from seewhy.attribution import Attribution
    from seewhy.cli.options import RunOptions
    from seewhy.cli.progress import Reporter
    from seewhy.metrics.base import Metric
    from seewhy.metrics.meta import Reliability
    from seewhy.metrics.meta.reliability import Estimate
    from seewhy.metrics.table import Summary, Table
    from seewhy.models.model import Model
    from seewhy.types import Json, Masks


def named_metrics(names: str, steps: int | None = None, *, masks: bool = False) -> list[Metric]:
    """Return the metrics that a comma-separated list names, with `steps` where they have such a parameter.

    A name may say parameters, `average_drop?keep=15`. `masks` says whether there are masks of the evidence to
    compare with.

    Raises
    ------
    UnknownName, BadInput
        For a metric that does not exist, or none, or one that compares with a truth that there is not.
    """
    from seewhy.metrics import METRICS
    from seewhy.metrics.truth import TRUTHS, needed
    from seewhy.metrics.variants import metric_of

    given = {} if steps is None else {"steps": steps}
    chosen = [metric_of(name, **given) for name in split(names)]
    if not chosen:
        raise BadInput("Asked to evaluate", "No metric is named", f"Choose from {', '.join(METRICS.names())}")
    for metric in chosen:
        need = needed(metric)
        if need is not None and not masks:
            given_as = {"truth": "masks", "fixations": "fixations", "density": "densities"}[need]
            raise BadInput(
                f"Asked for {metric.name}",
                f"It compares maps with {TRUTHS[need].against}, and no {given_as} were given",
                f"Run `seewhy evaluate` with --truth FOLDER, one image of {given_as} a photo",
            )
    needs = list(dict.fromkeys(need for metric in chosen if (need := needed(metric)) is not None))
    if len(needs) > 1:
        raise BadInput(
            f"Asked for {', '.join(m.name for m in chosen if needed(m))}",
            f"They compare maps with {' and '.join(TRUTHS[need].against for need in needs)}",
            "Evaluate apart, each with its own --truth FOLDER",
        )
    if masks and not needs:
        raise BadInput(
            "Asked to compare maps with masks",
            f"Nothing among {', '.join(m.name for m in chosen)} does that",
            "Name such a metric, as in --metrics pointing_game,energy_pointing_game",
        )
    return chosen


def split(names: str) -> list[str]:
    """Return the names of a comma-separated list, each once."""
    return list(dict.fromkeys(name for part in names.split(",") if (name := part.strip())))


def measured(
    network: Model,
    inputs: Mapping[str, tuple[Any, Sequence[Attribution]]],
    metrics: Sequence[Metric],
    run: RunOptions,
    report: Reporter,
    target: str | None = None,
    truth: Mapping[str, Masks] | None = None,
) -> Table:
    """Score the maps of one input after the other, baselines included, and return one table over all.

    Parameters
    ----------
    inputs
        Name to what `Model.prepare` takes and the maps that explain it.
    target
        The score; by default the one that was explained.
    truth
        Name to the mask of the evidence, `(1, *size)`.
    """
    from seewhy.metrics.evaluation import evaluate
    from seewhy.metrics.table import Table
    from seewhy.metrics.variants import labels

    rows: list[Any] = []
    for i, (name, (source, maps)) in enumerate(inputs.items()):
        report.item(i, len(inputs), f"{', '.join(m.name for m in metrics)} of {name}")
        part = evaluate(
            network,
            source,
            maps,
            metrics,
            target,
            truth=truth[name] if truth is not None else None,
            seed=run.seed,
            batch_size=run.batch_size,
            precision=run.precision,
            compiled=run.compiled,
            progress=report.progress,
        )
        rows.extend(part)
    directions = zip(labels(metrics), metrics, strict=True)
    return Table(tuple(rows), {label: metric.higher_is_better for label, metric in directions})


def table_json(table: Table) -> list[Json]:
    """Return one object a method or baseline: its name and, for each metric, the mean with its interval."""
    entries: dict[str, Json] = {}
    for s in table.mean():
        entry = entries.setdefault(s.method, {"name": s.method, "baseline": s.baseline, "metrics": {}})
        entry["metrics"][s.metric] = {
            "mean": s.mean,
            "interval": [s.low, s.high] if s.low is not None else None,
            "samples": s.samples,
            "undefined": s.undefined,
            "higher_is_better": table.higher_is_better[s.metric],
        }
    return list(entries.values())


def print_scores(table: Table, title: str = "") -> None:
    """Print the means, methods first and baselines below; then which metrics can be believed there."""
    found = {(s.method, s.metric): s for s in table.mean()}
    methods: dict[str, bool] = {s.method: s.baseline for s in found.values()}
    columns = [
        f"{metric}, {'higher' if higher else 'lower'} is better"
        for metric, higher in table.higher_is_better.items()
    ]
    print_table(
        ("map", *columns),
        [
            (
                f"{name} (baseline)" if baseline else name,
                *(_mean(found.get((name, m))) for m in table.higher_is_better),
            )
            for name, baseline in sorted(methods.items(), key=lambda item: item[1])
        ],
        title=title,
    )
    for metric in reliabilities(table):
        print(metric)


def reliabilities(table: Table) -> list[Reliability]:
    """Return how far each metric can be believed, without those that have too little to compare."""
    from seewhy.metrics.meta import metric_reliability

    known = []
    for metric in table.higher_is_better:
        with contextlib.suppress(BadInput):
            known += metric_reliability(table, metric)
    return known


def reliability_json(table: Table) -> list[Json]:
    """Return one object a metric: the verdict and the numbers behind it, as plain JSON."""
    from seewhy.metrics.meta.outcomes import RANDOM

    return [
        {
            "metric": found.metric,
            "verdict": found.verdict,
            "samples": found.samples,
            "alpha": _estimate(found.alpha),
            "agreement": _estimate(found.agreement),
            "krippendorff": None if math.isnan(found.krippendorff) else found.krippendorff,
            "repeatable": found.repeatable,
            "random_place": _estimate(found.random_place),
            "random_last": found.random_last,
            "places": {method: list(places) for method, places in found.places.items()},
            "not_above_random": [m for m in found.methods if m not in (*found.above_random, RANDOM)],
        }
        for found in reliabilities(table)
    ]


def _estimate(found: Estimate | None) -> Json | None:
    return None if found is None or math.isnan(found.value) else asdict(found)


def beats(table: Table) -> dict[str, list[str]]:
    """Return, for each method, the metrics under which its mean beats the best baseline's."""
    means: dict[str, Sequence[Summary]] = {
        metric: [s for s in table.mean() if s.metric == metric and s.mean is not None]
        for metric in table.higher_is_better
    }
    won: dict[str, list[str]] = {s.method: [] for s in table.mean() if not s.baseline}
    for metric, summaries in means.items():
        sign = 1 if table.higher_is_better[metric] else -1
        bar = max((sign * (s.mean or 0.0) for s in summaries if s.baseline), default=float("inf"))
        for s in summaries:
            if not s.baseline and sign * (s.mean or 0.0) > bar:
                won[s.method].append(metric)
    return won


def _mean(summary: Summary | None) -> str:
    if summary is None or summary.mean is None:
        return "undefined"
    interval = f" [{summary.low:.3f}, {summary.high:.3f}]" if summary.low is not None else ""
    return f"{summary.mean:.3f}{interval}" + (
        f" ({summary.undefined} undefined)" if summary.undefined else ""
    )
