"""Engines: where tasks are worked on. An engine changes how long a benchmark takes, not its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias, runtime_checkable

from seewhy.registry import Registry
from seewhy.runs.plan import Plan
from seewhy.runs.units import Record, Task


@dataclass(frozen=True)
class Lost:
    """A worker died on a task: the first unit of it without a record is the one that it was at.

    Parameters
    ----------
    chunk
        Of the task.
    reason
        In words ("killed by signal 9").
    """

    chunk: int
    reason: str


Pull: TypeAlias = Callable[[], Task | None]
"""Gives the next task; None when there is none now (there may be one again after a `Lost`)."""


@runtime_checkable
class Engine(Protocol):
    """A way to run tasks.

    Workers are `seewhy.runs.worker.Worker(plan, allow_code=...)`, one for a process or actor, which loads the
    model and opens the data once. `Worker.work(task)` yields one `Record` a unit, in order.
    """

    name: ClassVar[str]
    """As in `--engine`."""

    def run(self, plan: Plan, pull: Pull, *, allow_code: bool) -> Iterator[Record | Lost]:
        """Yield records as they are made, and losses.

        `pull` is called on the caller's thread only, whenever a worker is idle; the run is over when it gives
        None and nothing is being worked on. Closing the generator stops all workers at once.
        """


ENGINES: Registry[Engine] = Registry("engine", "seewhy.runs")
