"""Making a map: frames while it gets better, stopping, going on, and keeping what came out."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from seewhy.errors import Cancelled
from seewhy.studio.asked import Asked, python, shell
from seewhy.studio.describe import BACKWARD, cited, price
from seewhy.studio.jobs import Job
from seewhy.studio.maps import Kept, MapCache, frame, key_of
from seewhy.studio.refusals import Missing
from seewhy.studio.schema import DoneEvent, PriceEvent

if TYPE_CHECKING:
    from seewhy.attribution import Attribution
    from seewhy.models.model import Model

REFRESH = 0.15
"""Seconds between two frames."""
PAUSED = 12
"""Runs that are kept to go on: six panels and their twins."""


class Run:
    """One map in the making, which may rest and go on under another job. On the worker's thread only.

    Parameters
    ----------
    asked
        What is made.
    whole
        Whether stopping its job leaves it alone.
    """

    def __init__(self, asked: Asked, *, whole: bool = False) -> None:
        self.asked, self.whole = asked, whole
        self.key = key_of(**asked.facts())
        """Of the whole map, with the weights as they were at the beginning."""
        self.job: Job | None = None
        self.seconds = 0.0
        """Spent on it, without its rests."""
        self.latest: Attribution | None = None
        self._frames: Iterator[Attribution] | None = None
        self._trials: dict[Any, Any] = {}

    def advance(self, job: Job) -> bool:
        """Make the next frame, `latest`; return whether there was one."""
        self.job = job
        started = time.perf_counter()
        try:
            made = self._next()
        finally:
            self.seconds += time.perf_counter() - started
        if made is not None:
            self.latest = made.noting(seconds=self.seconds)
            passes, steps = made.provenance["passes"], made.provenance["steps"]
            if steps["done"] == steps["total"]:
                self.asked.network.learn(passes["forward"] + BACKWARD * passes["backward"], self.seconds)
        return made is not None

    def _next(self) -> Attribution | None:
        """Return the next frame: what other runs found by trials must not change this one's bits."""
        from seewhy.perturb.calibration import forget

        model = self.asked.model()
        forget(model)
        model.facts.update(self._trials)
        if self._frames is None:
            self._frames = self._begin(model)
        made = next(self._frames, None)
        self._trials = forget(model)
        return made

    def _begin(self, model: Model) -> Iterator[Attribution]:
        from seewhy.execution import Execution

        execution = Execution(
            seed=self.asked.seed,
            precision="fp32",
            progress=self._progress,
            cancelled=self._cancelled,
            refresh=REFRESH,
        )
        return self.asked.method.stream(model, [self.asked.path], self.asked.target, execution)

    def _progress(self, done: int, total: int, what: str) -> None:
        if self.job is not None:
            self.job.progress(done, total, what)

    def _cancelled(self) -> bool:
        job = self.job
        if job is None:
            return False
        # Nothing to keep yet, and nothing will come before the end: stopping is cancelling.
        return job.cancelled() or (job.stopping and not self.whole and not self.asked.method.streams)


class Explaining:
    """Makes maps for requests, and keeps them."""

    def __init__(self, maps: MapCache) -> None:
        self.maps = maps
        self._paused: OrderedDict[str, Run] = OrderedDict()
        """By the maps at which they were stopped."""

    def cached(self, asked: Asked) -> Kept | None:
        """Return the map of a request that was answered before."""
        return self.maps.get(key_of(**asked.facts()))

    def begin(self, asked: Asked, resume: str | None, job: Job) -> Iterator[None]:
        """Answer one request, resting after each frame."""
        asked = asked.settled()
        kept = self.cached(asked)
        forward, backward, seconds = price(asked.method, asked.network.model, asked.network.rate)
        said = PriceEvent(
            job=job.id, forward=forward, backward=backward, seconds=seconds, cached=kept is not None
        )
        job.send(lambda: said)
        if kept is None:
            run = Run(asked) if resume is None else self._resumed(resume, asked)
            while run.advance(job):
                assert run.latest is not None
                job.send(partial(frame, run.latest, job.id, run.seconds), replaceable=True)
                if job.stopping or job.superseded:
                    break
                if asked.method.streams:  # else this was the only one
                    yield
            if job.superseded:
                raise Cancelled("")
            assert run.latest is not None
            kept = self._keep(run, job)
        else:
            job.send(partial(kept.event, job.id))
        job.stopping = kept.stopped
        job.send(partial(done, kept, job.id, resumable=kept.id in self._paused))

    def complete(self, asked: Asked, job: Job) -> Generator[None, None, Kept]:
        """Return the map of a request, made to its end if need be, resting after each frame."""
        kept = self.cached(asked)
        if kept is None:
            run = Run(asked, whole=True)
            while run.advance(job):
                yield
            assert run.latest is not None
            kept = Kept(key_of(**asked.facts()), run.latest, asked, seconds=run.seconds)
            self.maps.put(kept)
        return kept

    def _resumed(self, name: str, asked: Asked) -> Run:
        run = self._paused.get(name)
        if run is None or run.key != key_of(**asked.facts()):
            raise Missing("stopped run", name, "Only the last few are kept; run it again")
        return self._paused.pop(name)

    def _keep(self, run: Run, job: Job) -> Kept:
        """Keep what came out of a run, and the run itself where it may go on."""
        assert run.latest is not None
        steps, asked = run.latest.provenance["steps"], run.asked
        stopped, attribution = job.stopping and steps["done"] < steps["total"], run.latest
        name = key_of(**asked.facts())
        if stopped:
            name = key_of(**asked.facts(), stopped=steps["done"])
            if (shorter := asked.after(steps["done"])) is not None:
                asked, name = shorter, key_of(**shorter.facts())
                attribution = attribution.noting(parameters=asked.method.parameters())
            self._paused[name] = run
            while len(self._paused) > PAUSED:
                self._paused.popitem(last=False)
        kept = Kept(name, attribution, asked, stopped, run.seconds)
        self.maps.put(kept)
        return kept


def done(kept: Kept, job: str, *, resumable: bool) -> DoneEvent:
    """Return the last event of a stream: how to cite the map and how to make it again."""
    asked = kept.asked
    return DoneEvent(
        job=job,
        map=kept.id,
        stopped=kept.stopped,
        resumable=resumable,
        provenance=kept.attribution.provenance,
        command=shell(asked, kept.attribution),
        python=python(asked, kept.attribution),
        bibtex=cited(asked.method.name, asked.method.paper)["bibtex"],
    )
