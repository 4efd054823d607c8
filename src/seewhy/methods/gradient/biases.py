"""What the biases of a network add to its score: the terms of FullGrad besides input x gradient.

Every call of a torch function passes by, so that biases are found wherever they are added: in modules or
plain code, once or many times. The model itself is not touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from seewhy.methods.gradient.activations import GATES, OTHERS, RELU6

_CONVOLUTIONS: set[Any] = {
    functional.conv1d,
    functional.conv2d,
    functional.conv3d,
    functional.conv_transpose1d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
}
_ELEMENTWISE: set[Any] = RELU6 | GATES | {f for f, name in OTHERS.items() if name != "GLU"}


@dataclass(frozen=True)
class Explicit:
    """A bias that was added to give `out`; `channels_first` tells how `out` lies."""

    out: Tensor
    bias: Tensor
    channels_first: bool

    @property
    def wrt(self) -> tuple[Tensor, ...]:
        """The tensors whose gradients `term` takes."""
        return (self.out,)

    def term(self, slope: Tensor) -> Tensor:
        """Return bias times gradient, shaped like `out`."""
        return self.bias.float() * slope.float()


@dataclass(frozen=True)
class Implicit:
    """An elementwise function: y = h(x) is h'(x) x plus a bias, y - h'(x) x, that depends on x."""

    x: Tensor
    y: Tensor
    channels_first: bool = True

    @property
    def wrt(self) -> tuple[Tensor, ...]:
        """The tensors whose gradients `term` takes."""
        return (self.y, self.x)

    def term(self, slope: Tensor, slope_x: Tensor) -> Tensor:
        """Return bias times gradient: the gradient of x already holds h'(x)."""
        return self.y.detach().float() * slope.float() - self.x.detach().float() * slope_x.float()


class Biases(TorchFunctionMode):
    """Inside this context every bias that takes part in a forward pass is kept, in order.

    Copies flow on, so that in-place operations behind a layer reach neither values nor gradients of what was
    kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Explicit | Implicit] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Let every function work as ever and keep what it adds."""
        kwargs = kwargs or {}
        if func in _ELEMENTWISE:
            return self._elementwise(func, args, kwargs)
        out = func(*args, **kwargs)
        if func in _CONVOLUTIONS or func is functional.linear:
            bias, first = _argument("bias", 2, args, kwargs), func in _CONVOLUTIONS
        elif func is functional.batch_norm:
            bias, first = _shift(args, kwargs), True
        else:
            return out
        if bias is None or not out.requires_grad:
            return out
        axes = out.ndim - 2 if first else 0
        self.kept.append(Explicit(out, bias.detach().reshape(-1, *[1] * axes), first))
        return out.clone()

    def _elementwise(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        x = args[0] if args else kwargs.pop("input")
        if not x.requires_grad:
            return func(x, *args[1:], **kwargs)
        kept = x.clone()
        given = kept.clone()
        y = func(given, *args[1:], **kwargs)
        self.kept.append(Implicit(kept, y))
        # An in-place function shows its effect on x, too.
        return x.copy_(y) if y is given else y.clone()


def _argument(name: str, place: int, args: Any, kwargs: Any, default: Any = None) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)


def _shift(args: Any, kwargs: Any) -> Tensor | None:
    """Return what batch norm in evaluation mode adds: bias - mean * weight / deviation."""
    names = ("running_mean", "running_var", "weight", "bias")
    mean, var, weight, bias = (_argument(name, 1 + i, args, kwargs) for i, name in enumerate(names))
    if mean is None or var is None or _argument("training", 5, args, kwargs, False):
        return None
    scale = torch.rsqrt(var + _argument("eps", 7, args, kwargs, 1e-5))
    shift: Tensor = -mean * (scale if weight is None else scale * weight)
    return shift if bias is None else shift + bias
