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

from seewhy.models.cudnn import CudnnWeight
from seewhy.models.input_gradient import InputGradient
from seewhy.models.onednn import Rectifier, Weight
from seewhy.models.turned import evened

Margins: TypeAlias = tuple[int, int, int, int]
"""Cells that are added left, right, above and below."""

GATES: frozenset[Rectifier] = frozenset({nn.ReLU, nn.ReLU6})
"""Those whose gradient is known by what they put out: it passes or it does not."""
_HALF: ContextVar[Literal["no", "where quick", "everywhere"]] = ContextVar("_HALF", default="no")
"""Where gradients of what is done now go back in bf16."""


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
        c = convolution
        for name, child in convolution.named_children():  # names stay
            self.add_module(name, child)
        self.size, self.dtype = torch.Size(size), c.weight.dtype
        left, right, above, below = margins
        weight, zeros = c.weight.detach(), [above, left]
        even = left == right and above == below
        if not even and c.groups == c.in_channels == c.out_channels and max(c.dilation) == 1:
            # A row of zeros more costs less than a trip through memory.
            weight, zeros = evened(weight, margins)
            margins, even = (zeros[1], zeros[1], zeros[0], zeros[0]), True
        self.margins = None if even else margins
        """Zeros that the kernel cannot add itself."""
        grown = (size[0], size[1] + above + below, size[2] + left + right)
        at = (zeros if even else [0, 0], list(c.stride), list(c.dilation), c.groups)
        self.weight = (
            CudnnWeight(weight, at) if weight.is_cuda else Weight(weight, at, size if even else grown)
        )
        self.back = InputGradient(weight, at, margins, size)
        after = None if rectifier is None else type(rectifier)
        self._steps = (Step(self, after, 0),)
        self._bare = (Step(self, None, 0),)

    def forward(self, x: Tensor) -> Tensor:
        """Return `rectifier(convolution(x))`."""
        if not self.takes(x):
            y: Tensor = self.convolution(x)
        elif differentiates(x) and self._steps[0].rectifier not in {None, *GATES}:
            y = follow(x, self._bare)
        else:
            return follow(x, self._steps)
        return y if self.rectifier is None else self.rectifier(y)

    def takes(self, x: Tensor) -> bool:
        """Tell whether the kernel can answer for `x`."""
        fits = type(x) is Tensor and x.ndim == 4 and x.shape[1:] == self.size and x.dtype == self.dtype
        return fits and x.device == self.convolution.weight.device and len(x) > 0

    def kernel(self, x: Tensor, rectifier: Rectifier | None, shortcut: Tensor | None = None) -> Tensor:
        """Return `rectifier(convolution(x) + shortcut)`, without a graph."""
        x = x if self.margins is None else functional.pad(x, self.margins)
        return self.weight.convolve(x, self.convolution.bias, rectifier, shortcut)


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


class _Followed(torch.autograd.Function):
    """Steps with the gradient of their input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, steps: Sequence[Step]) -> Tensor:
        values = _values(x, steps)
        ctx.steps = steps
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
            slopes[step.source] = step.convolution.back(slope, slopes.get(step.source))
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
