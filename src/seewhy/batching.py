"""Work in batches that fit: split a queue, halve on out-of-memory, lose nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import TypeVar

import torch
from torch import Tensor

from seewhy.errors import SeeWhyError
from seewhy.execution import Execution

T = TypeVar("T")

_PIXELS = 224 * 224
"""The input size at which the default batches below hold; smaller inputs get more, larger ones fewer."""
_DEFAULT_BATCH = {"cpu": (8, 512), "cuda": (1024, 8192)}
"""Inputs of 224 x 224 in a forward pass, and the most of any size.

On CPUs few: the C library returns the memory of larger activations to the system after every pass, and
asking for it anew costs more than the arithmetic. On accelerators as many as bring the last per cent.
"""
_DIFFERENTIATED = 16
"""How many times more memory an input takes when every activation is kept for the way back (accelerators)."""
_ACTIVATIONS = 40
"""About how many times the memory of an input in single precision its activations take, at most."""


class OutOfMemory(SeeWhyError):
    """A single input does not fit into the device's memory."""


def default_batch_size(x: Tensor, *, differentiated: bool = False) -> int:
    """Return the batch size for inputs like `x`: a function of device and size alone, so that runs repeat."""
    cpu = x.device.type == "cpu"
    usual, most = _DEFAULT_BATCH["cpu" if cpu else "cuda"]
    if differentiated and not cpu:
        usual, most = usual // _DIFFERENTIATED, most // _DIFFERENTIATED
    if x.is_cuda:
        memory = torch.cuda.get_device_properties(x.device).total_memory
        most = min(most, memory // 3 // (_ACTIVATIONS * 4 * prod(x.shape[1:])))
    return max(1, min(most, usual * _PIXELS // prod(x.shape[2:])))


def in_batches(
    count: int, size: int, execution: Execution, work: Callable[[int, int], T], what: str
) -> Iterator[T]:
    """Yield `work(start, stop)` over consecutive ranges of `0 .. count`, at most `size` long.

    When memory runs out a range is halved and tried again, so no work is lost or done twice. Progress is
    reported, and cancelling honoured, after every range.

    Raises
    ------
    OutOfMemory
        When a range of one does not fit.
    Cancelled
        When the execution says so.
    """
    start = 0
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


def add_at(sums: Tensor, index: Tensor, values: Tensor) -> None:
    """Add `values[i]` to `sums[index[i]]`, in the same order in every run."""
    if sums.device.type == "cpu":
        sums.index_add_(0, index, values)
    else:  # `index_add_` adds in an order of its own on accelerators; `index_put_` sorts first
        sums.index_put_((index,), values, accumulate=True)
