"""A contest: several ways to do the same work, timed in turn, compared with the floor and each other."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Work = Callable[[], Tensor | None]


@dataclass
class Entrant:
    """One way to do the work.

    Parameters
    ----------
    name
        As in the table.
    work
        Does it once; returns its map for the agreement check, or None where no equality is claimed.
    seconds
        Of each repeat.
    """

    name: str
    work: Work
    seconds: list[float] = field(default_factory=list)


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
        The first is ours; the others must agree with it.
    tolerance
        Largest absolute difference between maps, relative to the largest value.
    """

    task: str
    passes: int
    floor: Entrant
    entrants: list[Entrant]
    tolerance: float = 1e-4

    def run(self, repeats: int) -> list[str]:
        """Time everything in turn, check the agreement, return the rows of the table.

        Raises
        ------
        SystemExit
            When two entrants that claim the same map differ.
        """
        everyone = [self.floor, *self.entrants]
        maps = {e.name: e.work() for e in everyone}  # also the warm-up
        self._check(maps)
        for r in range(repeats):
            for e in everyone:  # in turn, so that a busy moment hits all alike
                print(f"\r{self.task}: repeat {r + 1} of {repeats}, {e.name:<40}", end="", file=sys.stderr)
                _synchronise()
                start = time.perf_counter()
                e.work()
                _synchronise()
                e.seconds.append(time.perf_counter() - start)
        print("\r" + " " * 100 + "\r", end="", file=sys.stderr)
        base = statistics.median(self.floor.seconds)
        return [self._row(e, base) for e in everyone]

    def _check(self, maps: dict[str, Tensor | None]) -> None:
        ours = maps[self.entrants[0].name]
        for name, theirs in maps.items():
            if theirs is None or ours is None:
                continue
            gap = float((theirs - ours).abs().max() / ours.abs().max())
            if not gap <= self.tolerance:
                raise SystemExit(
                    f"{self.task}: {name} differs from {self.entrants[0].name} by {gap:.1e}: no contest"
                )

    def _row(self, e: Entrant, base: float) -> str:
        median, least, most = statistics.median(e.seconds), min(e.seconds), max(e.seconds)
        return (
            f"| {self.task} | {e.name} | {median:.3f} | {least:.3f} to {most:.3f} "
            f"| {self.passes / median:,.0f} | {median / base:.2f} |"
        )


HEADER = "| task | who | seconds (median) | range | passes/s | x floor |\n|---|---|---|---|---|---|"


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
