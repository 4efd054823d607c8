"""A run at a glance, for the page: who did what under which metric, what it cost, what is still going on."""

from __future__ import annotations

import math
import shlex
from itertools import groupby
from pathlib import Path
from typing import Literal, TypeAlias

from seewhy.errors import UnreadableInput
from seewhy.metrics.meta.outcomes import RANDOM
from seewhy.metrics.meta.reliability import Reliability
from seewhy.report.leaderboard_data import Board, plain
from seewhy.report.leaderboard_parts import called
from seewhy.runs.study import open_study
from seewhy.studio.run_unfinished import Unfinished
from seewhy.studio.schema_runs import (
    CurveAxes,
    MethodPlace,
    MetricDoubt,
    RunBoard,
    RunCell,
    RunCurve,
    RunDoubts,
    RunFailure,
    RunMethod,
    RunMetric,
    RunProgress,
)

Told: TypeAlias = Literal["better", "worse", "not told apart", ""]
LISTED = 20
"""Places of failures named for each message."""


def finished(folder: Path) -> bool:
    """Return whether a run has written its results."""
    return (folder / "costs.parquet").is_file()


def open_board(folder: Path) -> Board:
    """Return what the leaderboard reads of a run, finished or going on.

    Raises
    ------
    UnreadableInput
        When the folder holds no run, or it cannot be read.
    MissingExtra
        When pyarrow is not installed.
    """
    if not (folder / "run.json").is_file() or not (folder / "plan.toml").is_file():
        raise UnreadableInput(
            f"Asked for the benchmark run in {folder}",
            "There is none",
            "Give a folder that `seewhy benchmark --out` wrote",
        )
    return Board(open_study(folder) if finished(folder) else Unfinished.read(folder))


def board_of(board: Board) -> RunBoard:
    """Return the standings."""
    study, facts, plan = board.study, board.study.facts, board.study.plan
    known = {
        "seewhy": facts.get("seewhy"),
        "torch": facts.get("torch"),
        "python": facts.get("python"),
    }
    return RunBoard(
        path=str(study.folder),
        name=study.folder.name,
        model=str(facts["model"]),
        weights_sha256=str(facts["weights_sha256"]),
        data=plan.data,
        target=plan.target,
        seed=plan.seed,
        samples=facts["samples"],
        progress=_progress(study) if isinstance(study, Unfinished) else None,
        metrics=[_metric(board, label) for label in board.metrics],
        methods=[_method(board, label, baseline) for label, baseline in board.methods.items()],
        cells=[
            RunCell(
                method=c.method,
                metric=c.metric,
                mean=_real(c.mean),
                low=_real(c.low),
                high=_real(c.high),
                samples=c.samples,
                undefined=c.undefined,
            )
            for c in board.cells.values()
        ],
        left_out={k: str(v) for k, v in facts.get("left_out", {}).items()},
        versions={k: str(v) for k, v in known.items() if v is not None},
        command=f"seewhy benchmark {shlex.quote(str(study.folder / 'plan.toml'))} --out NEW-FOLDER",
        plan=plan.to_toml(),
    )


def doubts_of(board: Board) -> RunDoubts:
    """Return what a reader must know: metrics that cannot be believed, curves, failures."""
    curves = [
        RunCurve(method=c.method, metric=c.metric, at=list(c.at), scores=list(c.scores), baseline=c.baseline)
        for c in board.study.curves
    ]
    drawn = {c.metric for c in curves}
    return RunDoubts(
        metrics=[_doubt(board, metric) for metric in board.metrics],
        curves=curves,
        axes=[
            CurveAxes(metric=m, along=board.kinds[m].along, up=board.kinds[m].up)
            if m in board.kinds
            else CurveAxes(metric=m, along="along the way", up="score")
            for m in board.metrics
            if m in drawn
        ],
        failures=_failures(board),
    )


def _progress(study: Unfinished) -> RunProgress:
    return RunProgress(
        done=len(study.records),
        total=study.total,
        idle=study.idle,
        command=f"seewhy benchmark --out {shlex.quote(str(study.folder))} --resume",
    )


def _metric(board: Board, label: str) -> RunMetric:
    kind = board.kinds.get(label)
    return RunMetric(
        label=label,
        name=kind.name if kind else "",
        title=plain(label),
        higher_is_better=board.higher(label),
        summary=(kind.__doc__ or "").strip().partition("\n")[0] if kind else "",
    )


def _method(board: Board, label: str, baseline: bool) -> RunMethod:
    cost = board.study.costs.get(label)
    chosen = {c.label: c for c in board.study.plan.methods}.get(label)
    return RunMethod(
        label=label,
        name="" if baseline else board.names.get(label, label),
        title=called(board, label),
        baseline=baseline,
        parameters=dict(chosen.parameters) if chosen else {},
        seconds=cost.seconds if cost else None,
        forward=cost.forward if cost else None,
        backward=cost.backward if cost else None,
    )


def _doubt(board: Board, metric: str) -> MetricDoubt:
    found = board.reliability.get(metric)
    if found is None:
        return MetricDoubt(
            metric=metric,
            verdict="",
            claim=f"Too few samples or maps to say how far {plain(metric)} can be believed.",
            reasons=[],
            places=[],
            agreement=None,
            repeatable=None,
            random_last=None,
        )
    return MetricDoubt(
        metric=metric,
        verdict=found.verdict,
        claim=f"{plain(metric).capitalize()} {found.verdict} on these {found.samples:,} samples.",
        reasons=found.reasons(lambda m: called(board, m)),
        places=[
            MethodPlace(method=m, best=best, worst=worst, random=_against_random(board, found, m))
            for m, (best, worst) in found.places.items()
        ],
        agreement=_real(found.agreement.value),
        repeatable=_real(found.repeatable),
        random_last=_real(found.random_last),
    )


def _against_random(board: Board, found: Reliability, method: str) -> Told:
    if board.methods.get(method, True) or RANDOM not in found.methods or method not in found.methods:
        return ""
    if method in found.above_random:
        return "better"
    return "worse" if method in found.below_random else "not told apart"


def _failures(board: Board) -> list[RunFailure]:
    each = sorted(board.study.failures, key=lambda f: f.message)
    groups = [(message, list(found)) for message, found in groupby(each, key=lambda f: f.message)]
    return [
        RunFailure(
            message=message,
            count=len(found),
            where=[" · ".join(w for w in (f.sample, f.method, f.metric) if w) for f in found[:LISTED]],
        )
        for message, found in sorted(groups, key=lambda g: -len(g[1]))
    ]


def _real(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
