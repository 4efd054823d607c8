"""Worker: the one thread in which a model runs. Jobs take turns, those that a person waits for first."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from seewhy.studio.jobs import Job

T = TypeVar("T")

STREAMED = 2
"""Priority from which jobs rest between their frames, and hold what they have made so far."""
AT_ONCE = 12
"""Of those, how many take turns: six panels with their twins. What rests holds memory; more wait to begin."""


class Worker:
    """A thread and its queue.

    A job works until it comes to a resting place; then it is the turn of the most urgent job, and among
    equals of the one that has waited longest. So several panels refine at once, and a cheap map is not kept
    waiting by a dear one that streams. At most `AT_ONCE` streams are under way, so that memory is bounded
    however many are asked for.
    """

    def __init__(self, name: str) -> None:
        self._changed = threading.Condition()
        self._queue: list[tuple[int, int, Job]] = []
        self._turns = itertools.count()
        self._closed = False
        self._current: Job | None = None
        self.thread = threading.Thread(target=self._run, name=f"seewhy-{name}", daemon=True)
        self.thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        with self._changed:
            if self._closed:
                job.cancel()
            heapq.heappush(self._queue, (job.priority, next(self._turns), job))
            self._changed.notify()

    def call(self, function: Callable[[], T], priority: int = 0) -> Future[T]:
        """Have a function called on the thread, before all jobs that may wait."""
        future: Future[T] = Future()

        def begin(_job: Job) -> Iterator[None]:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)
            return iter(())

        self.submit(Job("", "call", priority).does(begin, future.cancel))
        return future

    def close(self, timeout: float = 10.0) -> None:
        """Cancel everything and wait until the thread has ended; whatever it is doing ends within a batch."""
        with self._changed:
            self._closed = True
            for _, _, job in self._queue:
                job.cancel()
            if self._current is not None:
                self._current.cancel()
            self._changed.notify()
        self.thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if not self._queue:
                    return
                job = self._current = self._next()
            if job.step():
                with self._changed:
                    if self._closed:
                        job.cancel()
                    heapq.heappush(self._queue, (job.priority, next(self._turns), job))
            self._current = None

    def _next(self) -> Job:
        """Take the job whose turn it is out of the queue, which is not empty."""
        full = sum(job.begun for _, _, job in self._queue) >= AT_ONCE
        passed: list[tuple[int, int, Job]] = []
        entry = heapq.heappop(self._queue)
        while full and entry[0] >= STREAMED and not (entry[2].begun or entry[2].superseded):
            passed.append(entry)
            entry = heapq.heappop(self._queue)  # one that has begun is among them
        for other in passed:
            heapq.heappush(self._queue, other)
        return entry[2]
