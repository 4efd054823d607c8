"""The engine `ray`: actors of a Ray cluster, each with the model and the data opened once.

Without an address a cluster of this machine alone is started and stopped again; with one, or where the
calling program is connected already, the work goes to the cluster that is there. Every node of it needs
SeeWhy, and the same files at the same paths. An actor that dies costs the unit that it was at. Numbers do not
depend on the engine: actors run the same `Worker` with the same number of threads.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from seewhy.errors import BadInput, SeeWhyError
from seewhy.extras import optional
from seewhy.runs.engine import ENGINES, Lost, Pull
from seewhy.runs.local_engine import default_workers
from seewhy.runs.plan import Plan
from seewhy.runs.units import Record, Task

_STORE = 512 * 2**20
"""Bytes of shared memory of a cluster that is started for a run: records pass through it one by one."""


@ENGINES.register
@dataclass(frozen=True)
class Ray:
    """Actors of a Ray cluster.

    Parameters
    ----------
    workers
        How many actors; None: as many as the cluster has cores (or accelerators) for.
    address
        "host:port" of a running cluster, or "auto" for the one that this machine belongs to; None starts one.
    """

    name: ClassVar[str] = "ray"
    workers: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise BadInput("Asked for a number of workers", f"Found {self.workers}", "Give 1 or more")
        if self.address is not None and "://" in self.address:
            raise BadInput(
                f"Asked for the Ray cluster {self.address}",
                "Ray's client protocol does not stream results",
                "Give host:port of the cluster, or run on one of its machines with auto",
            )

    def run(self, plan: Plan, pull: Pull, *, allow_code: bool) -> Iterator[Record | Lost]:
        """See `Engine.run`."""
        ray = optional("ray", "ray", "Asked for the engine ray", "pip install 'seewhy[scale]'")
        with self._cluster(ray, plan):
            make = ray.remote(_Actor).options(**_need(plan), max_restarts=0, max_task_retries=0)
            room = self._room(ray, plan)
            idle: list[Any] = []
            working: dict[Any, tuple[Any, Task]] = {}
            """By the stream of its records: an actor and its task."""
            begun: set[Any] = set()
            """Actors that have loaded the model."""
            try:
                while True:
                    while idle or len(working) < room:
                        task = pull()
                        if task is None:
                            break
                        actor = idle.pop() if idle else make.remote(plan, str(Path.cwd()), allow_code)
                        working[actor.work.options(num_returns="streaming").remote(task)] = actor, task
                    if not working:
                        return
                    (stream, *_), _ = ray.wait(list(working), num_returns=1, fetch_local=False)
                    actor, task = working[stream]
                    try:
                        match ray.get(next(stream)):
                            case "ready":
                                begun.add(actor)
                            case str(refusal):
                                raise SeeWhyError(refusal)
                            case record:
                                yield record
                    except StopIteration:
                        del working[stream]
                        idle.append(actor)
                    except ray.exceptions.RayTaskError:
                        raise
                    except ray.exceptions.RayError as error:
                        del working[stream]
                        ray.kill(actor)
                        if actor not in begun:
                            raise SeeWhyError(
                                f"An actor ended before it could begin: {_epitaph(error)}."
                            ) from error
                        yield Lost(task.chunk, _epitaph(error))
            finally:
                for actor in (*idle, *(one for one, _ in working.values())):
                    ray.kill(actor)

    def _room(self, ray: Any, plan: Plan) -> int:
        """Return how many actors to keep: no more than the whole cluster holds."""
        need, have = _need(plan), ray.cluster_resources()
        room = int(have.get("CPU", 0) // need["num_cpus"])
        if need["num_gpus"]:
            room = min(room, int(have.get("GPU", 0)))
        if room < 1:
            raise BadInput(
                "Asked for the engine ray",
                f"The cluster has {have.get('CPU', 0):g} cores and {have.get('GPU', 0):g} accelerators; "
                f"an actor takes {need['num_cpus']} and {need['num_gpus']}",
                "Change device or threads of the plan, or choose another cluster",
            )
        return min(self.workers or room, room)

    @contextlib.contextmanager
    def _cluster(self, ray: Any, plan: Plan) -> Iterator[None]:
        """Connect to a cluster or start one; undo what was done in the end."""
        if ray.is_initialized() and self.address is None:
            yield
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told
        quiet = {"logging_level": "ERROR", "log_to_driver": False}
        with _signals(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if self.address is not None:
                    ray.init(address=self.address, **quiet)
                else:
                    ray.init(
                        address="local",
                        num_cpus=(self.workers or default_workers(plan)) * plan.threads,
                        include_dashboard=False,
                        object_store_memory=_STORE,
                        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}},
                        **quiet,
                    )
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                raise BadInput(
                    f"Asked for the Ray cluster {self.address or 'of this machine'}",
                    f"It cannot be reached: {str(error).strip().splitlines()[0]}",
                    "Check the address, and that RAY_AUTH_TOKEN is that of the cluster if it asks for one",
                ) from error
            try:
                yield
            finally:
                ray.shutdown()


class _Actor:
    """One worker of the cluster."""

    def __init__(self, plan: Plan, folder: str, allow_code: bool) -> None:
        with contextlib.suppress(FileNotFoundError):  # relative paths are those of the caller
            os.chdir(folder)
        warnings.simplefilter("ignore")
        from seewhy.runs.worker import Worker

        self.refused = ""
        try:
            # Ray shows an actor its own accelerator only.
            device = "cuda:0" if plan.device.startswith("cuda") else None
            self.worker = Worker(plan, allow_code=allow_code, device=device)
        except SeeWhyError as error:
            self.refused = str(error)

    def work(self, task: Task) -> Iterator[Record | str]:
        """Yield the records of a task, or why this actor cannot work."""
        if self.refused:
            yield self.refused
        else:
            yield "ready"
            yield from self.worker.work(task)


def _need(plan: Plan) -> dict[str, int]:
    """Return what an actor takes of the cluster."""
    return {"num_cpus": plan.threads, "num_gpus": 1 if plan.device.startswith("cuda") else 0}


def _epitaph(error: Exception) -> str:
    """Return why an actor died, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "died because" in line or "exit" in line), lines[0]).rstrip(".")


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Put back the handlers that Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
