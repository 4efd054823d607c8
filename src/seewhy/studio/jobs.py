"""Jobs: work that waits, runs, rests or is done; they can be stopped, cancelled and superseded."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Literal

from seewhy.errors import Cancelled
from seewhy.studio import schema
from seewhy.studio.outbox import Outbox
from seewhy.studio.refusals import said

KEPT = 64
"""Finished jobs that are still listed."""

State = Literal["waiting", "running", "stopped", "done", "failed"]


class Job:
    """One piece of work, done step by step on a worker's thread.

    Parameters
    ----------
    panel
        Where its result is shown; a newer job of the panel takes its place.
    what
        In words, for lists.
    priority
        The lower, the earlier: 0 for what a person waits for at once.
    outbox
        Where its events go; None for work without a stream.
    """

    def __init__(self, panel: str, what: str, priority: int = 1, outbox: Outbox | None = None) -> None:
        self.id = secrets.token_hex(8)
        self.panel, self.what, self.priority, self.outbox = panel, what, priority, outbox
        self.state: State = "waiting"
        self.done, self.total = 0, 0
        self.superseded = False
        """Whether somebody took its place or left: nobody wants its result."""
        self.stopping = False
        """Whether to end at the next chance and keep what there is."""
        self.ended: Future[None] = Future()
        self.result: object = None
        """Of work without a stream."""
        self.error: schema.ErrorEvent | None = None
        """Why it failed."""
        self._started: float | None = None
        self._seconds = 0.0
        self._steps: Iterator[None] | None = None
        self._begin: Callable[[Job], Iterator[None]] | None = None
        self._dropped: Callable[[], object] | None = None

    def does(
        self, begin: Callable[[Job], Iterator[None]], dropped: Callable[[], object] | None = None
    ) -> Job:
        """Set what the job does: between two of its steps other jobs may have the worker.

        `dropped` is called where it ends without having come to its end.
        """
        self._begin, self._dropped = begin, dropped
        return self

    # -- asked from any thread -------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Ask the job to end within one batch; what there is gets lost."""
        self.superseded = True

    def stop(self) -> None:
        """Ask the job to end and to keep what there is."""
        self.stopping = True

    @property
    def seconds(self) -> float:
        """Time it has worked, without its waiting."""
        running = 0.0 if self._started is None else time.perf_counter() - self._started
        return self._seconds + running

    def entry(self) -> schema.Job:
        """Return what lists say of it."""
        return schema.Job(
            id=self.id,
            panel=self.panel,
            what=self.what,
            state=self.state,
            done=self.done,
            total=self.total,
            seconds=self.seconds,
        )

    @property
    def begun(self) -> bool:
        """Whether it rests between two of its steps."""
        return self._steps is not None

    # -- asked on the worker's thread ------------------------------------------------------------------------

    def progress(self, done: int, total: int, _what: str) -> None:
        """Note how far the work is; an `Execution` calls it."""
        self.done, self.total = done, total

    def cancelled(self) -> bool:
        """Whether to end now; an `Execution` asks before each batch."""
        return self.superseded

    def send(self, make: Callable[[], schema.Message], *, replaceable: bool = False) -> None:
        """Send an event to whoever reads the job's stream."""
        if self.outbox is not None:
            self.outbox.put(make, replaceable=replaceable)

    def step(self) -> bool:
        """Work until the next resting place; return whether anything is left. Nothing is ever raised."""
        self._started = time.perf_counter()
        try:
            if self.superseded:
                raise Cancelled("")
            self.state = "running"
            if self._steps is None:
                assert self._begin is not None
                self._steps = self._begin(self)
            next(self._steps)
            return True
        except StopIteration:
            self._end("stopped" if self.stopping else "done")
        except BaseException as error:
            self.error = event = said(error, self.id, superseded=self.superseded)
            self.send(lambda: event)
            self._end("failed")
        finally:
            self._seconds += time.perf_counter() - self._started
            self._started = None
        return False

    def _end(self, state: State) -> None:
        self.state = state
        if state == "failed" and self._dropped is not None:
            self._dropped()
        self._steps = self._begin = self._dropped = None  # they hold tensors
        if self.outbox is not None:
            self.outbox.close()
        self.ended.set_result(None)


class Jobs:
    """All jobs of a session by their identifiers: those under way, and the last that ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: OrderedDict[str, Job] = OrderedDict()

    def add(self, job: Job) -> None:
        """Enter a job, which takes the place of unfinished ones of its panel."""
        with self._lock:
            for other in self._all.values():
                if other.panel == job.panel and not other.ended.done():
                    other.cancel()
            self._all[job.id] = job
            ended = [j.id for j in self._all.values() if j.ended.done()]
            for old in ended[: max(0, len(ended) - KEPT)]:
                del self._all[old]

    def get(self, name: str) -> Job | None:
        """Return a job, or None."""
        return self._all.get(name)

    def entries(self) -> list[schema.Job]:
        """Return what there is to say of all, the oldest first; those that nobody wants are left out."""
        with self._lock:
            return [j.entry() for j in self._all.values() if not j.superseded]
