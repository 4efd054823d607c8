"""What a forward pass calls, in what order, and what the calls return; `seewhy.models.resume` reads it."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seewhy.types import Size

if TYPE_CHECKING:
    from seewhy.models.model import Model

ROWS = (1, 3)
"""Batch sizes of the recording passes: two, to tell the axes that grow with the batch from the others."""


@dataclass(frozen=True)
class Kind:
    """A tensor that depends on the input. Axis i has `slope[i] * batch + offset[i]` places."""

    slope: Size
    offset: Size
    dtype: torch.dtype
    device: torch.device

    def placeholder(self, batch: int, dense: bool) -> Tensor:
        """Return NaN of this kind for `batch` samples: one element in memory, unless `dense`."""
        shape = [a * batch + b for a, b in zip(self.slope, self.offset, strict=True)]
        nan = torch.full((), float("nan"), dtype=self.dtype, device=self.device)
        return nan.expand(shape).clone() if dense else nan.expand(shape)


@dataclass(frozen=True)
class Constant:
    """A tensor that is the same for every input (position encodings, say); `axis` holds the samples."""

    value: Tensor
    axis: int | None

    def tensor(self, batch: int) -> Tensor:
        """Return it for `batch` samples."""
        return self.value if self.axis is None else torch.cat([self.value] * batch, self.axis)


@dataclass(frozen=True)
class Hidden:
    """A tensor of whole numbers that depends on the input: it cannot be NaN, so its use would go unseen."""


@dataclass
class Call:
    """One call of a module; `index` counts starts, `ended` counts ends, `parent` made the call."""

    module: nn.Module
    name: str
    index: int
    parent: Call | None
    ended: int = -1
    output: Any = None


def record(model: Model, shape: Size) -> list[Call]:
    """Return a pass' calls in order of their starts, outputs as templates; empty where two passes differ."""
    draw = torch.Generator().manual_seed(0)
    small, large = ROWS
    first: list[list[Size]] = []
    with _watched(model.module, lambda raw: first.append([tuple(t.shape) for t in _tensors(raw)])) as calls:
        model.answer(torch.randn(small, *shape, generator=draw))
    order = [c.name for c in calls]
    ends = iter(first)

    def template(raw: Any) -> Any:
        shapes = iter(next(ends, []))
        return map_tensors(raw, lambda t: _template(t, next(shapes, tuple(t.shape))))

    with _watched(model.module, template) as calls:
        # Samples of different brightness and contrast: what they agree in does not depend on the input.
        level = torch.tensor([0.0, 1.5, -1.5]).reshape(-1, *[1] * len(shape))
        model.answer(torch.randn(large, *shape, generator=draw) * (1 + level.abs()) + level)
    return calls if [c.name for c in calls] == order else []


@contextmanager
def _watched(module: nn.Module, keep: Callable[[Any], Any]) -> Iterator[list[Call]]:
    """List the calls made inside the block; each one's `output` is what `keep` makes of it."""
    calls: list[Call] = []
    open_calls: list[Call] = []
    clock = iter(range(1 << 62))

    with ExitStack() as hooks:
        for name, m in module.named_modules():

            def enter(m: nn.Module, _args: Any, name: str = name) -> None:
                call = Call(m, name, len(calls), open_calls[-1] if open_calls else None)
                calls.append(call)
                open_calls.append(call)

            def leave(_m: nn.Module, _args: Any, raw: Any) -> None:
                call = open_calls.pop()
                call.ended, call.output = next(clock), keep(raw)

            hooks.callback(m.register_forward_pre_hook(enter).remove)
            hooks.callback(m.register_forward_hook(leave).remove)
        yield calls


def _template(t: Tensor, small: Size) -> Kind | Constant | Hidden:
    """Tell from its shape in the small pass and its values in the large one what a tensor is."""
    rows_small, rows_large = ROWS
    if len(small) != t.ndim:
        return Hidden()
    slope = tuple((b - a) // (rows_large - rows_small) for a, b in zip(small, t.shape, strict=True))
    offset = tuple(b - s * rows_large for b, s in zip(t.shape, slope, strict=True))
    growing = [i for i, s in enumerate(slope) if s]
    if not growing:
        return Constant(t.clone(), None)
    axis = growing[0]
    if len(growing) == 1 and not offset[axis]:
        one, *others = t.chunk(rows_large, axis)
        if all(torch.equal(one, other) for other in others):
            return Constant(one.clone(), axis)
    if not (t.is_floating_point() or t.is_complex()):
        return Hidden()
    return Kind(slope, offset, t.dtype, t.device)


# -- nested outputs ------------------------------------------------------------------------------------------

_LEAVES = (Tensor, Kind, Constant, Hidden)


def map_tensors(value: Any, function: Callable[[Any], Any]) -> Any:
    """Return a copy of nested containers with `function` applied to their tensors and templates."""
    if isinstance(value, _LEAVES):
        return function(value)
    if isinstance(value, tuple | list):
        items = [map_tensors(v, function) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Mapping):
        fresh: Any = copy.copy(value)
        for k, v in value.items():
            fresh[k] = map_tensors(v, function)
        return fresh
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fresh = copy.copy(value)
        for f in dataclasses.fields(value):
            object.__setattr__(fresh, f.name, map_tensors(getattr(value, f.name), function))
        return fresh
    return value


def leaves(value: Any) -> list[Any]:
    """Return the tensors and templates in nested containers, in order."""
    found: list[Any] = []

    def take(leaf: Any) -> Any:
        found.append(leaf)
        return leaf

    map_tensors(value, take)
    return found


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in leaves(value) if isinstance(leaf, Tensor)]
