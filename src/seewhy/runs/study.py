"""A study: what a finished benchmark found, read back from its folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from seewhy.attribution import Attribution
from seewhy.metrics.table import MeanCurve, Row, Table
from seewhy.runs.plan import Plan
from seewhy.types import Json


@dataclass(frozen=True)
class MethodCost:
    """What a method cost for one sample: medians over the samples.

    Parameters
    ----------
    seconds
        Of wall clock on one worker.
    forward, backward
        Model inputs that went forward and backward.
    """

    seconds: float
    forward: float
    backward: float


@dataclass(frozen=True)
class Failure:
    """Something that could not be done.

    Parameters
    ----------
    sample
        Name of the sample.
    method
        "" where the sample failed as a whole (it could not be read, say).
    metric
        "" where the method failed under every metric (its map could not be made, say).
    message
        Why.
    """

    sample: str
    method: str
    metric: str
    message: str


class Study:
    """A finished benchmark. Made by `open_study`; reads its files as they are asked for."""

    folder: Path
    plan: Plan
    facts: Json
    """Model, weights' hash, versions, methods left out and why, how many samples."""

    @cached_property
    def table(self) -> Table:
        """Every value, sample by sample, undefined ones NaN; without the curves, which are in `curves`."""
        raise NotImplementedError

    @cached_property
    def curves(self) -> list[MeanCurve]:
        """The mean curve of every method under every metric that follows one."""
        raise NotImplementedError

    @cached_property
    def costs(self) -> dict[str, MethodCost]:
        """By the label of the method; baselines cost nothing and are left out."""
        raise NotImplementedError

    @cached_property
    def failures(self) -> list[Failure]:
        """What failed, each as far up as it reaches."""
        raise NotImplementedError

    def maps(self, sample: str, method: str) -> Attribution:
        """Return the map of a sample by a method, if it was kept."""
        raise NotImplementedError

    def kept(self) -> Iterator[tuple[str, str]]:
        """Yield (sample, method) for every map that was kept."""
        raise NotImplementedError

    def rows(self) -> Iterator[Row]:
        """Yield every row with its curve, from the file."""
        raise NotImplementedError


def open_study(folder: str | Path) -> Study:
    """Open the study in a run folder."""
    raise NotImplementedError
