"""Progress of long work, on stderr, and only where somebody is looking."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from seewhy.execution import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


class Reporter:
    """Feeds `Execution.progress` into bars; a silent one does nothing.

    Parameters
    ----------
    bars
        Where to draw; None for silence.
    """

    def __init__(self, bars: Bars | None) -> None:
        self.bars = bars
        self._work = bars.add_task("", total=None, visible=False) if bars is not None else None
        self._items = bars.add_task("", total=None, visible=False) if bars is not None else None

    @property
    def progress(self) -> Progress | None:
        """What `Execution` takes."""
        return self._step if self.bars is not None else None

    def item(self, done: int, total: int, what: str) -> None:
        """Say that `done` of `total` photos (or the like) are finished and `what` is next."""
        if self.bars is not None and self._items is not None:
            self.bars.update(self._items, description=what, completed=done, total=total, visible=True)

    def _step(self, done: int, total: int, what: str) -> None:
        assert self.bars is not None
        assert self._work is not None
        self.bars.update(self._work, description=what, completed=done, total=total, visible=True)


@contextmanager
def reporting() -> Iterator[Reporter]:
    """Give a `Reporter`: bars where stderr is a terminal, silence otherwise. The bars vanish at the end."""
    # Asked of the file itself: FORCE_COLOR makes a rich console call every log file a terminal.
    if not sys.stderr.isatty():
        yield Reporter(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield Reporter(bars)
