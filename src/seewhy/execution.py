"""How to run, as opposed to what to compute: seed, batch, precision, progress, cancelling.

Nothing here changes what a method means; the same method with another `Execution` gives the same map within
float tolerance (another seed: within the method's sampling error).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from seewhy.errors import BadInput, Cancelled

Precision = Literal["auto", "fp32", "fp16", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "fp32", "fp16", "bf16")


Progress: TypeAlias = Callable[[int, int, str], None]
"""Receives (steps done, steps in all, name of the work); must return quickly."""


@dataclass(frozen=True)
class Execution:
    """Options of one run.

    Parameters
    ----------
    seed
        Seed of everything random; the global generators are neither read nor moved.
    batch_size
        Model inputs a forward pass, at least 1; `None` lets the scorer choose.
    precision
        Arithmetic of forward-only passes; those that differentiate use that of the weights, but for class
        activation maps on processors, which "bf16" takes from a copy in that type. "auto"
        takes half precision where a trial on the inputs shows that scores keep their order (see
        `seewhy.perturb.calibration`), and says in the result what it took.
        On processors it also lets a copy with normalisation folded give many gradients of an input, and
        the first passes of many inputs, which "fp32" does not (see `seewhy.perturb.differentiation` and
        `seewhy.models.fast_copy`).
    compiled
        Whether forward-only passes run through `torch.compile`; None compiles where the device is an
        accelerator and the run is long enough to repay it.
    progress
        Called after each batch.
    cancelled
        Asked before each batch; work stops with `Cancelled` when it answers true.
    device
        Where to run ("cpu", "cuda:0"); the model returns to its own device afterwards. None stays there.
    refresh
        Seconds after which a method that refines its map shows it again to who watches (`Method.stream`),
        above 0; None: at fixed numbers of steps. What a run ends with does not depend on it.
    """

    seed: int = 0
    batch_size: int | None = None
    precision: Precision = "auto"
    compiled: bool | None = None
    progress: Progress | None = None
    cancelled: Callable[[], bool] | None = None
    device: str | None = None
    refresh: float | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise BadInput(
                "Asked for a batch size", f"Found {self.batch_size}", "Give a whole number of at least 1"
            )
        if self.refresh is not None and not self.refresh > 0:
            raise BadInput("Asked to refresh maps", f"Found {self.refresh}", "Give seconds above 0")
        if self.precision not in PRECISIONS:
            raise BadInput(
                f"Asked for the precision {self.precision!r}",
                "There is no such precision",
                f"Choose one of {', '.join(PRECISIONS)}",
            )

    def pace(self) -> Pace:
        """Return a clock that says when to show a map again."""
        return Pace(self.refresh)

    def step(self, done: int, total: int, what: str) -> None:
        """Report progress, then stop with `Cancelled` where the caller wishes it."""
        if self.progress is not None:
            self.progress(done, total, what)
        if self.cancelled is not None and self.cancelled():
            raise Cancelled(f"Stopped as asked, {done} of {total} steps into {what}.")


class Pace:
    """Says when somebody who watches is due to see something new.

    Parameters
    ----------
    seconds
        Between two looks; None: never.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds, self._last = seconds, time.monotonic()

    @property
    def due(self) -> bool:
        """Whether so much time has passed since the last look."""
        return self.seconds is not None and time.monotonic() - self._last >= self.seconds

    def looked(self) -> None:
        """Begin to wait for the next look."""
        self._last = time.monotonic()


@dataclass
class Passes:
    """Counts model inputs that went forward and backward (one image through the network once = 1)."""

    forward: int = 0
    backward: int = 0
