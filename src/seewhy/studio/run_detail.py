"""Behind one cell of a run: how its samples are spread, which went worst, and their photos."""

from __future__ import annotations

import math
import shlex
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seewhy.errors import UnknownName
from seewhy.report.leaderboard_data import Board
from seewhy.studio.found import Below
from seewhy.studio.refusals import Refused
from seewhy.studio.schema_runs import Distribution, RunDetail, RunSample

BINS, SINGLY, SHOWN = 40, 300, 12
"""Bars of a histogram; up to how many samples every value is sent; samples at either end."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def detail_of(board: Board, metric: str, method: str, compared: str, below: Below) -> RunDetail:
    """Return the distributions of one or two methods, and the samples at the ends of the first one's.

    Parameters
    ----------
    board
        Of the run.
    metric, method
        Labels.
    compared
        Label of another method, or "".
    below
        Lets paths pass that may be read.

    Raises
    ------
    UnknownName
        For a metric or method that the run does not have.
    """
    if metric not in board.metrics:
        raise UnknownName("metric of this run", metric, board.metrics)
    for label in (method, compared) if compared else (method,):
        if label not in board.methods:
            raise UnknownName("method of this run", label, board.methods)
    both = {label: board.values[metric, label] for label in ((method, compared) if compared else (method,))}
    edges = _edges(list(both.values()))
    mine, higher = both[method], board.higher(metric)
    other = both.get(compared) if compared else None
    order = np.argsort(mine if higher else -mine, kind="stable")
    order = order[np.isfinite(mine[order])]
    facts = _facts(board)
    better = worse = None
    if other is not None:
        gain = (mine - other) * (1 if higher else -1)
        better, worse = int((gain > 0).sum()), int((gain < 0).sum())

    def sample(i: int) -> RunSample:
        name = board.samples[i]
        known = facts.get(name, {})
        photo = photo_of(board, name, below)
        against = None if other is None or not math.isfinite(other[i]) else float(other[i])
        return RunSample(
            sample=name,
            place=int(i),
            photo="" if photo is None else str(photo),
            value=float(mine[i]),
            against=against,
            target=str(known.get("target") or ""),
            index=known.get("index"),
            predicted=str(known.get("predicted") or ""),
            probability=known.get("probability"),
        )

    return RunDetail(
        metric=metric,
        method=method,
        compared=compared,
        edges=edges.tolist(),
        distributions=[distribution(label, values, edges) for label, values in both.items()],
        worst=[sample(i) for i in order[:SHOWN].tolist()],
        best=[sample(i) for i in order[::-1][:SHOWN].tolist()],
        better=better,
        worse=worse,
        command=_command(board, method),
    )


def distribution(label: str, values: NDArray[np.float64], edges: NDArray[np.float64]) -> Distribution:
    """Return what a page needs to draw `(n,)` values; those that are NaN or infinite count as undefined."""
    known = np.sort(values[np.isfinite(values)])
    return Distribution(
        method=label,
        count=len(known),
        undefined=len(values) - len(known),
        mean=float(known.mean()) if len(known) else None,
        quantiles=np.quantile(known, QUANTILES).tolist() if len(known) else [],
        bins=np.histogram(known, edges)[0].tolist(),
        values=known.tolist() if len(known) <= SINGLY else [],
    )


def photo_of(board: Board, sample: str, below: Below) -> Path | None:
    """Return where a sample's photo lies; None where it is none, or lies outside what may be read."""
    head = board.study.plan.data.partition("?")[0]
    places = [head] if Path(head).exists() else [head, head.partition(":")[2]]
    for place in places:
        where = Path(place)
        for path in (where / sample, where.parent / sample):
            try:
                allowed = below(str(path))
            except Refused:
                continue
            if allowed.is_file():
                return allowed
    return None


def _edges(columns: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    known = np.concatenate([c[np.isfinite(c)] for c in columns])
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


@lru_cache(maxsize=4)
def _facts(board: Board) -> dict[str, Any]:
    """Return the model's answer to each sample, by name; {} before the run is finished."""
    samples = getattr(board.study, "samples", None)
    return {line["sample"]: line for line in samples()} if samples else {}


def _command(board: Board, method: str) -> str:
    plan = board.study.plan
    chosen = {c.label: c for c in plan.methods}.get(method)
    if chosen is None:
        return ""
    flags = [
        part
        for key, value in chosen.parameters.items()
        for part in (f"--{key.replace('_', '-')}", str(value))
    ]
    parts = ["seewhy", "explain", "{photo}", "--method", chosen.name, *flags, "--target", "{target}"]
    parts += ["--model", plan.model, "--seed", str(plan.seed), "--precision", plan.precision]
    return " ".join(p if p.startswith("{") else shlex.quote(p) for p in parts)
