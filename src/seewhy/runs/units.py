"""Units of work: what is done, and recorded, whole or not at all.

A unit is a chunk of samples going through one method, or the maps of one method going through one metric.
Chunks follow from the plan alone, so that the numbers do not depend on interruptions, engines or workers. A
task is one chunk with whatever of it is still to do: what an engine hands to a worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from seewhy.attribution import Attribution
from seewhy.metrics.baselines import BASELINES
from seewhy.types import Json


class Unit(NamedTuple):
    """A unit's name.

    Without a metric: making the maps of `method`. Without either: reading the samples and the model's answers
    to them.
    """

    chunk: int
    method: str = ""
    metric: str = ""


@dataclass(frozen=True)
class Task:
    """One chunk.

    Parameters
    ----------
    chunk
        Its number.
    indices
        Samples of the data set.
    todo
        Units that are not recorded yet, in the order in which they must be done.
    maps
        By the label of a method, its maps where they were made earlier.
    unexplained
        By the same, why some samples have none, by their place in the chunk.
    """

    chunk: int
    indices: range
    todo: tuple[Unit, ...]
    maps: dict[str, tuple[Attribution, ...]] = field(default_factory=dict)
    unexplained: dict[str, dict[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """A finished unit.

    Parameters
    ----------
    unit
        Which.
    rows
        One entry a sample, in order: {"value": ..., "curve": [...]} under a metric, where there is a curve;
        {"error": message} where it could not be done.
    facts
        Seconds and passes a sample; steps of the curves.
    maps
        Of a unit that makes maps: those of all samples that could be explained.
    """

    unit: Unit
    rows: tuple[Json, ...]
    facts: Json
    maps: tuple[Attribution, ...] = ()


def units_of(chunk: int, methods: Sequence[str], metrics: Sequence[str]) -> Iterator[Unit]:
    """Yield every unit of a chunk in order: samples, each method and its scores, the baselines' scores."""
    yield Unit(chunk)
    for method in methods:
        yield Unit(chunk, method)
        yield from (Unit(chunk, method, metric) for metric in metrics)
    for baseline in BASELINES:
        yield from (Unit(chunk, baseline, metric) for metric in metrics)
