"""Packing: which convolutions of a network take in what, found by watching one pass.

A convolution takes in the rectifier behind it, wherever both are modules. In a block that consists of
convolutions, rectifiers and sums alone, it takes in the sum with a shortcut and rectifying functions, too.
Names and places of modules stay. Whether the packed network answers as before is for the caller to test, as
with any replica.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seewhy.models import cudnn, onednn
from seewhy.models.onednn import Rectifier
from seewhy.models.packed import Margins, PackedConvolution, Step
from seewhy.models.packed_block import PackedBlock
from seewhy.models.tape import Event, Frame, Tape
from seewhy.models.untouched import hooks_of


def pack(module: nn.Module, x: Tensor, shown: Sequence[str] = ()) -> int:
    """Pack, in place, the convolutions of a network, and return how many took something in.

    Where none does, nothing is packed: large convolutions gain nothing by that alone.

    Parameters
    ----------
    module
        In evaluation mode, frozen, folded.
    x
        `(n, c, h, w)` inputs that it takes.
    shown
        Names of layers whose outputs stay as they are: nothing that comes behind them is done before.

    Raises
    ------
    Exception
        Whatever a network raises that cannot be run, or has convolutions that oneDNN does not take.
    """
    hooked = {id(m) for m in module.modules() if hooks_of(m)}
    kernels = cudnn.KERNELS if x.is_cuda else frozenset(onednn.KERNELS)
    tape = Tape(module, x, [module.get_submodule(name) for name in shown])
    able = _able(tape, hooked)
    rectifiers = _rectifiers(tape, able, hooked, kernels)
    blocks = _blocks(tape, able, hooked, kernels)
    plans = {id(f.module): (f.module, plan) for f, plan in blocks if f.module is not module}
    if not rectifiers and not plans:
        return 0
    made = {
        i: PackedConvolution(c, rectifiers.get(i), size, margins) for i, (c, size, margins) in able.items()
    }
    gone = {id(r): nn.Identity() for r in rectifiers.values()}
    _exchange(module, {**made, **gone})
    for _, plan in plans.values():
        _take_over_biases(plan)
    _exchange(module, {i: PackedBlock(m, [p.step(made) for p in plan]) for i, (m, plan) in plans.items()})
    busy = {
        id(p.convolution) for _, plan in plans.values() for p in plan if p.rectifier or p.shortcut is not None
    }
    return len(busy | rectifiers.keys())


@dataclass
class _Planned:
    """A step before its convolution is packed."""

    convolution: nn.Module
    source: int
    rectifier: Rectifier | None = None
    shortcut: int | None = None

    def step(self, made: dict[int, PackedConvolution]) -> Step:
        return Step(made[id(self.convolution)], self.rectifier, self.source, self.shortcut)


def _able(tape: Tape, hooked: Collection[int]) -> dict[int, tuple[nn.Conv2d, torch.Size, Margins]]:
    """Return the convolutions that can be packed, by id."""
    return {
        id(e.module): (e.module, e.size, e.margins)
        for e in tape.events
        if isinstance(e.module, nn.Conv2d) and e.size is not None and e.margins is not None
        if tape.calls[id(e.module)] == 1 and id(e.module) not in hooked
    }


def _rectifiers(
    tape: Tape, able: Collection[int], hooked: Collection[int], kernels: Collection[Rectifier]
) -> dict[int, nn.Module]:
    """Return, by the convolution's id, modules that rectify what convolutions gave, and nothing else."""
    sources = {e.output: id(e.module) for e in tape.events if id(e.module) in able}
    found: dict[int, list[Event]] = {}
    for e in tape.events:
        if _known(e, kernels) and tape.calls[id(e.module)]:
            found.setdefault(id(e.module), []).append(e)
    return {
        sources[e.sources[0]]: e.module
        for i, events in found.items()
        if i not in hooked and all(e.sources[0] in sources and _absorbed(tape, e) for e in events)
        for e in events
        if e.module is not None
    }


def _known(e: Event, kernels: Collection[Rectifier]) -> bool:
    """Tell whether a convolution can do what was done, as a rectifier."""
    return e.kind == "rectifier" and type(e.module) in kernels


def _absorbed(tape: Tape, e: Event) -> bool:
    """Tell whether nobody else wants what a rectifier takes, and nobody writes over what it gives."""
    source = e.sources[0]
    return tape.uses[source] == 1 and source not in tape.held and e.output not in tape.lost


def _blocks(
    tape: Tape, able: Collection[int], hooked: Collection[int], kernels: Collection[Rectifier]
) -> list[tuple[Frame, list[_Planned]]]:
    """Return the innermost modules that are steps with a sum, else a rectifying function, and these steps."""
    found: list[tuple[Frame, list[_Planned]]] = []
    taken: set[int] = set()
    for sums in (True, False):
        for frame in tape.frames:
            inside = {id(m) for m in frame.module.modules()}
            if tape.calls[id(frame.module)] == 1 and not inside & (taken | set(hooked)):
                plan = _plan(tape, frame, able, kernels)
                if plan is not None and (not sums or any(p.shortcut is not None for p in plan)):
                    taken |= inside
                    found.append((frame, plan))
    return found


def _plan(
    tape: Tape, frame: Frame, able: Collection[int], kernels: Collection[Rectifier]
) -> list[_Planned] | None:
    """Return a module as steps; None where it is more, or no more than modules can take in by themselves."""
    if frame.source is None:
        return None
    more = False
    places = {frame.source: 0}
    plan: list[_Planned] = []
    for e in tape.events[frame.start : frame.stop]:
        if any(s not in places for s in e.sources) or (e.output in tape.held and e.output != frame.output):
            return None
        took = [places[s] for s in e.sources]
        last = max(took, default=0)
        alone = last > 0 and tape.uses[e.sources[took.index(last)]] == 1 and plan[last - 1].rectifier is None
        if e.module is not None and id(e.module) in able:
            plan.append(_Planned(e.module, took[0]))
            last = len(plan)
        elif e.kind == "sum" and alone and min(took) < last and plan[last - 1].shortcut is None:
            plan[last - 1].shortcut, more = min(took), True
        elif e.module is not None and _known(e, kernels) and alone and e.output not in tape.lost:
            plan[last - 1].rectifier = type(e.module)
            more |= not tape.calls[id(e.module)]
        else:
            return None
        places[e.output] = last
    wanted = {p.source for p in plan} | {p.shortcut for p in plan} | {len(plan)}
    whole = wanted.issuperset(range(len(plan) + 1)) and places.get(frame.output or 0) == len(plan)
    return plan if whole and more else None


def _take_over_biases(plan: Sequence[_Planned]) -> None:
    """Let sums add the biases of what they add, where cuDNN would need a trip through memory for them."""
    for p in plan:
        if not p.shortcut:
            continue
        other = plan[p.shortcut - 1]
        uses = sum((q.source == p.shortcut) + (q.shortcut == p.shortcut) for q in plan)
        own, its = p.convolution._parameters.get("bias"), other.convolution._parameters.get("bias")
        alone = uses == 1 and other.rectifier is None and other.shortcut is None
        if alone and own is not None and its is not None:
            total = (own.float() + its.float()).to(own)
            p.convolution.register_parameter("bias", nn.Parameter(total, requires_grad=False))
            other.convolution.register_parameter("bias", None)


def _exchange(module: nn.Module, others: dict[int, nn.Module] | dict[int, PackedBlock]) -> None:
    """Put other modules, by id of those they stand for, into a network; what they hold themselves stays."""
    for parent in list(module.modules()):
        if not any(parent is other for other in others.values()):
            for name, child in list(parent.named_children()):
                if id(child) in others and not isinstance(parent, PackedConvolution):
                    setattr(parent, name, others[id(child)])
