"""`seewhy benchmark`: methods by metrics on many samples, interrupted and resumed at will."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from seewhy.cli.faithfulness import print_scores, reliability_json, table_json
from seewhy.cli.options import DEFAULT_METRICS, DEFAULT_MODEL, AsJson
from seewhy.cli.output import note, print_json, print_table
from seewhy.errors import BadInput

if TYPE_CHECKING:
    from rich.progress import Task

    from seewhy.execution import Progress
    from seewhy.runs.engine import Engine
    from seewhy.runs.study import Study

DEFAULT_FOLDER = Path("seewhy-benchmark")
SHOWN = 5
"""Failures that are printed; all are in the leaderboard."""


def benchmark(
    plan: Path | None = None,
    *,
    model: str | None = None,
    data: str | None = None,
    methods: str | None = None,
    metrics: str | None = None,
    target: str | None = None,
    samples: int | None = None,
    seed: int | None = None,
    precision: Literal["fp32", "fp16", "bf16"] | None = None,
    device: str | None = None,
    chunk: int | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    keep_maps: Literal["none", "worst", "all"] | None = None,
    out: Path = DEFAULT_FOLDER,
    resume: Annotated[bool, Parameter(negative=())] = False,
    skip_unfit: Annotated[bool, Parameter(negative=())] = False,
    engine: str = "local",
    workers: int | None = None,
    ray_address: str | None = None,
    as_json: AsJson = False,
) -> None:
    """Measure many methods by many metrics on many samples, interrupted and resumed at will.

    The run folder holds every finished unit. Whatever stops the run, the same command goes on where it was,
    and ends with the same table, bit for bit. Baselines that know nothing of the model are always in it.

    Parameters
    ----------
    plan
        TOML file with the options below as keys; flags take precedence.
    model
        Spec of the model, as for `explain`; efficientnet-lite0 when left out. FILE.py:FUNCTION, which runs
        that file, must be given here and not in the plan alone.
    data
        Folder of photos, or KIND:WHERE?key=value.
    methods
        Names separated by commas, each as NAME?parameter=value&parameter=value where it needs some.
    metrics
        The same; deletion,insertion when left out.
    target
        For which score: the model's own answer to each sample when left out; "truth" for each sample's own
        class, or one class index, label or "A vs B" for all.
    samples
        How many, from the first; all when left out.
    seed
        Seed of everything random.
    precision
        Arithmetic of forward-only passes; fp32 when left out.
    device
        cpu; cuda for every accelerator of this machine; cuda:1.
    chunk
        Samples that go through a method or metric together; 8 when left out.
    batch_size
        Model inputs a forward pass; chosen by itself when left out.
    threads
        Threads of one worker; 1 when left out.
    keep_maps
        Which maps stay in the folder: none, all, or the worst ones of each method and metric.
    out
        The run folder; made when missing.
    resume
        Go on with the run in that folder; its plan need not be given again.
    skip_unfit
        Leave out methods and metrics that do not fit the model or the data, instead of refusing.
    engine
        Where the work is done: local (processes of this machine), ray (a Ray cluster) or here (this process).
    workers
        How many; as many as there is room for when left out.
    ray_address
        host:port of a running Ray cluster, or auto; when left out, one is started here and stopped again.
    """
    from seewhy.runs.plan import read_toml
    from seewhy.runs.run import benchmark as run

    given = {
        "model": model, "data": data, "methods": methods, "metrics": metrics, "target": target,
        "samples": samples, "seed": seed, "precision": precision, "device": device, "chunk": chunk,
        "batch_size": batch_size, "threads": threads, "keep_maps": keep_maps,
    }  # fmt: skip
    keys: dict[str, Any] = {"model": DEFAULT_MODEL, "metrics": DEFAULT_METRICS}
    if resume:
        if not (out / "plan.toml").is_file():
            raise BadInput(f"Asked to go on with the run in {out}", "There is none", "Leave --resume out")
        keys = read_toml(out / "plan.toml")
    if plan is not None:
        keys |= read_toml(plan)
    keys |= {key: value for key, value in given.items() if value is not None}
    chosen = _engine(engine, workers=workers, address=ray_address)
    with _bar() as progress:
        study = run(
            out=out,
            engine=chosen,
            skip_unfit=skip_unfit,
            allow_code=model is not None,
            progress=progress,
            **keys,
        )
    _show(study, as_json=as_json)


def _engine(name: str, **given: int | str | None) -> Engine:
    from seewhy.runs.engine import ENGINES

    cls = ENGINES[name]
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    keywords = {key: value for key, value in given.items() if value is not None}
    for key, value in keywords.items():
        if key not in known:
            raise BadInput(
                f"Asked for {value} {key}", f"The engine {name!r} has none", f"Leave the {key} out"
            )
    return cls(**keywords)


def _show(study: Study, *, as_json: bool) -> None:
    left_out: dict[str, str] = study.facts["left_out"]
    page = study.folder / "leaderboard.html"
    if as_json:
        print_json(
            {
                "model": study.facts["model"],
                "data": study.plan.data,
                "samples": study.facts["samples"],
                "out": str(study.folder),
                "leaderboard": str(page),
                "methods": table_json(study.table),
                "reliability": reliability_json(study.table),
                "costs": {label: vars(cost) for label, cost in study.costs.items()},
                "failures": [vars(failure) for failure in study.failures],
                "left_out": left_out,
                "skipped": study.facts["skipped"],
            }
        )
        return
    skipped: dict[str, int] = study.facts["skipped"]
    if skipped:
        which = ", ".join(f"{category} ({count})" for category, count in skipped.items())
        note(f"samples whose category is no class of the model are left out: {which}")
    for label, why in left_out.items():
        note(f"{label} is left out: {why}")
    for failure in study.failures[:SHOWN]:
        where = "".join(f", {part}" for part in (failure.method, failure.metric) if part)
        note(f"{failure.sample}{where}: {failure.message}")
    if len(study.failures) > SHOWN:
        note(f"and {len(study.failures) - SHOWN} more failures, which the leaderboard lists")
    print_scores(
        study.table, f"{study.facts['samples']} samples of {study.plan.data} on {study.facts['model']}"
    )
    print_table(
        ("method", "seconds a sample", "forward", "backward"),
        [(m, f"{c.seconds:.3f}", f"{c.forward:g}", f"{c.backward:g}") for m, c in study.costs.items()],
    )
    print(page)


@contextlib.contextmanager
def _bar() -> Iterator[Progress | None]:
    """Give a progress callback: a bar with rate and time left where stderr is a terminal, else None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Rate(ProgressColumn):
        """Units a second."""

        def render(self, task: Task) -> Text:
            """Return the rate, empty until it is known."""
            return Text(f"{task.speed:.1f} units/s" if task.speed else "")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=120) as bars:
        ids: list[Any] = []

        def show(done: int, total: int, what: str) -> None:
            if not ids:  # what an earlier session did says nothing of the rate
                ids.append(bars.add_task(what, total=total, completed=done))
            bars.update(ids[0], completed=done)

        yield show
