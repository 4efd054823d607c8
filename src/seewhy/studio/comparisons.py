"""Comparisons that came to their end, by the hash of everything that they follow from; told again at once.

Their maps are not kept here but looked up among the session's: where one has gone, there is no answer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from seewhy.studio.jobs import Job
from seewhy.studio.maps import Kept, MapCache
from seewhy.studio.refusals import Missing
from seewhy.studio.schema import AgreementEvent, Cell, CellsEvent, CompareDone

MOST = 64
"""Comparisons that are kept."""


@dataclass(frozen=True)
class Part:
    """What was found of one method or baseline.

    Parameters
    ----------
    maps
        Identifiers of its maps, in the order of the photos; none of a baseline.
    problem
        Why it is left out, or "".
    """

    method: str
    cells: Sequence[Cell]
    maps: Sequence[str]
    seconds: float
    problem: str


@dataclass(frozen=True)
class Finished:
    """A comparison that came to its end."""

    parts: Sequence[Part]
    agreement: AgreementEvent
    command: str
    remarks: Sequence[str]


class Comparisons:
    """The last comparisons of a session that came to their end."""

    def __init__(self, maps: MapCache) -> None:
        self._maps = maps
        self._known: OrderedDict[str, Finished] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: str, finished: Finished) -> None:
        """Keep a comparison."""
        with self._lock:
            self._known[key] = finished
            self._known.move_to_end(key)
            if len(self._known) > MOST:
                self._known.popitem(last=False)

    def told(self, key: str, job: Job) -> Iterator[None] | None:
        """Return work that tells a comparison again, or None where it or one of its maps is not kept."""
        with self._lock:
            finished = self._known.get(key)
        if finished is None:
            return None
        maps = {name: self._maps.get(name) for part in finished.parts for name in part.maps}
        found = {name: kept for name, kept in maps.items() if kept is not None}
        return _tell(finished, found, job) if len(found) == len(maps) else None


def _tell(finished: Finished, maps: dict[str, Kept], job: Job) -> Iterator[None]:
    for done, part in enumerate(finished.parts, 1):
        job.send(partial(_event, part, maps, job.id, done, len(finished.parts)))
    job.send(lambda: finished.agreement)
    end = CompareDone(job=job.id, command=finished.command, remarks=list(finished.remarks))
    job.send(lambda: end)
    yield from ()


def _event(part: Part, maps: dict[str, Kept], job: str, done: int, total: int) -> CellsEvent:
    return CellsEvent(
        job=job,
        method=part.method,
        cells=list(part.cells),
        maps=[maps[name].event(job) for name in part.maps],
        seconds=part.seconds,
        done=done,
        total=total,
        finished=True,
        problem=part.problem,
    )


def missing(_job: Job) -> Iterator[None]:
    """Say that a comparison is not kept: as the answer of a stream, since a page may well ask."""
    raise Missing("finished comparison", "with these choices", "Compare again")
