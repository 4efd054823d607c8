"""A contest: several ways to do the same work, timed in turn, compared with the floor and each other."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from seewhy.agreement import Agreement

Work = Callable[[], Tensor | None]


@dataclass
class Entrant:
    """One way to do the work.

    Parameters
    ----------
    name
        As in the table.
    work
        Does it once; returns its maps for the agreement check, or None where no equality is claimed.
    share
        Part of the contest's passes that one call does: what takes minutes is timed on fewer.
    repeats
        At most so many timed calls.
    rank
        Lowest rank correlation of its maps with ours, where its precision is another; None: as the contest's.
    warm
        A shorter call before the first timed one, where the whole is long.
    seconds
        Of each repeat, as if all passes were done.
    peak
        Most memory it took, in GiB; on CPUs that of the process so far.
    """

    name: str
    work: Work
    share: float = 1.0
    repeats: int = 1_000
    rank: float | None = None
    warm: Work | None = None
    seconds: list[float] = field(default_factory=list)
    peak: float = 0.0

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)


@dataclass
class Contest:
    """Entrants over one task.

    Parameters
    ----------
    task
        What is done, as in the table.
    passes
        Forward passes that the task asks for (a forward and backward pass counts as one).
    floor
        The bare passes and nothing else.
    entrants
        The first is ours; those that return maps must agree with it.
    tolerance
        Largest absolute difference between maps, relative to the largest value.
    rank
        Lowest rank correlation of maps, where precision differs; None: `tolerance` alone counts.
    """

    task: str
    passes: int
    floor: Entrant
    entrants: list[Entrant]
    tolerance: float = 1e-4
    rank: float | None = None
    agreement: list[str] = field(default_factory=list)

    def run(self, repeats: int) -> None:
        """Time everything in turn and check the agreement.

        Raises
        ------
        SystemExit
            When two entrants that claim the same map differ.
        """
        everyone = [self.floor, *self.entrants]
        maps: dict[str, Tensor | None] = {}
        for e in everyone:  # the warm-up, and the check
            self._say(f"warm-up, {e.name}")
            _reset_peak()
            found = (e.warm or e.work)()
            maps[e.name] = None if found is None else found.detach().float().cpu()
            e.peak = _peak()
        self._check(maps)
        for r in range(repeats):
            for e in everyone:  # in turn, so that a busy moment hits all alike
                if r >= e.repeats:
                    continue
                self._say(f"repeat {r + 1} of {repeats}, {e.name}")
                _synchronise()
                start = time.perf_counter()
                e.work()
                _synchronise()
                e.seconds.append((time.perf_counter() - start) / e.share)
        self._say("")

    def rows(self) -> list[dict[str, object]]:
        """Return one row an entrant."""
        base = self.floor.median
        return [
            {
                "task": self.task,
                "who": e.name,
                "seconds": e.median,
                "least": min(e.seconds),
                "most": max(e.seconds),
                "passes_per_second": self.passes / e.median,
                "floor": e.median / base,
                "peak_gib": e.peak,
            }
            for e in [self.floor, *self.entrants]
        ]

    def _say(self, what: str) -> None:
        if sys.stderr.isatty():
            line = f"{self.task}: {what}" if what else ""
            print(f"\r{line:<110}", end="" if what else "\r", file=sys.stderr)

    def _check(self, maps: dict[str, Tensor | None]) -> None:
        first = self.entrants[0].name
        ours = maps[first]
        ranks = {e.name: e.rank for e in self.entrants}
        for name, theirs in maps.items():
            if theirs is None or ours is None or name == first:
                continue
            gap = float((theirs - ours).abs().max() / ours.abs().max())
            spearman = float(Agreement.of(ours, theirs).spearman.min())
            rank = ranks.get(name) or self.rank
            close = gap <= self.tolerance if rank is None else spearman >= rank
            self.agreement.append(f"{name}: largest difference {gap:.1e}, rank correlation {spearman:.5f}")
            if not close:
                raise SystemExit(f"{self.task}, {first}: no contest with {self.agreement[-1]}")


def best_batch(work: Callable[[int], float], sizes: tuple[int, ...]) -> int:
    """Return the size at which `work(size)`, passes a second, is largest."""
    return max(sizes, key=work)


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
