"""The engine `local`: one process a core, or an accelerator, of this machine.

Workers are started as programs of their own (`seewhy.runs.process`), not forked: a fork of a process with
threads or an accelerator may hang, and a user's script need not guard its main part. They write to nothing
but their pipe. One that dies costs the unit that it was at; when this process dies, whatever way, their pipes
close and they end.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from seewhy.errors import BadInput, SeeWhyError
from seewhy.runs.engine import ENGINES, Lost, Pull
from seewhy.runs.frames import read_frame, write_frame
from seewhy.runs.plan import Plan
from seewhy.runs.units import Record, Task


@ENGINES.register
@dataclass(frozen=True)
class Local:
    """Processes of this machine.

    Parameters
    ----------
    workers
        How many; None: one an accelerator, or as many as the cores have room for.
    """

    name: ClassVar[str] = "local"
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise BadInput("Asked for a number of workers", f"Found {self.workers}", "Give 1 or more")

    def run(self, plan: Plan, pull: Pull, *, allow_code: bool) -> Iterator[Record | Lost]:
        """See `Engine.run`."""
        inbox: queue.SimpleQueue[tuple[_Process, Any]] = queue.SimpleQueue()
        places = devices(plan.device, self.workers or default_workers(plan))
        free, working = list(reversed(places)), set[_Process]()
        idle: list[_Process] = []
        try:
            while True:
                while free or idle:
                    task = pull()
                    if task is None:
                        break
                    process = idle.pop() if idle else _Process(plan, free.pop(), inbox, allow_code=allow_code)
                    process.give(task)
                    working.add(process)
                if not working:
                    return
                process, message = inbox.get()
                match message:
                    case Record():
                        yield message
                    case "done":
                        working.discard(process)
                        idle.append(process)
                    case ("refused", [str(asked), str(found), str(do)]):
                        raise BadInput(asked, found, do)
                    case ("refused", text):
                        raise SeeWhyError(str(text))
                    case None if process in working:
                        working.discard(process)
                        free.append(process.device)
                        reason = process.epitaph()
                        if not process.ready:
                            raise SeeWhyError(f"A worker ended before it could begin: {reason}.")
                        assert process.task is not None
                        yield Lost(process.task.chunk, reason)
                    case None:  # died while it had nothing to do
                        idle.remove(process)
                        free.append(process.device)
                    case "ready":
                        process.ready = True
        finally:
            for process in (*working, *idle):
                process.kill()
            for process in (*working, *idle):
                process.end()


def default_workers(plan: Plan) -> int:
    """Return how many workers this machine has room for."""
    if plan.device == "cuda":
        return max(1, torch.cuda.device_count())
    if plan.device != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // plan.threads)


def devices(device: str, workers: int) -> list[str]:
    """Return the device of each worker: "cuda" means all of them in turn."""
    if device != "cuda":
        return [device] * workers
    return [f"cuda:{k % max(1, torch.cuda.device_count())}" for k in range(workers)]


class _Process:
    """One worker, seen from the engine."""

    def __init__(
        self,
        plan: Plan,
        device: str,
        inbox: queue.SimpleQueue[tuple[_Process, Any]],
        *,
        allow_code: bool,
    ) -> None:
        self.device, self.inbox, self.ready = device, inbox, False
        self.task: Task | None = None
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `end` and `epitaph`
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "seewhy.runs.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._last_words,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for this process alone
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self._send((plan, device, allow_code))

    def give(self, task: Task) -> None:
        """Hand over a task."""
        self.task = task
        self._send(task)

    def epitaph(self) -> str:
        """Return why the process ended, which it has."""
        code = self._popen.wait()
        self._last_words.seek(0)
        lines = self._last_words.read().decode(errors="replace").strip().splitlines()
        self.end()
        if code < 0:
            often = ", often for want of memory" if -code == signal.SIGKILL else ""
            return f"killed by signal {-code}{often}"
        return f"ended with status {code}{': ' + lines[-1] if lines else ''}"

    def kill(self) -> None:
        """End the process now, whatever it is doing; `end` clears up."""
        self._popen.kill()

    def end(self) -> None:
        """End the process and clear up."""
        self.kill()
        self._popen.wait()
        self._thread.join()
        for pipe in (self._popen.stdin, self._popen.stdout, self._last_words):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue

    def _send(self, content: Any) -> None:
        assert self._popen.stdin is not None
        try:
            write_frame(self._popen.stdin, content)
        except BrokenPipeError:  # it is dead; the listener says so, too
            return

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        try:
            while True:
                self.inbox.put((self, read_frame(self._popen.stdout)))
        except (EOFError, OSError, ValueError):
            self.inbox.put((self, None))


def _environment() -> dict[str, str]:
    """Return the environment of a worker: this one's modules, and memory that is kept between batches."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    if sys.platform.startswith("linux") and not any(name.startswith("MALLOC_") for name in env):
        env |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}  # see cli/allocator.py
    return env
