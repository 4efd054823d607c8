"""A benchmark that has not written its results: what its journal says so far, read without touching it.

It has what the leaderboard reads of a study. Samples are called by their number, since their names belong to
the data set, which is not opened here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

from seewhy.attribution import Attribution
from seewhy.errors import BadInput
from seewhy.metrics.baselines import BASELINES
from seewhy.metrics.table import MeanCurve, Row, Table
from seewhy.runs.folder import read_facts
from seewhy.runs.journal import read_records
from seewhy.runs.plan import Plan
from seewhy.runs.study import Failure, MethodCost
from seewhy.runs.units import Record, units_of
from seewhy.types import Json


@dataclass(eq=False)
class Unfinished:
    """The state of a run at one moment.

    Parameters
    ----------
    folder
        Of the run.
    plan, facts
        As `seewhy.runs.study.Study` has them.
    records
        Finished units.
    """

    folder: Path
    plan: Plan
    facts: Json
    records: tuple[Record, ...]

    @classmethod
    def read(cls, folder: Path) -> Unfinished:
        """Read a run folder.

        Raises
        ------
        UnreadableInput
            When there is none, or it cannot be read.
        """
        plan, facts = Plan.read(folder / "plan.toml"), read_facts(folder)
        journal = folder / "journal"
        records = tuple(read_records(journal)) if journal.is_file() else ()
        return cls(folder, plan, facts, records)

    @property
    def methods(self) -> list[str]:
        """Labels, without baselines and what does not fit."""
        return [c.label for c in self.plan.methods if c.label not in self.facts["left_out"]]

    @property
    def metrics(self) -> list[str]:
        """Labels."""
        return [c.label for c in self.plan.metrics if c.label not in self.facts["left_out"]]

    @property
    def total(self) -> int:
        """Units of the whole run."""
        chunks: int = -(-self.facts["samples"] // self.plan.chunk)
        return chunks * sum(1 for _ in units_of(0, self.methods, self.metrics))

    @property
    def idle(self) -> float:
        """Seconds since the last unit was written."""
        journal = self.folder / "journal"
        known = journal if journal.is_file() else self.folder / "run.json"
        return max(0.0, time.time() - known.stat().st_mtime)

    @cached_property
    def table(self) -> Table:
        """The values so far."""
        rows = [
            Row(self._called(record, place), record.unit.method, record.unit.metric, value, baseline)
            for record in self._scores()
            for baseline in (record.unit.method in BASELINES,)
            for place, value in enumerate(row.get("value", math.nan) for row in record.rows)
        ]
        order = {name: i for i, name in enumerate([*self.methods, *BASELINES])}
        rows.sort(key=lambda r: (r.sample, order.get(r.method, len(order))))
        higher = {c.label: c.metric().higher_is_better for c in self.plan.metrics if c.label in self.metrics}
        return Table(tuple(rows), higher)

    @property
    def curves(self) -> Sequence[MeanCurve]:
        """None before the end."""
        return ()

    @cached_property
    def costs(self) -> dict[str, MethodCost]:
        """Medians over the chunks so far."""
        found: dict[str, list[Json]] = {}
        for record in self.records:
            if record.unit.method and not record.unit.metric and record.facts.get("seconds") is not None:
                found.setdefault(record.unit.method, []).append(record.facts)
        return {
            method: MethodCost(*(median(f[key] for f in facts) for key in ("seconds", "forward", "backward")))
            for method, facts in found.items()
        }

    @cached_property
    def failures(self) -> list[Failure]:
        """What failed so far, each once and as far up as it reaches."""
        found: dict[tuple[str, str, str], Failure] = {}
        for record in sorted(self.records, key=lambda r: bool(r.unit.method) + bool(r.unit.metric)):
            _, method, metric = record.unit
            for place, row in enumerate(record.rows):
                sample = self._called(record, place)
                above = {(sample, "", ""), (sample, method, "")} & found.keys()
                if "error" in row and not above:
                    found[sample, method, metric] = Failure(sample, method, metric, str(row["error"]))
        return list(found.values())

    def kept(self) -> Iterable[tuple[str, str]]:
        """No map is settled before the end."""
        return ()

    def maps(self, sample: str, method: str) -> Attribution:
        """Refuse."""
        raise BadInput(f"Asked for the map of {sample} by {method}", "The run is not finished", "Wait for it")

    def _scores(self) -> Iterable[Record]:
        return (r for r in self.records if r.unit.metric)

    def _called(self, record: Record, place: int) -> str:
        return f"sample {record.unit.chunk * self.plan.chunk + place:06d}"
