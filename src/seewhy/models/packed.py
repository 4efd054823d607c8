"""Packed convolutions: oneDNN's kernels for processors, with weights in its own order and more inside.

torch brings the weights of a convolution into oneDNN's order anew with every pass, and pads, adds shortcuts
and rectifies in passes over memory of their own; on two cores these trips take a tenth to a third of what
networks need. Packed, the weights are brought there once, and oneDNN pads, adds and rectifies while it
writes. `seewhy.models.packing` puts them into a copy of a network.

Gradients of the input go through the same kernels: the gradient of a convolution is a convolution with
turned weights. Weights have none. Which cells of a rectifier let gradients pass is decided in the precision
of the pass forward; given that, all is linear, and bf16 is enough for the way back (`half_gradients`).

The kernels know plain tensors only: whoever comes with others, or with inputs of another size, is answered by
the convolution and the rectifier themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from seewhy.models.turned import evened, phases, turned

Margins: TypeAlias = tuple[int, int, int, int]
"""Cells that are added left, right, above and below."""
Rectifier: TypeAlias = type[nn.Module]
"""One of `KERNELS`."""

KERNELS: dict[Rectifier, tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
    nn.Hardswish: ("hardswish", []),
}
"""Rectifiers that oneDNN knows: its name and numbers for them."""
_AFTER: dict[Rectifier, nn.Module] = {
    nn.ReLU6: nn.ReLU6(inplace=True),
    nn.SiLU: nn.SiLU(inplace=True),
    nn.Hardswish: nn.Hardswish(inplace=True),
}
"""What rectifies behind a sum, where the kernel knows ReLU alone."""
GATES: frozenset[Rectifier] = frozenset({nn.ReLU, nn.ReLU6})
"""Those whose gradient is known by what they put out: it passes or it does not."""
_HALF: ContextVar[Literal["no", "where quick", "everywhere"]] = ContextVar("_HALF", default="no")
"""Where gradients of what is done now go back in bf16."""
_FEW = 64
"""Channels that a gradient may have when all cells of a stride are channels."""
_ONE, _MANY = 1, 2
"""Sizes of batches that weights are packed for: oneDNN may order them otherwise for a single input, and then
brings them back with every call; from two on the order is the same."""


class PackedConvolution(nn.Module):
    """A convolution and the rectifier behind it.

    Parameters
    ----------
    convolution
        Frozen, its weights in single precision or bf16.
    rectifier
        One of those that oneDNN knows; None where none follows.
    size
        `(c, h, w)` of the inputs that it is packed for.
    margins
        Zeros around the input.
    """

    def __init__(
        self, convolution: nn.Conv2d, rectifier: nn.Module | None, size: Sequence[int], margins: Margins
    ) -> None:
        super().__init__()
        self.convolution, self.rectifier = convolution, rectifier
        for name, child in convolution.named_children():  # names stay
            self.add_module(name, child)
        self.size, self.dtype = torch.Size(size), convolution.weight.dtype
        left, right, above, below = self.margins = margins
        c, self.weight = convolution, (convolution.weight.detach(),)  # in a tuple: no parameter of its own
        around, self.even = [above, left], left == right and above == below
        """Whether the kernel can pad."""
        alone = c.groups == c.in_channels == c.out_channels and max(c.dilation) == 1
        if not self.even and alone:  # a row of zeros more costs less than a trip through memory
            widened, around = evened(self.weight[0], margins)
            self.weight, self.even = (widened,), True
        self.at = (around if self.even else [0, 0], list(c.stride), list(c.dilation), c.groups)
        self._forward: dict[int, Tensor] = {}
        self._backward: dict[tuple[Any, ...], tuple[Tensor, Sequence[Any]]] = {}
        grown = [size[0], size[1] + above + below, size[2] + left + right]
        self._grown = list(size) if self.even else grown
        self._forward[_MANY] = self._packed(_MANY)
        after = None if rectifier is None else type(rectifier)
        self._alone = (Step(self, after, 0),)
        self._bare = (Step(self, None, 0),)

    def forward(self, x: Tensor) -> Tensor:
        """Return `rectifier(convolution(x))`."""
        if not self.takes(x):
            y: Tensor = self.convolution(x)
        elif differentiates(x) and self._alone[0].rectifier not in {None, *GATES}:
            y = follow(x, self._bare)
        else:
            return follow(x, self._alone)
        return y if self.rectifier is None else self.rectifier(y)

    def takes(self, x: Tensor) -> bool:
        """Tell whether the kernel can answer for `x`."""
        fits = type(x) is Tensor and x.ndim == 4 and x.shape[1:] == self.size and x.dtype == self.dtype
        return fits and x.device.type == "cpu" and len(x) > 0

    def kernel(self, x: Tensor, rectifier: Rectifier | None, shortcut: Tensor | None = None) -> Tensor:
        """Return `rectifier(convolution(x) + shortcut)`, without a graph."""
        if not self.even:
            x = functional.pad(x, self.margins)
        many = _ONE if len(x) == 1 else _MANY
        weight = self._forward.get(many)
        if weight is None:
            weight = self._forward[many] = self._packed(many)
        return _convolve(x, weight, self.convolution.bias, self.at, rectifier, shortcut)

    def back(self, slope: Tensor, size: torch.Size, more: Tensor | None = None) -> Tensor:
        """Return the gradient of the input, `size`, given that of what the convolution puts out.

        Parameters
        ----------
        slope
            `(n, k, *out)`.
        size
            `(n, c, h, w)`.
        more
            `(n, c, h, w)` to add to it.
        """
        (down, across), stride, dilation, groups = self.at
        weight = self.weight[0].to(slope.dtype)
        sides = weight.shape[2:]
        step, out = stride[0], slope.shape[2:]
        square = stride == [step, step] and dilation == [1, 1] and groups == 1
        if step > 1 and square and [step * o for o in out] == list(size[2:]) and size[1] * step**2 <= _FEW:
            fine = functional.pixel_shuffle(self._convolved(slope, "phases", None), step)
            return fine if more is None else fine + more
        if step > 1 and square and list(sides) == [1, 1] and not any(self.margins):
            whole = slope.new_zeros(size) if more is None else more.clone()
            whole[:, :, ::step, ::step] += self._convolved(slope, "turned", None)
            return whole
        reach = [d * (side - 1) for d, side in zip(dilation, sides, strict=True)]
        if self.even and stride == [1, 1] and down <= reach[0] and across <= reach[1]:
            return self._convolved(slope, "turned", more)
        left, right, above, below = (0, 0, 0, 0) if self.even else self.margins
        grown = [*size[:2], size[2] + above + below, size[3] + left + right]
        gradient: Any = torch.ops.aten.convolution_backward
        like, around, wanted = slope.new_empty(1).expand(grown), [down, across], [True, False, False]
        raw = gradient(slope, like, weight, None, stride, around, dilation, False, [0, 0], groups, wanted)
        found: Tensor = raw[0]
        found = found[:, :, above : above + size[2], left : left + size[3]]
        return found if more is None else found + more

    def _convolved(self, slope: Tensor, how: Literal["turned", "phases"], more: Tensor | None) -> Tensor:
        """Return a convolution of the gradient of the output."""
        (down, across), (step, _), dilation, groups = self.at
        key = (slope.dtype, _ONE if len(slope) == 1 else _MANY, *slope.shape[1:])
        known = self._backward.get(key)
        if known is None:
            weight = self.weight[0]
            if how == "phases":
                weight, around = phases(weight, step, self.margins[2], self.margins[0])
            else:
                reach = [d * (side - 1) for d, side in zip(dilation, weight.shape[2:], strict=True)]
                weight, around = turned(weight, groups), [reach[0] - down, reach[1] - across]
            at = (around, [1, 1], dilation, groups)
            packed = _reorder(weight.to(slope.dtype), at, [key[1], *slope.shape[1:]])
            known = self._backward[key] = packed, at
        return _convolve(slope, known[0], None, known[1], None, more)

    def _packed(self, many: int) -> Tensor:
        return _reorder(self.weight[0], self.at, [many, *self._grown])


@dataclass(frozen=True, eq=False)
class Step:
    """One convolution of several that follow each other, and what it does with its result.

    Parameters
    ----------
    convolution
        Whose kernel it is.
    rectifier
        What comes last.
    source
        What it takes: 0 for the input, k for what step k - 1 put out.
    shortcut
        What is added to its result, likewise.
    """

    convolution: PackedConvolution
    rectifier: Rectifier | None
    source: int
    shortcut: int | None = None


def follow(x: Tensor, steps: Sequence[Step]) -> Tensor:
    """Return what the last of some steps puts out.

    Where `x` has a gradient, all rectifiers must be `GATES`, and what comes back must not be overwritten.
    """
    if differentiates(x):
        done: Tensor = _Followed.apply(x, steps)
        return done
    return _values(x, steps)[-1]


@contextmanager
def half_gradients(where: Literal["where quick", "everywhere"] = "where quick") -> Iterator[None]:
    """Let gradients of what is done inside go back in bf16; see `halvable` for where that is quick."""
    before = _HALF.set(where)
    try:
        yield
    finally:
        _HALF.reset(before)


def halvable(steps: Sequence[Step]) -> bool:
    """Tell whether gradients of steps in single precision are known sooner in bf16.

    One convolution alone is done before its gradients are rounded, and convolutions of single channels are
    no quicker in bf16. ReLU's gate outlives rounding to bf16, the one at 6 of ReLU6 does not.
    """
    plain = all(s.rectifier in (None, nn.ReLU) and s.convolution.convolution.groups == 1 for s in steps)
    return plain and len(steps) > 1 and steps[0].convolution.dtype == torch.float32


def differentiates(x: Tensor) -> bool:
    """Tell whether what is made of `x` will have a gradient."""
    return x.requires_grad and torch.is_grad_enabled()


def able() -> bool:
    """Tell whether this torch has the kernels: they are inductor's, and not promised to anyone else."""
    wanted = ("_convolution_pointwise", "_reorder_convolution_weight")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in wanted)


class _Followed(torch.autograd.Function):
    """Steps with the gradient of their input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, steps: Sequence[Step]) -> Tensor:
        values = _values(x, steps)
        ctx.steps, ctx.sizes = steps, [v.shape for v in values]
        where = _HALF.get()
        half = where == "everywhere" or (where == "where quick" and halvable(steps))
        ctx.dtype = torch.bfloat16 if half else x.dtype
        gates = (v for s, v in zip(steps, values[1:], strict=True) if s.rectifier is not None)
        ctx.save_for_backward(*(v.to(ctx.dtype) for v in gates))
        return values[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        gated, given = list(ctx.saved_tensors), slope
        slopes = {len(ctx.steps): slope.to(ctx.dtype)}
        for i in reversed(range(len(ctx.steps))):
            step, slope = ctx.steps[i], slopes.pop(i + 1)
            if step.rectifier is not None:
                slope = _gated(slope, gated.pop(), step.rectifier, over=slope is not given)
            if step.shortcut is not None:
                more = slopes.get(step.shortcut)
                slopes[step.shortcut] = slope if more is None else more + slope
            size = ctx.sizes[step.source]
            slopes[step.source] = step.convolution.back(slope, size, slopes.get(step.source))
        return slopes[0].to(given.dtype), None


def _values(x: Tensor, steps: Sequence[Step]) -> list[Tensor]:
    """Return `x` and what each step puts out."""
    values = [x]
    for s in steps:
        shortcut = None if s.shortcut is None else values[s.shortcut]
        values.append(s.convolution.kernel(values[s.source], s.rectifier, shortcut))
    return values


def _gated(slope: Tensor, done: Tensor, rectifier: Rectifier, *, over: bool) -> Tensor:
    """Return the gradient in front of a rectifier, written over that behind it or not."""
    ops: Any = torch.ops.aten
    kernel, ends = (
        (ops.hardtanh_backward, (0.0, 6.0)) if rectifier is nn.ReLU6 else (ops.threshold_backward, (0,))
    )
    gated: Tensor = (
        kernel.grad_input(slope, done, *ends, grad_input=slope) if over else kernel(slope, done, *ends)
    )
    return gated


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    at: Sequence[Any],
    rectifier: Rectifier | None,
    shortcut: Tensor | None,
) -> Tensor:
    kernel: Any = torch.ops.mkldnn._convolution_pointwise
    name, numbers = ("none", []) if rectifier is None else KERNELS[rectifier]
    if shortcut is None:
        done: Tensor = kernel(x, weight, bias, *at, name, numbers, "")
        return done
    inside = name if rectifier is nn.ReLU else None  # behind a sum the kernel knows no other
    done = kernel.binary(x, shortcut, weight, bias, *at, "add", 1.0, inside, [], None)
    if rectifier is not None and inside is None:
        done = _AFTER[rectifier](done)
    return done


def _reorder(weight: Tensor, at: Sequence[Any], size: Sequence[int]) -> Tensor:
    reorder: Any = torch.ops.mkldnn._reorder_convolution_weight
    packed: Tensor = reorder(weight, *at, list(size))
    return packed
