"""Curves of one map: what removing its pixels, or showing them, does to the score; baselines beside it."""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from seewhy.studio.jobs import Job
from seewhy.studio.maps import Kept, key_of
from seewhy.studio.packing import pixels_url
from seewhy.studio.schema import Curve, CurveLine, CurveRequest

if TYPE_CHECKING:
    import torch

    from seewhy.metrics.base import Scored
    from seewhy.question import Question

T = TypeVar("T")

SEEDS = (0, 1, 2)
"""Of the random orders."""
KEPT = 256


class Curves:
    """Makes curves, and keeps them."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, kept: Kept, request: CurveRequest, job: Job) -> Iterator[None]:
        """Make the curve of a map, `result`, resting after each line. On the worker's thread."""
        if (known := self.cached(kept, request)) is not None:
            job.result = known
            return
        posed = _Posed(kept, request, job)
        own = posed.scored(kept.attribution.values)
        yield
        lines = [posed.line("map", [own])]
        common = key_of(**posed.facts)
        baselines: list[CurveLine] | None = self._get(common)
        if baselines is None:
            from seewhy.metrics.baselines import centre_map, random_map

            pixels = kept.attribution.pixels
            orders = []
            for seed in SEEDS:
                orders.append(posed.scored(random_map(pixels, seed)))
                yield
            centre = posed.scored(centre_map(pixels, 0))
            yield
            baselines = [posed.line("random", orders), posed.line("centre", [centre])]
            self._put(common, baselines)
        job.result = posed.curve(own, [*lines, *baselines])
        self._put(_key(kept, request), job.result)

    def cached(self, kept: Kept, request: CurveRequest) -> Curve | None:
        """Return the curve of a request that was answered before."""
        known: Curve | None = self._get(_key(kept, request))
        return known

    def _get(self, key: str) -> Any:
        with self._lock:
            return self._known.get(key)

    def _put(self, key: str, value: object) -> None:
        with self._lock:
            self._known[key] = value
            while len(self._known) > KEPT:
                self._known.popitem(last=False)


def _key(kept: Kept, request: CurveRequest) -> str:
    return key_of(map=kept.id, **request.model_dump(exclude={"panel", "map"}))


class _Posed:
    """The question that all orders of pixels are held against."""

    def __init__(self, kept: Kept, request: CurveRequest, job: Job) -> None:
        from seewhy.execution import Execution
        from seewhy.metrics.remembered import target_of
        from seewhy.perturb.calibration import forget
        from seewhy.perturb.operators import operator
        from seewhy.question import ask

        self.request, self.kept, asked = request, kept, kept.asked
        self.model = asked.network.model
        self.operator = operator(request.operator)
        forget(self.model)
        # The twin's maps are held against what the trained network does.
        target = asked.target if asked.randomised else target_of(_target(kept))
        execution = Execution(precision="fp32", cancelled=job.cancelled, progress=job.progress)
        x = self.model.prepare([asked.path]).tensor
        with self.model.untouched():
            self.question: Question = ask(
                self.model, x, target, execution, "probability", differentiable=False
            )
            self.filled = _filled(self.question, self.operator.fill(self.question))
        self.facts = {
            **asked.facts(),
            "method": "",
            "parameters": {},
            "target": self.question.target.descriptions[0],
            "randomised": False,
            "seed": 0,
            "curve": request.model_dump(exclude={"panel", "map"}),
        }

    def scored(self, maps: torch.Tensor) -> Scored:
        """Return the curve of `(1, height, width)` maps."""
        from seewhy.metrics.faithfulness.curve import curve

        name = self.request.metric
        with self.model.untouched():
            return curve(
                self.question,
                maps,
                self.request.operator,
                self.request.steps,
                name,
                insert=name == "insertion",
            )

    def line(self, name: str, found: list[Scored]) -> CurveLine:
        """Return one line: of several curves the mean, and between which bounds they run."""
        areas = [float(f.values[0]) for f in found]
        scores = [f.curve[0].tolist() for f in found if f.curve is not None]
        steps = list(zip(*scores, strict=True))
        several = len(found) > 1
        return CurveLine(
            name=name,
            area=None if areas[0] != areas[0] else sum(areas) / len(areas),
            scores=[sum(s) / len(s) for s in steps] if areas[0] == areas[0] else [],
            low=[min(s) for s in steps] if several else None,
            high=[max(s) for s in steps] if several else None,
        )

    def curve(self, own: Scored, lines: list[CurveLine]) -> Curve:
        """Return the answer."""
        import torch

        from seewhy.metrics.faithfulness.units import step_pixels
        from seewhy.perturb.ranks import ranks

        values = self.kept.attribution.values
        why = ((own.notes or {}).get("undefined") or [None])[0]
        places = torch.zeros_like(values, dtype=torch.uint8)
        if not why:
            pixels = step_pixels(values[0].numel(), self.request.steps)
            places = (ranks(values) // pixels + 1).to(torch.uint8)
        about = self.question.target.descriptions[0]
        assert own.at is not None
        return Curve(
            metric=self.request.metric,
            at=own.at.tolist(),
            lines=lines,
            places=base64.b64encode(places.numpy().tobytes()).decode("ascii"),
            fill=pixels_url(self.filled),
            undefined=f"The map is {why}: its pixels have no order" if why else "",
            unit=_unit(about),
        )


def _target(kept: Kept) -> dict[str, Any]:
    target: dict[str, Any] = kept.attribution.provenance["inputs"][0]["target"]
    return target


def _filled(question: Question, fill: torch.Tensor | None) -> torch.Tensor:
    """Return `(c, height, width)` uint8: what takes the pixels' place."""
    from seewhy import provenance
    from seewhy.inputs.batch import Inputs

    x = question.x
    shown = x.new_zeros(x.shape) if fill is None else fill.to(x).expand_as(x)
    return provenance.display_pixels(question.model, Inputs(shown, ("fill",)))[0]


def _unit(about: dict[str, Any]) -> str:
    """Return what a score is, in words."""
    kind = {"combination": "difference of logits", "output": "value"}.get(about["score"], about["score"])
    return f"{str(kind).replace('_', ' ')} of {about['label']}"
