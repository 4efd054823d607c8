"""Tape: what one pass of a network does, as far as convolutions, rectifiers and sums are concerned.

Values are numbered by the tensors that hold them; what is written in place is a new value. Everything else
that is done with a tensor is on the tape, too, as something foreign. Modules are frames: parts of the tape.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from seewhy.models.onednn import KERNELS
from seewhy.models.packed import Margins
from seewhy.models.padding import margins

Kind: TypeAlias = Literal["convolution", "rectifier", "sum", "foreign"]

_SUMS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__iadd__}
_RECTIFIERS = {torch.relu, torch.relu_, functional.relu, Tensor.relu, Tensor.relu_}
_OVERWRITING = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish)
"""Those of `KERNELS`, which may write over what they take."""
_IDLE = (nn.Identity, nn.Dropout, nn.Dropout2d)
"""What does nothing in evaluation mode."""
_HARMLESS = {Tensor.size, Tensor.dim}
"""What only looks at a tensor, beside its properties."""


@dataclass(frozen=True)
class Event:
    """Something that was done.

    Parameters
    ----------
    kind
        What.
    module
        The convolution or rectifier; `nn.ReLU` made for it where a function rectified.
    sources
        Values that it took.
    output
        The value that it made; of something foreign, the last.
    size
        Of a convolution's input, `(c, h, w)`.
    margins
        How a convolution pads; None: not with zeros, or it is no convolution.
    """

    kind: Kind
    module: nn.Module | None
    sources: tuple[int, ...]
    output: int
    size: torch.Size | None = None
    margins: Margins | None = None


@dataclass(frozen=True)
class Frame:
    """A module's part of the tape.

    Parameters
    ----------
    module
        One that is no leaf.
    start, stop
        Its events.
    source, output
        The value it took first and the one it gave; None where that is not one tensor, or not all.
    """

    module: nn.Module
    start: int
    stop: int
    source: int | None
    output: int | None


class Tape:
    """What one pass does.

    Parameters
    ----------
    module
        In evaluation mode, frozen.
    x
        `(n, c, h, w)` inputs that it takes.
    shown
        Modules whose outputs are of interest.
    """

    def __init__(self, module: nn.Module, x: Tensor, shown: Sequence[nn.Module] = ()) -> None:
        self.events: list[Event] = []
        self.frames: list[Frame] = []
        """In the order in which they end: inner ones first."""
        self.held: set[int] = set()
        """Values that shown modules put out."""
        self.lost: set[int] = set()
        """Values that something was written over."""
        self.calls: Counter[int] = Counter()
        """Of modules, by id."""
        self._numbers: dict[int, int] = {}
        self._alive: list[Tensor] = []  # so that ids stay unique
        self._open: list[tuple[int, int | None]] = []
        self._within = 0
        with ExitStack() as stack:
            for m in module.modules():
                stack.callback(m.register_forward_pre_hook(self._begin, with_kwargs=True).remove)
                stack.callback(m.register_forward_hook(self._end, with_kwargs=True).remove)
                if isinstance(m, _OVERWRITING) and m.inplace:  # results are seen whole
                    stack.callback(setattr, m, "inplace", True)
                    m.inplace = False
            for m in shown:  # behind the others, so that what they found is there
                stack.callback(m.register_forward_hook(self._hold).remove)
            stack.enter_context(torch.no_grad())
            stack.enter_context(_Functions(self))
            module(x)
        self.uses = Counter(source for e in self.events for source in e.sources)
        """Of values, by number."""

    def did(self, function: Any, args: Sequence[Any], result: Any) -> None:
        """Note what a function of torch did."""
        if self._within or function in _HARMLESS or getattr(function, "__name__", "") == "__get__":
            return
        sources = tuple(self._number(t) for t in _tensors(args))
        plain = isinstance(result, Tensor) and all(isinstance(a, Tensor) for a in args)
        if plain and function in _SUMS and len(args) == 2 and args[0].shape == args[1].shape == result.shape:
            self._note("sum", None, sources, result)
        elif function in _RECTIFIERS and len(sources) == 1:
            self._note("rectifier", nn.ReLU(), sources, result)
        else:
            self._note("foreign", None, sources, result)

    def _begin(self, m: nn.Module, args: Any, kwargs: Any) -> None:
        if _leaf(m):
            self._within += 1
            return
        tensors = list(_tensors((*args, *kwargs.values())))
        one = len(tensors) == 1 and args and args[0] is tensors[0]
        self._open.append((len(self.events), self._number(tensors[0]) if one else None))

    def _end(self, m: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        self.calls[id(m)] += 1
        if _leaf(m):
            self._leaf(m, args, kwargs, output)
            self._within -= 1
            return
        start, source = self._open.pop()
        made = self._number(output) if isinstance(output, Tensor) else None
        self.frames.append(Frame(m, start, len(self.events), source, made))

    def _leaf(self, m: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if self._within > 1:
            return
        one = len(args) == 1 and isinstance(args[0], Tensor) and not kwargs
        if one and isinstance(m, _IDLE) and output is args[0]:
            return
        sources = tuple(self._number(t) for t in _tensors((*args, *kwargs.values())))
        if not one or isinstance(m, _IDLE) or not isinstance(output, Tensor):
            self._note("foreign", m, sources, output)
        elif isinstance(m, nn.Conv2d):
            self._note("convolution", m, sources, output, args[0].shape[1:], margins(m, args[0], output))
        else:
            self._note("rectifier", m, sources, output)

    def _hold(self, _: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            self.held.add(self._number(output))

    def _note(
        self,
        kind: Kind,
        m: nn.Module | None,
        sources: tuple[int, ...],
        result: Any,
        size: torch.Size | None = None,
        margins: Margins | None = None,
    ) -> None:
        number = -1
        for t in _tensors([result]):
            if id(t) in self._numbers:
                self.lost.add(self._numbers[id(t)])
            number = self._numbers[id(t)] = len(self._alive)
            self._alive.append(t)
        self.events.append(Event(kind, m, sources, number, size, margins))

    def _number(self, t: Tensor) -> int:
        if id(t) not in self._numbers:
            self._numbers[id(t)] = len(self._alive)
            self._alive.append(t)
        return self._numbers[id(t)]


class _Functions(TorchFunctionMode):
    """Tells a tape of functions of torch, of this thread."""

    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self.tape = tape

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.tape.did(func, (*args, *(kwargs or {}).values()), result)
        return result


def _leaf(m: nn.Module) -> bool:
    return isinstance(m, (nn.Conv2d, *_IDLE)) or type(m) in KERNELS


def _tensors(parts: Sequence[Any]) -> Iterator[Tensor]:
    for part in parts:
        if isinstance(part, Tensor):
            yield part
        elif isinstance(part, tuple | list):
            yield from _tensors(part)
        elif isinstance(part, dict):
            yield from _tensors(list(part.values()))
