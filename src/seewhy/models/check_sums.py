"""Check sums of weights on an accelerator, replayed: launching them one by one takes longer than the sums.

What is added up are the weights' bits where they lie. So the work of one look is recorded as a CUDA graph
when the same places are looked at again, and replayed as long as the weights stay there; what they hold may
change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors

Places: TypeAlias = tuple[tuple[int, torch.Size, tuple[int, ...], torch.dtype], ...]
"""Address, shape, strides and type of each tensor."""

_TOGETHER = 1 << 22
"""Elements that are looked at together: few launches, and little memory, which a recording keeps."""
_MOST = 1 << 24
"""Elements of a tensor from which nothing is recorded, for the memory that would be kept."""
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_COMPLEX = {torch.complex32, torch.complex64, torch.complex128}
_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class CheckSums:
    """The check sums of some tensors, again and again.

    Parameters
    ----------
    places
        Where the tensors are.
    """

    def __init__(self, places: Places) -> None:
        self.places = places
        self.refused = any(shape.numel() > _MOST for _, shape, _, _ in places)
        """Whether the work cannot be recorded; it then runs as it is."""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._found = torch.empty(0)

    def again(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return `check_sums` of the tensors, which are at the places."""
        if self._graph is None and not self.refused:
            self._record(tensors)
        if self._graph is None:
            return check_sums(tensors)
        self._graph.replay()
        return self._found.clone()

    def _record(self, tensors: Sequence[Tensor]) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._found = check_sums(tensors)
            self._graph = graph
        except RuntimeError:  # something else is being recorded, or memory ran out
            self.refused = True


_KNOWN: WeakKeyDictionary[nn.Module, CheckSums] = WeakKeyDictionary()


def on_accelerator(module: nn.Module, tensors: Sequence[Tensor]) -> Tensor:
    """Return `check_sums` of a network's tensors on accelerators; recorded when they are asked for again."""
    places = tuple((t.data_ptr(), t.shape, t.stride(), t.dtype) for t in tensors)
    known = _KNOWN.get(module)
    if known is not None and known.places == places and len({t.device for t in tensors}) == 1:
        return known.again(tensors)
    _KNOWN[module] = CheckSums(places)
    return check_sums(tensors)


def summable(t: Tensor) -> bool:
    """Tell whether a tensor's bits can be added up where they lie."""
    return t.is_cuda and t.dtype not in _COMPLEX


def check_sums(tensors: Sequence[Tensor]) -> Tensor:
    """Return int64 numbers that depend on every bit of the tensors and its place."""
    alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for t in tensors:
        alike.setdefault((t.device, t.dtype), []).append(t)
    groups = [group for those in alike.values() for group in _groups(those)]
    longest = max(sum(t.numel() for t in group) for group in groups)
    factors = {device: _factors(longest, device) for device, _ in alike}
    return torch.stack([_check_sum(g, factors[g[0].device]).to(tensors[0].device) for g in groups])


def _factors(count: int, device: torch.device) -> Tensor:
    """Return odd numbers: no change of one element, and hardly an exchange of two, leaves their sum as is."""
    return torch.arange(1, count + 1, device=device) * _GOLDEN | 1


def _groups(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    group: list[Tensor] = []
    held = 0
    for t in tensors:
        if group and held + t.numel() > _TOGETHER:
            yield group
            group, held = [], 0
        group.append(t)
        held += t.numel()
    yield group


def _check_sum(group: list[Tensor], factors: Tensor) -> Tensor:
    """Return the check sum of tensors of one type, on their device."""
    flat = _flatten_dense_tensors(group)
    bits = flat.view(_WHOLE[flat.element_size()])
    total: Tensor = (bits * factors[: len(bits)]).sum()
    return total
