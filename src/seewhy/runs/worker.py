"""Worker: one process' (or actor's) share of a benchmark. Loads the model once, then does task after task.

What it answers follows from the plan and the task alone: not from what it did before, nor from who else
works. Therefore what one unit found out about the model by a trial (`perturb.calibration`) is forgotten
before the next one begins.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from seewhy import provenance
from seewhy.attribution import Attribution
from seewhy.errors import BadInput
from seewhy.execution import Execution, Passes
from seewhy.inputs.batch import Inputs
from seewhy.inputs.datasets.base import Sample, open_dataset
from seewhy.metrics.base import Metric
from seewhy.metrics.baselines import BASELINES
from seewhy.metrics.remembered import again, target_of, unmoved
from seewhy.metrics.truth import needed
from seewhy.models.loading import load
from seewhy.perturb.calibration import forget
from seewhy.question import Question, ask
from seewhy.runs.plan import TRUTH, Plan
from seewhy.runs.truth import mask_of
from seewhy.runs.units import Record, Task, Unit
from seewhy.targets import Target, TargetLike
from seewhy.types import Json, ScoreKind

T = TypeVar("T")


class Worker:
    """Does tasks of one plan.

    Parameters
    ----------
    plan
        What to measure.
    allow_code
        Whether a model of the form `FILE.py:FUNCTION` may be run.
    device
        Where; the plan's device when left out.
    """

    def __init__(self, plan: Plan, *, allow_code: bool, device: str | None = None) -> None:
        self.plan = plan
        with contextlib.redirect_stdout(sys.stderr):  # what a model's own code prints is no result
            self.model = load(plan.model, allow_code=allow_code, device=device or plan.device)
        self.data = open_dataset(plan.data)
        self.methods = {choice.label: choice.method() for choice in plan.methods}
        self.metrics = {choice.label: choice.metric() for choice in plan.metrics}
        self.execution = Execution(
            seed=plan.seed, batch_size=plan.batch_size, precision=plan.precision, compiled=False
        )

    def work(self, task: Task) -> Iterator[Record]:
        """Yield the records of the units to do, in order."""
        threads = torch.get_num_threads()
        torch.set_num_threads(self.plan.threads)
        try:
            chunk = _Chunk(self, task)
            for unit in task.todo:
                forget(self.model)
                yield chunk.do(unit)
        finally:
            torch.set_num_threads(threads)


@dataclass
class _Group:
    """Samples of a chunk that go through the model as one batch, being of one size."""

    rows: list[int]
    """Places in the chunk."""
    batch: Inputs
    pixels: Tensor
    targets: list[Target]
    facts: list[Json]
    questions: dict[tuple[ScoreKind, tuple[int, ...]], Question] = field(default_factory=dict)

    def part(self, at: Sequence[int]) -> Inputs:
        """Return the samples at some places of this group."""
        return Inputs(self.batch.tensor[list(at)], tuple(self.batch.names[i] for i in at))


class _Chunk:
    """The samples of one task, and what was found out about them."""

    def __init__(self, worker: Worker, task: Task) -> None:
        self.worker, self.task = worker, task
        self.samples: dict[int, Sample] = {}
        self.errors: dict[int, str] = {}
        """Of the samples that cannot be asked about at all."""
        self.groups: list[_Group] = []
        self.maps: dict[str, dict[int, Attribution]] = {}
        self.map_errors: dict[str, dict[int, str]] = dict(task.unexplained)
        places = {worker.data.name(i): place for place, i in enumerate(task.indices)}
        for label, parts in task.maps.items():
            self.maps[label] = {places[_name(one)]: one for part in parts for one in part}
        started = time.perf_counter()
        self._read()
        self.seconds = (time.perf_counter() - started) / len(task.indices)

    def do(self, unit: Unit) -> Record:
        """Do one unit."""
        if not unit.method:
            return self._answers(unit)
        if not unit.metric:
            return self._explained(unit)
        return self._measured(unit)

    # -- the samples ---------------------------------------------------------------------------------------

    def _read(self) -> None:
        prepared: dict[int, tuple[Inputs, TargetLike]] = {}
        for place, i in enumerate(self.task.indices):
            try:
                sample = self.worker.data.load(i)
                batch = replace(self.worker.model.prepare([sample.image]), names=(self.worker.data.name(i),))
                prepared[place] = batch, self._target(sample)
                self.samples[place] = sample
            except Exception as error:  # whatever is wrong with one sample must not cost the others
                self.errors[place] = _message(error)
        shapes: dict[tuple[int, ...], list[int]] = {}
        for place, (batch, _) in prepared.items():
            shapes.setdefault(tuple(batch.tensor.shape), []).append(place)
        for places in shapes.values():
            self._group({place: prepared[place] for place in places})

    def _target(self, sample: Sample) -> TargetLike:
        """Return the target of a sample by the rule of the plan; None for the model's own answer."""
        rule = self.worker.plan.target
        if rule == TRUTH:
            return sample.target
        return (int(rule) if rule.lstrip("-").isdigit() else rule) if rule else None

    def _group(self, prepared: dict[int, tuple[Inputs, TargetLike]]) -> None:
        """Settle the targets of samples of one size; those that cannot be asked about become errors."""
        model, execution = self.worker.model, self.worker.execution

        def asked(places: Sequence[int]) -> list[tuple[Inputs, Json]]:
            batches = [prepared[place][0] for place in places]
            x = torch.cat([batch.tensor for batch in batches])
            batch = Inputs(x, tuple(name for one in batches for name in one.names))
            with model.untouched():
                question = ask(model, x, [prepared[place][1] for place in places], execution, "logit")
                return list(zip(batches, provenance.of_inputs(model, batch, question), strict=True))

        found, errors = _each(list(prepared), asked)
        self.errors |= errors
        if not found:
            return
        places = sorted(found)
        batch = Inputs(
            torch.cat([found[p][0].tensor for p in places]),
            tuple(n for p in places for n in found[p][0].names),
        )
        facts = [found[p][1] for p in places]
        targets = [target_of(f["target"]) for f in facts]
        pixels = provenance.display_pixels(model, batch)
        self.groups.append(_Group(places, batch, pixels, targets, facts))

    def _answers(self, unit: Unit) -> Record:
        known = {
            place: {key: facts[key] for key in ("target", "score", "predictions")}
            for group in self.groups
            for place, facts in zip(group.rows, group.facts, strict=True)
        }
        return self._record(unit, known, self.errors, {"seconds": self.seconds})

    # -- maps ----------------------------------------------------------------------------------------------

    def _explained(self, unit: Unit) -> Record:
        method, worker = self.worker.methods[unit.method], self.worker
        maps: dict[int, Attribution] = {}
        errors, parts = dict(self.errors), []
        for group in self.groups:

            def explain(at: Sequence[int], group: _Group = group) -> list[Attribution]:
                targets = [group.targets[i] for i in at]
                made = method(worker.model, group.part(at), targets, worker.execution)
                parts.append(made)
                return list(made)

            found, failed = _each(range(len(group.rows)), explain)
            maps |= {group.rows[i]: one for i, one in found.items()}
            errors |= {group.rows[i]: message for i, message in failed.items()}
        self.maps[unit.method], self.map_errors[unit.method] = maps, errors
        seconds = [part.provenance["seconds"] for part in parts]
        passes = [part.provenance["passes"] for part in parts for _ in range(len(part))]
        facts: Json = {}
        if maps:
            facts["seconds"] = sum(seconds) / len(maps)
            facts |= {way: sum(p[way] for p in passes) / len(maps) for way in ("forward", "backward")}
        return self._record(unit, {place: {} for place in maps}, errors, facts, tuple(parts))

    # -- scores --------------------------------------------------------------------------------------------

    def _measured(self, unit: Unit) -> Record:
        metric = self.worker.metrics[unit.metric]
        started, passes = time.perf_counter(), Passes()
        baseline = unit.method in BASELINES
        rows: dict[int, Json] = {}
        errors = dict(self.errors)
        steps: list[list[float]] = []
        if not baseline:
            errors |= self.map_errors.get(unit.method, {})
        for group in self.groups:
            have = [
                i for i, place in enumerate(group.rows) if baseline or place in self.maps.get(unit.method, {})
            ]
            lost = {place for i, place in enumerate(group.rows) if i not in have}
            errors |= {place: errors.get(place, "Its map could not be made.") for place in lost}

            def measure(at: Sequence[int], group: _Group = group) -> list[Json]:
                return self._scores(unit, metric, group, at, passes, steps)

            found, failed = _each(have, measure)
            rows |= {group.rows[i]: one for i, one in found.items()}
            errors |= {group.rows[i]: message for i, message in failed.items()}
        done = max(len(rows), 1)
        facts: Json = {
            "seconds": (time.perf_counter() - started) / done,
            "forward": passes.forward / done,
            "backward": passes.backward / done,
            "at": steps,
        }
        return self._record(unit, rows, errors, facts)

    def _scores(
        self,
        unit: Unit,
        metric: Metric,
        group: _Group,
        at: Sequence[int],
        passes: Passes,
        steps: list[list[float]],
    ) -> list[Json]:
        """Return {"value", "curve", "at"} of samples at some places of a group; "at" counts in `steps`."""
        model, execution, batch = self.worker.model, self.worker.execution, group.part(at)
        truth: Tensor | None = None
        if needed(metric) is not None:
            truth = torch.cat([mask_of(self.samples[group.rows[i]], model) for i in at])
        repeat: Any = None
        if unit.method in BASELINES:
            values = BASELINES[unit.method](group.pixels[list(at)], execution.seed)
            repeat = unmoved(unit.method, values, batch, execution.seed)
        else:
            maps = [self.maps[unit.method][group.rows[i]] for i in at]
            values = torch.cat([one.values for one in maps])
            repeat = again(_joined(maps), batch, execution, passes) if "again" in metric.needs else None
        with model.untouched():
            key = metric.prefers, tuple(at)
            if key not in group.questions:
                targets = [group.targets[i] for i in at]
                group.questions[key] = ask(model, batch.tensor, targets, execution, metric.prefers)
            told = repeat if "again" in metric.needs else None
            question = replace(group.questions[key], passes=passes, truth=truth, again=told)
            scored = metric.measure(question, values)
        rows: list[Json] = [{"value": value} for value in scored.values.tolist()]
        if scored.at is not None and scored.curve is not None:
            way = scored.at.tolist()
            if way not in steps:
                steps.append(way)
            for row, curve in zip(rows, scored.curve, strict=True):
                if not bool(curve.isnan().any()):
                    row |= {"curve": curve.tolist(), "at": steps.index(way)}
        return rows

    def _record(
        self,
        unit: Unit,
        rows: dict[int, Json],
        errors: dict[int, str],
        facts: Json,
        maps: tuple[Attribution, ...] = (),
    ) -> Record:
        whole = tuple(
            rows[place] if place in rows else {"error": errors.get(place, "It was not reached.")}
            for place in range(len(self.task.indices))
        )
        return Record(unit, whole, facts, maps)


def _each(
    items: Sequence[int], work: Callable[[Sequence[int]], Sequence[T]]
) -> tuple[dict[int, T], dict[int, str]]:
    """Return what `work` gives for each item, all at once; where that fails one by one, and who failed."""
    if not items:
        return {}, {}
    try:
        return dict(zip(items, work(items), strict=True)), {}
    except Exception as error:
        if len(items) == 1:
            return {}, {items[0]: _message(error)}
    found: dict[int, T] = {}
    errors: dict[int, str] = {}
    for item in items:
        one, failed = _each([item], work)
        found |= one
        errors |= failed
    return found, errors


def _joined(maps: Sequence[Attribution]) -> Attribution:
    """Return single-sample attributions of one method and size as one."""
    inputs = [one.provenance["inputs"][0] for one in maps]
    return Attribution(
        torch.cat([one.values for one in maps]),
        torch.cat([one.native for one in maps]),
        torch.cat([one.pixels for one in maps]),
        {**maps[0].provenance, "inputs": inputs},
    )


def _name(single: Attribution) -> str:
    return str(single.provenance["inputs"][0]["path"])


def _message(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, BadInput) else f"{type(error).__name__}: {text}"
