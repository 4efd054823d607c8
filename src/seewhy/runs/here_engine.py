"""The engine `here`: this process, one task after the other. For notebooks, debuggers and small plans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from seewhy.runs.engine import ENGINES, Lost, Pull
from seewhy.runs.plan import Plan
from seewhy.runs.units import Record
from seewhy.runs.worker import Worker


@ENGINES.register
@dataclass(frozen=True)
class Here:
    """Works in this process; whatever ends it ends the run."""

    name: ClassVar[str] = "here"

    def run(self, plan: Plan, pull: Pull, *, allow_code: bool) -> Iterator[Record | Lost]:
        """See `Engine.run`."""
        worker: Worker | None = None
        while (task := pull()) is not None:
            worker = worker or Worker(plan, allow_code=allow_code)
            yield from worker.work(task)
