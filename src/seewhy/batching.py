"""Work in batches that fit: split a queue, halve on out-of-memory, lose nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from seewhy.errors import SeeWhyError
from seewhy.execution import Execution

T = TypeVar("T")

DEFAULT_BATCH = 32
"""Model inputs a differentiated pass when the user names no batch size."""


class OutOfMemory(SeeWhyError):
    """A single input does not fit into the device's memory."""


def in_batches(
    count: int, execution: Execution, work: Callable[[int, int], T], what: str, default: int = DEFAULT_BATCH
) -> Iterator[T]:
    """Yield `work(start, stop)` over consecutive ranges of `0 .. count`.

    The range is at most the execution's batch size long; when memory runs out it is halved and the same
    range tried again, so no work is lost or done twice. Progress is reported, and cancelling honoured,
    after every range.

    Raises
    ------
    OutOfMemory
        When a range of one does not fit.
    Cancelled
        When the execution says so.
    """
    size, start = execution.batch_size or default, 0
    while start < count:
        stop = min(start + size, count)
        try:
            result = work(start, stop)
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if stop - start == 1:
                raise OutOfMemory(f"One input does not fit into memory during {what}: {error}") from error
            size = max(1, (stop - start) // 2)
            continue
        start = stop
        execution.step(start, count, what)
        yield result


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that memory ran out (torch on CPUs raises plain RuntimeErrors)."""
    text = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "out of memory" in text
        or "can't allocate memory" in text
    )
