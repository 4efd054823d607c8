"""Comparing: some methods on some photos, each map held against metrics, baselines beside them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seewhy.errors import BadInput, Cancelled, DoesNotFit, SeeWhyError, UnknownName
from seewhy.studio.asked import Asked, model_facts
from seewhy.studio.compared import Compared, command, python
from seewhy.studio.comparisons import Comparisons, Finished, Part
from seewhy.studio.describe import price
from seewhy.studio.explaining import Explaining
from seewhy.studio.jobs import Job
from seewhy.studio.maps import Kept, key_of
from seewhy.studio.networks import Network
from seewhy.studio.schema import AgreementEvent, Cell, CellsEvent, CompareDone, CompareRequest, MapEvent

if TYPE_CHECKING:
    from seewhy.methods.base import Method
    from seewhy.metrics.base import Metric
    from seewhy.models.model import Model

MOST = 1024
"""Maps of one comparison: more is a study."""
_PACE = 0.15
"""Seconds between two words about the progress of measurements."""
_UNKNOWN = 500
"""Passes taken for what has no price; for the progress alone."""


class Comparison:
    """One request, resolved.

    Parameters
    ----------
    request
        What was asked for.
    network
        The model.
    photos
        Identifier and path of each photo.

    Raises
    ------
    UnknownName, BadInput
        For methods or metrics that do not exist or need what there is not, and too many maps.
    """

    def __init__(self, request: CompareRequest, network: Network, photos: Sequence[tuple[str, Path]]) -> None:
        from seewhy.methods import METHODS
        from seewhy.metrics import METRICS
        from seewhy.metrics.truth import check_truth
        from seewhy.metrics.variants import metric_of

        for name in request.metrics:
            if name not in METRICS:  # names alone: parameters of some would read files
                raise UnknownName("metric", name, METRICS.names())
        self.request, self.network, self.photos = request, network, photos
        self.target = (request.target or "").strip() or None
        self.methods: list[Method] = [METHODS[name]() for name in dict.fromkeys(request.methods)]
        self.metrics: list[Metric] = [
            metric_of(name, steps=request.steps) for name in dict.fromkeys(request.metrics)
        ]
        if self.metrics:
            check_truth(self.metrics, None, ())
        if (count := len(self.methods) * len(photos)) > MOST:
            raise BadInput(
                f"Asked to compare {len(self.methods)} methods on {len(photos)} photos",
                f"That is {count:,} maps; one comparison holds {MOST:,}",
                "Choose fewer, or run `seewhy benchmark` and open its folder here",
            )
        self.key = key_of(**self._facts())
        """Of all that its answer follows from."""
        self.parts: list[Part] = []
        self._made: dict[str, list[str]] = {}
        self.found = Compared([path for _, path in photos], self.metrics)
        self.remarks: list[str] = []
        self._done = 0
        self._seconds: dict[str, float] = {}

    def _facts(self) -> dict[str, Any]:
        """Return everything that the answer follows from."""
        request = self.request
        return {
            **model_facts(self.network),
            "images": [image for image, _ in self.photos],
            "paths": [str(path) for _, path in self.photos],  # the command names them
            "methods": [[m.name, m.parameters()] for m in self.methods],
            "metrics": [m.name for m in self.metrics],
            "target": self.target,
            "steps": request.steps,
            "seed": request.seed,
        }

    def begin(self, explaining: Explaining, comparisons: Comparisons, job: Job) -> Iterator[None]:
        """Answer, resting after each look at a map. On the worker's thread.

        A method that does not fit, or fails on a photo, is left out with its reason; the others go on.
        """
        model = self.network.model
        self._weights = {m.name: _passes(m, model) for m in self.methods}
        self._measures = _measuring(self.metrics, model)
        self._total = sum(self._weights.values()) + len(self.methods) * self._measures
        self._total = max(1, (self._total + 3 * self._measures) * len(self.photos))
        for method in self.methods:
            before = self._done
            try:
                if reason := method.unfit(model):
                    raise DoesNotFit("", f"It does not fit: {reason}", "")
                for image, path in self.photos:
                    yield from self._one(method, image, path, explaining, job)
                self._tell(job, method.name, cells=self._cells(method.name), finished=True)
            except Cancelled:
                raise
            except SeeWhyError as error:
                found = error.found if isinstance(error, BadInput) else str(error)
                self.found.drop(method.name)
                self.remarks.append(f"{method.title} is left out. {found}.")
                part = self._weights[method.name] + self._measures
                self._done = before + part * len(self.photos)
                self._tell(job, method.name, finished=True, problem=found)
            self._agree(job)
            if job.stopping:
                self.remarks.append("It was stopped: the methods that had not begun are missing.")
                break
        finished = self._end(job)
        if not job.stopping:
            comparisons.put(self.key, finished)

    def _one(
        self, method: Method, image: str, path: Path, explaining: Explaining, job: Job
    ) -> Iterator[None]:
        """Make one map and measure it."""
        from seewhy.agreement import rank_vectors

        begun, weight = self._done, self._weights[method.name]
        asked = Asked(self.network, method, path, image, self.target, self.request.seed, randomised=False)
        steps = explaining.complete(asked, job)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                kept: Kept = end.value
                break
            self._done = begun + weight * min(job.done, job.total) // max(1, job.total)
            self._tell(job, method.name)
            yield
        self._done = begun + weight
        self._seconds[method.name] = self._seconds.get(method.name, 0.0) + kept.seconds
        self._made.setdefault(method.name, []).append(kept.id)
        self._tell(job, method.name, kept=kept)
        vectors = self.found.ranks.setdefault(method.name, [])
        vectors.append(rank_vectors(kept.attribution.values)[0].float())
        yield
        if self.metrics:
            self._measure(kept, len(vectors) - 1, job)
            yield

    def _measure(self, kept: Kept, photo: int, job: Job) -> None:
        """Add the rows of one map, and those of the baselines where this photo has none yet."""
        from seewhy.metrics.evaluation import evaluate

        baselines = all(len(self.found.rows[name]) <= photo for name in self.found.baselines)
        begun, work = self._done, self._measures * (4 if baselines else 1)
        steps = _Steps(len(self.metrics) * (4 if baselines else 1))

        def progress(done: int, total: int, _what: str) -> None:
            self._done = begun + int(work * steps.share(done, total))
            if steps.due():
                self._tell(job, kept.asked.method.name)

        rows = evaluate(
            self.network.model,
            [kept.asked.path],
            kept.attribution,
            self.metrics,
            self.target,
            baselines=baselines,
            seed=self.request.seed,
            precision="fp32",
            progress=progress,
            cancelled=job.cancelled,
        )
        for row in rows:
            self.found.add(row)
        self._done = begun + work
        self._tell(job, kept.asked.method.name)
        if baselines and photo == len(self.photos) - 1:
            for name in self.found.baselines:
                self._tell(job, name, cells=self._cells(name), finished=True)

    # -- saying so ---------------------------------------------------------------------------------------

    def _cells(self, method: str) -> list[Cell]:
        return self.found.cells(method) if self.metrics else []

    def _tell(
        self,
        job: Job,
        method: str,
        *,
        kept: Kept | None = None,
        cells: Sequence[Cell] = (),
        finished: bool = False,
        problem: str = "",
    ) -> None:
        """Send what is new of a method; mere progress is left out where nobody had time to read it."""
        done, seconds = min(self._done, self._total), self._seconds.get(method, 0.0)
        if finished:
            self.parts.append(Part(method, tuple(cells), tuple(self._made.get(method, ())), seconds, problem))
        job.progress(done, self._total, method)

        def event() -> CellsEvent:
            maps: list[MapEvent] = [] if kept is None else [kept.event(job.id)]
            return CellsEvent(
                job=job.id,
                method=method,
                cells=list(cells),
                maps=maps,
                seconds=seconds,
                done=done,
                total=self._total,
                finished=finished,
                problem=problem,
            )

        job.send(event, replaceable=kept is None and not finished)

    def _agree(self, job: Job) -> None:
        event = self._agreement()
        job.send(lambda: event)

    def _agreement(self) -> AgreementEvent:
        names, matrix = self.found.agreement()
        return AgreementEvent(methods=names, matrix=matrix)

    def _end(self, job: Job) -> Finished:
        titles = {m.name: m.title for m in self.methods}
        remarks = [*self.remarks, *self.found.remarks(titles)]
        made = list(self.found.ranks)
        about = (self.found.photos, made, [m.name for m in self.metrics])
        steps, seed = self.request.steps, self.request.seed
        if not made:
            said = ""
        elif self.network.spec:
            said = command(
                *about,
                spec=self.network.spec,
                steps=steps,
                target=self.target,
                seed=seed,
                device=self.network.device,
            )
        else:
            said = python(*about, steps=steps, target=self.target, seed=seed)
        job.send(lambda: CompareDone(job=job.id, command=said, remarks=remarks))
        return Finished(self.parts, self._agreement(), said, remarks)


class _Steps:
    """How far a number of measurements is, each of which tells its own steps from the first to the last."""

    def __init__(self, count: int) -> None:
        self.count, self._before, self._last = count, 0, 0.0
        self._told = time.monotonic()

    def share(self, done: int, total: int) -> float:
        """Return the share that is done, 0 to 1."""
        now = done / max(1, total)
        self._before += now < self._last  # the next one has begun
        self._last = now
        return min(1.0, (self._before + now) / self.count)

    def due(self) -> bool:
        """Whether it is time to say so again."""
        if time.monotonic() - self._told < _PACE:
            return False
        self._told = time.monotonic()
        return True


def _passes(method: Method, model: Model) -> int:
    """Return the passes that a map is expected to take, those backward counted twice."""
    forward, backward, _ = price(method, model, None)
    return (_UNKNOWN if forward is None else forward) + 2 * (backward or 0)


def _measuring(metrics: Sequence[Metric], model: Model) -> int:
    """Return the passes that measuring one map is expected to take."""
    costs = [metric.cost(model.input_size() or (224, 224)).forward for metric in metrics]
    return sum(_UNKNOWN if n < 0 else n for n in costs)
