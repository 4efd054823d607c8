"""Gradients that carry relevance: the steps of a network with a backward pass of their own.

In the whole room a tensor a with the modified gradient g has the relevance a g, element by element. So sums,
means, reshapings, pooling and all that is linear without a constant need no rule: their own gradient hands
relevance on in proportion to the contributions, a residual sum included, and keeps its total. The functions
here replace the gradient of the other steps. None of them changes a value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from seewhy.methods.relevance.composites import Sums
from seewhy.methods.relevance.rules import Rule, Weighted, redistribute

_SMALLEST = 1e-20
"""Magnitude below which an output has nothing to hand on; its inverse is still a number."""


@dataclass
class Landing:
    """Relevance that rules of first layers put out, with the tensor that those layers read."""

    found: list[tuple[Tensor, Tensor]] = field(default_factory=list)


class _Weighted(Function):
    """A layer with weights; relevance goes by a rule."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Weighted, rule: Rule, landing: Landing | None) -> Tensor:
        z = layer(x, layer.weight, layer.bias)
        ctx.save_for_backward(x, z)
        ctx.layer, ctx.rule, ctx.landing = layer, rule, landing
        return z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None, None]:
        x, z = ctx.saved_tensors
        shares = redistribute(ctx.rule, ctx.layer, x, z * gradient)
        if not ctx.rule.first_only:
            return shares[0][1], None, None, None
        ctx.landing.found.append((x, sum((a * q for a, q in shares), torch.zeros_like(x))))
        return None, None, None, None


class _Passed(Function):
    """An elementwise step whose input has the relevance of its output: g_x = g_y y / x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Callable[[Tensor], Tensor]) -> Tensor:
        y = step(x)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, y = ctx.saved_tensors
        ratio = torch.where(x.abs() > _SMALLEST, y / x, torch.zeros_like(x))
        return gradient * ratio, None


class _Share(Function):
    """A factor of a product: it gets a share of the product's relevance."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, share: float) -> Tensor:
        ctx.share = share
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.share, None


class _Summed(Function):
    """A sum whose summands do not share in plain proportion."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, way: Sums) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.way = way
        return a + b

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b = ctx.saved_tensors
        y = a + b
        if ctx.way == "own_sign":
            parts = [torch.where(y < 0, t.clamp(max=0), t.clamp(min=0)) for t in (a, b)]
            n = parts[0] + parts[1]
            each = gradient * torch.where(n != 0, y / n, torch.zeros_like(n))
            return each * (parts[0] != 0), each * (parts[1] != 0), None
        totals = [(t * gradient).flatten(1).sum(1) for t in (a, b)]
        size = totals[0].abs() + totals[1].abs()
        whole = torch.where(size > 0, (totals[0] + totals[1]) / size, torch.zeros_like(size))
        shape = (-1, *[1] * (gradient.ndim - 1))
        g_a, g_b = (gradient * (whole * t.sign()).reshape(shape) for t in totals)
        return g_a, g_b, None


def summed(a: Tensor, b: Tensor, way: Sums) -> Tensor:
    """Return a + b; relevance is shared as `Composite.sums` says, the first axis being samples."""
    out: Tensor = _Summed.apply(a, b, way)
    return out


def last_layers(t: Tensor) -> list[Any]:
    """Return the steps of those layers with weights that no other stands behind on the way to `t`.

    Their `rule` may be set before relevance is sent back.
    """
    found, waiting, seen = [], [t.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, _Weighted._backward_cls):
            found.append(node)
            continue
        waiting.extend(following for following, _ in node.next_functions)
    return found


def weighted(x: Tensor, layer: Weighted, rule: Rule, landing: Landing) -> Tensor:
    """Return the layer's output; its relevance goes by `rule`, into `landing` if that is for first layers."""
    out: Tensor = _Weighted.apply(x, layer, rule, landing)
    return out


def passed(x: Tensor, step: Callable[[Tensor], Tensor]) -> Tensor:
    """Return `step(x)`; the relevance of each output element is that of its input element."""
    out: Tensor = _Passed.apply(x, step)
    return out


def share(x: Tensor, part: float) -> Tensor:
    """Return x; it gets this part of the relevance that its gradient would give it."""
    out: Tensor = _Share.apply(x, part)
    return out


def reads_pixels(x: Tensor) -> bool:
    """Tell whether no layer with weights stands between the network's input and `x`."""
    waiting, seen = [x.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if isinstance(node, _Weighted._backward_cls):
            return False
        seen.add(node)
        waiting.extend(following for following, _ in node.next_functions)
    return True


# -- from the first layer to the pixels ----------------------------------------------------------------------

_ELEMENTWISE = ("Mul", "Div", "Add", "Sub", "Neg", "ToCopy")
_MOVES = (
    "View", "UnsafeView", "Reshape", "Alias", "Clone", "Permute", "Transpose", "T", "Squeeze", "Unsqueeze",
    "Slice", "Select", "Cat", "Stack", "ConstantPadNd", "Expand", "Flip", "Roll", "Index", "IndexSelect",
    "PixelUnshuffle", "Unfold", "AsStrided",
)  # fmt: skip


def carried(node: Any, relevance: Tensor, like: Tensor) -> Tensor | str:
    """Carry relevance from what the first layer reads back to the network's input.

    Moving values moves their relevance; scaling and shifting them one by one (a normalisation inside the
    network) leaves it where it is.

    Parameters
    ----------
    node
        The step that made the tensor; None or a leaf where it is the input itself.
    relevance
        Its relevance.
    like
        The network's input.

    Returns
    -------
    Tensor or str
        Relevance shaped like the input, or the name of a step that cannot be undone so.
    """
    if node is None or node.name().endswith("AccumulateGrad"):
        return relevance if relevance.shape == like.shape else "a broadcast"
    name = node.name().removesuffix("0").removesuffix("Backward")
    following = [f for f, _ in node.next_functions]
    if name in _ELEMENTWISE and sum(f is not None for f in following) == 1:
        parts: tuple[Tensor | None, ...] = tuple(None if f is None else relevance for f in following)
    elif name in _MOVES:
        moved = node(relevance)
        parts = moved if isinstance(moved, tuple) else (moved,)
    else:
        return str(name)
    total = torch.zeros_like(like)
    for f, part in zip(following, parts, strict=True):
        if f is not None and part is not None:
            found = carried(f, part, like)
            if isinstance(found, str):
                return found
            total = total + found
    return total
