"""Metric: how good an explanation is. Abstract here, final in its file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from torch import Tensor

from seewhy.methods.base import Cost, Paper
from seewhy.question import Question
from seewhy.registry import Registry
from seewhy.types import Json, Maps, ScoreKind, Scores, Size

MetricNeed = Literal["again", "truth"]


@dataclass(frozen=True)
class Scored:
    """A metric's answer.

    Parameters
    ----------
    values
        `(n,)` float32, one a sample.
    curve
        `(n, steps)` float32 scores along the way, where the metric has such a way.
    at
        `(steps,)` how far along each step is, 0 to 1: what `Metric.along` says.
    notes
        Facts about the measurement, JSON-serialisable; lists hold one entry a sample.
    """

    values: Scores
    curve: Tensor | None = None
    at: Tensor | None = None
    notes: Json | None = None


@dataclass(frozen=True)
class Metric(ABC):
    """Hyper-parameters of one measure, applied to maps at input resolution.

    Subclasses are frozen dataclasses, final, registered with `@METRICS.register`; the module's docstring is
    the page.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    higher_is_better: ClassVar[bool]
    bounds: ClassVar[tuple[float, float]]
    prefers: ClassVar[ScoreKind] = "probability"
    needs: ClassVar[frozenset[MetricNeed]] = frozenset()
    """What it reads besides the maps and the question: "again" is `question.again`,
    "truth" is `question.truth`."""
    along: ClassVar[str] = "fraction of the input edited"
    """What the curve, where there is one, runs over."""
    up: ClassVar[str] = "score"
    """What the curve shows."""
    summary: ClassVar[str] = "area"
    """What of the curve the value is."""
    paper: ClassVar[Paper]

    @abstractmethod
    def measure(self, question: Question, maps: Maps) -> Scored:
        """Return the scores of `(n, *size)` maps. Runs inside `model.untouched()`."""

    @abstractmethod
    def cost(self, size: Size) -> Cost:
        """Return the passes for one sample of `(height, width)` or `(frames, height, width)`.

        -1 where they depend on the method whose maps are scored.
        """

    def parameters(self) -> Json:
        """Return the hyper-parameters as plain JSON."""
        return asdict(self)


METRICS: Registry[Metric] = Registry("metric", "seewhy.metrics")
