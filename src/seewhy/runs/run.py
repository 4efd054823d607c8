"""Work a plan off: hand out what is still to do, record what is finished, survive whatever ends it."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from seewhy.errors import BadInput, Cancelled, DoesNotFit
from seewhy.execution import Progress
from seewhy.files import write_atomically
from seewhy.inputs.datasets import Dataset
from seewhy.models.loading import load
from seewhy.runs import checks
from seewhy.runs.engine import Engine, Lost
from seewhy.runs.folder import RunFolder, check_folder, read_facts
from seewhy.runs.kept import KeptMaps
from seewhy.runs.local_engine import Local
from seewhy.runs.plan import Plan
from seewhy.runs.results import arrow, write_results
from seewhy.runs.samples import samples_of
from seewhy.runs.study import Study, open_study
from seewhy.runs.units import Record, Task, Unit, units_of
from seewhy.types import Json

_DEATHS = 2
"""Workers that may die on one unit before it is given up."""


def benchmark(
    plan: Plan | str | Path | None = None,
    out: str | Path = "seewhy-benchmark",
    *,
    engine: Engine | None = None,
    skip_unfit: bool = False,
    allow_code: bool = False,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    **keys: Any,
) -> Study:
    """Measure methods by metrics on many samples, into a folder from which an interrupted run goes on.

    Parameters
    ----------
    plan
        A `Plan`, or a TOML file of one; None takes the keywords.
    out
        The run folder. One in which this plan was begun is gone on with: nothing that is finished is done
        again.
    engine
        Where the work is done; None: the processes of this machine.
    skip_unfit
        Leave out methods and metrics that do not fit the model or the data, instead of refusing.
    allow_code
        Let a model `FILE.py:FUNCTION` execute the file, here and in the workers.
    progress
        Receives (units done, units in all, what).
    cancelled
        Asked after every unit; the run stops with `Cancelled` when it answers true.
    **keys
        Fields of `Plan`, in place of those of the file.

    Returns
    -------
    Study
        Its table, curves, costs, failures and maps; the folder holds `leaderboard.html`, too.

    Raises
    ------
    BadInput
        Before anything begins: when something does not exist or fit, or the folder holds another run.
    Cancelled
        When it was interrupted. What is finished is kept.
    """
    arrow()
    plan = _plan(plan, keys)
    out = Path(out)
    begun = check_folder(out, plan)
    with contextlib.redirect_stdout(sys.stderr):  # what a model's own code prints is no result
        model = load(plan.model, allow_code=allow_code)
    data = samples_of(plan, model)
    count = min(len(data), plan.samples or len(data))
    facts = checks.rests_on(plan, model, data, count)
    if begun:
        facts["left_out"] = read_facts(out)["left_out"]
    else:
        facts["left_out"] = checks.unfit(plan, model, data)
        if not skip_unfit:
            checks.refuse(facts["left_out"], model)
    del model  # the workers have their own
    folder = RunFolder(out, plan, facts)
    try:
        run = Run(folder, _fitting(plan, facts["left_out"]), data, count)
        run.work(engine or Local(), progress, cancelled, allow_code=allow_code)
        run.finish()
    except KeyboardInterrupt as error:
        raise Cancelled(
            f"Stopped; {len(folder.journal)} finished units are kept in {out}. Run the same command to go on."
        ) from error
    finally:
        folder.close()
    study = open_study(out)
    from seewhy.report.leaderboard import page

    write_atomically(out / "leaderboard.html", page(study).encode())
    return study


class Run:
    """A plan being worked off.

    Parameters
    ----------
    folder
        The open run folder.
    plan
        The plan, without what does not fit.
    data
        The samples.
    count
        How many of them.
    """

    def __init__(self, folder: RunFolder, plan: Plan, data: Dataset, count: int) -> None:
        self.folder, self.plan, self.data = folder, plan, data
        self.chunks = [range(i, min(i + plan.chunk, count)) for i in range(0, count, plan.chunk)]
        self.methods = [choice.label for choice in plan.methods]
        self.metrics = [choice.label for choice in plan.metrics]
        higher = {choice.label: choice.metric().higher_is_better for choice in plan.metrics}
        self.kept = KeptMaps(folder, plan.keep_maps, data, plan.chunk, higher)
        self.total = len(self.chunks) * sum(1 for _ in self._units(0))
        self._open: dict[int, deque[Unit]] = {}
        """Of each task that is out: the units that have not come back."""

    def work(
        self,
        engine: Engine,
        progress: Progress | None = None,
        cancelled: Callable[[], bool] | None = None,
        *,
        allow_code: bool,
    ) -> None:
        """Do everything that is not recorded yet."""
        journal = self.folder.journal
        if self.plan.keep_maps == "worst":
            for record in journal.records():
                self.kept.note(record)
        for chunk in range(len(self.chunks)):
            for method in self.methods:
                self._settle(chunk, method)
        again: deque[int] = deque()
        fresh = iter(range(len(self.chunks)))
        deaths: Counter[Unit] = Counter()

        def pull() -> Task | None:
            while (chunk := again.popleft() if again else next(fresh, None)) is not None:
                task = self._task(chunk)
                if task is not None:
                    return task
            return None

        what = f"{len(self.methods)} methods, {len(self.metrics)} metrics, {self.chunks[-1].stop} samples"
        if progress is not None:
            progress(len(journal), self.total, what)
        with closing(_closable(engine.run(self.plan, pull, allow_code=allow_code))) as events:
            for event in events:
                if isinstance(event, Lost):
                    unit = self._open[event.chunk][0]
                    deaths[unit] += 1
                    if deaths[unit] == _DEATHS:
                        self._give_up(unit, event.reason)
                    again.append(event.chunk)
                else:
                    self._finished(event)
                if progress is not None:
                    progress(len(journal), self.total, what)
                if cancelled is not None and cancelled():
                    raise Cancelled(
                        f"Stopped as asked, {len(journal)} of {self.total} units are done and kept."
                    )

    def finish(self) -> None:
        """Write the tables."""
        journal = self.folder.journal
        journal.sync()
        write_results(self.folder.path, journal, self.data, self.chunks, self.methods, self.metrics)

    def _units(self, chunk: int) -> Iterator[Unit]:
        return units_of(chunk, self.methods, self.metrics)

    def _task(self, chunk: int) -> Task | None:
        """Return what is to do of a chunk, with the maps that were made already; None for nothing."""
        journal = self.folder.journal
        todo, maps, errors = [], {}, {}
        for unit in self._units(chunk):
            if unit in journal and (unit.metric or not unit.method):
                continue
            if unit in journal:
                if all(Unit(chunk, unit.method, metric) in journal for metric in self.metrics):
                    continue
                found = self.folder.open_maps(chunk, unit.method)
                if found is not None:
                    maps[unit.method] = found
                    rows = enumerate(journal.read(unit).rows)
                    errors[unit.method] = {place: row["error"] for place, row in rows if "error" in row}
                    continue
            todo.append(unit)
        self._open[chunk] = deque(todo)
        return Task(chunk, self.chunks[chunk], tuple(todo), maps, errors) if todo else None

    def _finished(self, record: Record) -> None:
        unit = record.unit
        waiting = self._open[unit.chunk]
        if not waiting or waiting[0] != unit:
            return  # an engine may deliver twice; the first one counts
        waiting.popleft()
        if unit.method and not unit.metric:
            self.folder.save_maps(unit.chunk, unit.method, record.maps)
        self.folder.journal.append(record)
        self.kept.note(record)
        self._settle(unit.chunk, unit.method)

    def _settle(self, chunk: int, method: str) -> None:
        journal = self.folder.journal
        if method in self.methods and all(Unit(chunk, method, metric) in journal for metric in self.metrics):
            self.kept.settle(chunk, method)

    def _give_up(self, unit: Unit, reason: str) -> None:
        """Record a unit on which workers die, and all that rests on it, as failed."""
        message = f"The worker died {_DEATHS} times over it: {reason}."
        row: Json = {"error": message}
        for other in self._units(unit.chunk):
            lost = not unit.method or other == unit or (not unit.metric and other.method == unit.method)
            if lost and other not in self.folder.journal:
                rows = (row,) * len(self.chunks[unit.chunk])
                self.folder.journal.append(Record(other, rows, {"at": []}))
        self._settle(unit.chunk, unit.method)


def _closable(events: Iterator[Record | Lost]) -> Any:
    """Return the events as they are: a generator, whose type as an iterator does not say that it closes."""
    return events


def _plan(plan: Plan | str | Path | None, keys: Json) -> Plan:
    if plan is None:
        return Plan.make(**keys)
    if isinstance(plan, Plan):
        if keys:
            raise BadInput(
                f"Asked for a plan with {', '.join(keys)}", "There is a plan already", "Put them into it"
            )
        return plan
    from seewhy.runs.plan import read_toml

    return Plan.make(**{**read_toml(plan), **keys})


def _fitting(plan: Plan, left_out: Json) -> Plan:
    """Return the plan without methods and metrics that do not fit.

    Raises
    ------
    DoesNotFit
        When none is left.
    """
    methods = tuple(c for c in plan.methods if c.label not in left_out)
    metrics = tuple(c for c in plan.metrics if c.label not in left_out)
    if not methods or not metrics:
        why = "; ".join(f"{label}: {reason}" for label, reason in left_out.items())
        raise DoesNotFit(f"Asked for a benchmark of {plan.model}", f"Nothing fits. {why}", "Choose others")
    return replace(plan, methods=methods, metrics=metrics)
