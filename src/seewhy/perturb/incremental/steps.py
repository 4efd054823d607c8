"""What is done to a patch of a map at each kind of operation; an operation that has no rule needs whole maps.

Operations are told by the names under which torch calls them, so that modules, functions, operators and
in-place forms count alike. A step either treats each cell by itself (`slides` is None), or slides a kernel
over the map: convolutions, pooling, and padding, which is a kernel of one cell that is off by some.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seewhy.perturb.incremental.boxes import Slide

_CURVES = """
    relu relu6 leaky_relu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh softplus softsign
    sigmoid logsigmoid log_sigmoid tanh tanhshrink hardshrink softshrink threshold clamp clamp_min clamp_max
    clip abs exp log sqrt rsqrt reciprocal square pow sin cos
"""
_ARITHMETIC = """
    add radd sub rsub subtract mul rmul multiply div truediv rtruediv true_divide divide neg negative positive
    maximum minimum to float half bfloat16 type clone
"""
_CELLWISE = frozenset(f"{_CURVES} {_ARITHMETIC}".split())
_ALIASES = frozenset(("contiguous", "detach", "identity", "alias"))
"""Calls that give back what they are given."""
_IN_PLACE = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "ipow": "pow"}
_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_MAXIMUM = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVERAGE = (
    "input",
    "kernel_size",
    "stride",
    "padding",
    "ceil_mode",
    "count_include_pad",
    "divisor_override",
)
_NORMALISED = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")


@dataclass(frozen=True)
class Step:
    """One operation on patches.

    Parameters
    ----------
    work
        From the patches of its sources (grown by the cells that a kernel reads) to the patch of its result.
    slides
        How the kernel slides, one an axis; None where each cell is treated by itself.
    beyond
        What lies beyond the edge of the map: 0 or -infinity.
    multiply_adds
        For one cell of the result, all channels.
    """

    work: Callable[..., Tensor]
    slides: tuple[Slide, ...] | None = None
    beyond: float = 0.0
    multiply_adds: int = 0


def spoken(function: Callable[..., Any], keywords: dict[str, Any]) -> tuple[str, bool]:
    """Return the plain name of a torch function, and whether the call writes into its first argument."""
    name = getattr(function, "__name__", "")
    in_place = bool(keywords.get("inplace")) or (name.endswith("_") and not name.endswith("__"))
    name = name.strip("_")
    return (_IN_PLACE[name], True) if name in _IN_PLACE else (name, in_place or name == "setitem")


def passes_on(name: str, keywords: dict[str, Any]) -> bool:
    """Tell whether a call returns its argument as it is."""
    return name in _ALIASES or (name.startswith("dropout") and keywords.get("training") is False)


def step(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    keywords: dict[str, Any],
    maps: Sequence[Tensor],
) -> Step | None:
    """Return how to do a call on patches of `maps`, or None where it takes whole ones.

    Parameters
    ----------
    name
        As `spoken` gives it.
    function, args, keywords
        The call. Its maps, `(1, c, *size)`, are among the arguments.
    maps
        Those arguments that depend on the network's input, in order.
    """
    axes = maps[0].ndim - 2
    if axes < 1 or "out" in keywords or any(m.ndim != axes + 2 for m in maps):
        return None
    if name in _SLIDING:
        alone = len(maps) == 1 and bool(args) and args[0] is maps[0]
        return _SLIDING[name](args, keywords, maps[0].shape[1], axes) if alone else None
    if name == "batch_norm":
        bound = _bound(_NORMALISED, args, keywords)
        fixed = not bound.get("training", False) and bound.get("running_mean") is not None
        return Step(_on_patches(name, function, args, keywords, maps)) if fixed and len(maps) == 1 else None
    if any(m.shape[2:] != maps[0].shape[2:] for m in maps):
        return None
    if name in ("cat", "concat", "concatenate"):
        along = _bound(("tensors", "dim"), args, keywords).get("dim", 0)
        only_maps = sum(len(a) for a in args if isinstance(a, list | tuple)) == len(maps)
        return Step(_on_patches(name, function, args, keywords, maps)) if along == 1 and only_maps else None
    others = [a for a in (*args, *keywords.values()) if isinstance(a, Tensor) and not _among(a, maps)]
    if name in _CELLWISE and all(_everywhere_alike(a, axes) for a in others):
        return Step(_on_patches(name, function, args, keywords, maps))
    return None


def _among(t: Tensor, maps: Sequence[Tensor]) -> bool:
    return any(t is m for m in maps)


def _everywhere_alike(t: Tensor, axes: int) -> bool:
    """Tell whether an operand is the same in every cell and for every input."""
    return all(n == 1 for n in t.shape[-axes:]) and t.shape[: max(0, t.ndim - axes - 1)].numel() == 1


def _on_patches(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    keywords: dict[str, Any],
    maps: Sequence[Tensor],
) -> Callable[..., Tensor]:
    """Return the call as a function of the patches that stand for its maps, written into none of them."""
    if spoken(function, keywords)[1]:
        function = getattr(Tensor, name, None) or getattr(functional, name)
        keywords = {k: v for k, v in keywords.items() if k != "inplace"}
    where = {id(m): _Place(i) for i, m in enumerate(maps)}
    call = _mapped((args, keywords), lambda v: where.get(id(v), v))  # holds no map

    def work(*patches: Tensor) -> Tensor:
        given, named = _mapped(call, lambda v: patches[v.index] if isinstance(v, _Place) else v)
        found: Tensor = function(*given, **named)
        return found

    return work


@dataclass(frozen=True)
class _Place:
    """Stands for a map among the arguments of a call."""

    index: int


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return nested arguments with every leaf changed."""
    if isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        return type(value)([_mapped(v, change) for v in value])
    if isinstance(value, dict):
        return {k: _mapped(v, change) for k, v in value.items()}
    return change(value)


# -- kernels that slide --------------------------------------------------------------------------------------


def _convolution(args: tuple[Any, ...], keywords: dict[str, Any], channels: int, axes: int) -> Step | None:
    bound = _bound(_CONVOLUTION, args, keywords)
    weight: Tensor = bound["weight"]
    kernel, stride = tuple(weight.shape[2:]), _each(bound.get("stride", 1), axes)
    dilation, groups = _each(bound.get("dilation", 1), axes), bound.get("groups", 1)
    padding = bound.get("padding", 0)
    if padding == "same":
        # With an even kernel the extra cell lies behind the map, where `Slide` looks by itself.
        padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
    elif padding == "valid":
        padding = 0
    slides = _slides(kernel, stride, _each(padding, axes), dilation)
    call = (functional.conv1d, functional.conv2d, functional.conv3d)[axes - 1]
    left, bias = tuple(s.left for s in slides), bound.get("bias")
    return Step(
        lambda patch: call(patch, weight, bias, left, 0, dilation, groups),
        slides,
        multiply_adds=weight.numel(),
    )


def _max_pool(args: tuple[Any, ...], keywords: dict[str, Any], channels: int, axes: int) -> Step | None:
    bound = _bound(_MAXIMUM, args, keywords)
    if bound.get("return_indices"):
        return None
    kernel = _each(bound["kernel_size"], axes)
    stride = _each(bound.get("stride") or kernel, axes)
    dilation = _each(bound.get("dilation", 1), axes)
    slides = _slides(kernel, stride, _each(bound.get("padding", 0), axes), dilation)
    call = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[axes - 1]
    left = tuple(s.left for s in slides)
    return Step(lambda patch: call(patch, kernel, left, 0, dilation), slides, -inf)


def _avg_pool(args: tuple[Any, ...], keywords: dict[str, Any], channels: int, axes: int) -> Step | None:
    bound = _bound(_AVERAGE, args, keywords)
    kernel = _each(bound["kernel_size"], axes)
    stride = _each(bound.get("stride") or kernel, axes)
    padding = _each(bound.get("padding", 0), axes)
    even = bound.get("count_include_pad", True) or not any(padding)
    if bound.get("ceil_mode") or not even:
        return None  # the divisor differs at the edges
    slides = _slides(kernel, stride, padding, (1,) * axes)
    call = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[axes - 1]
    left, divisor = tuple(s.left for s in slides), bound.get("divisor_override")
    more = {} if divisor is None else {"divisor_override": divisor}
    return Step(lambda patch: call(patch, kernel, left, **more), slides)


def _pad(args: tuple[Any, ...], keywords: dict[str, Any], channels: int, axes: int) -> Step | None:
    bound = _bound(("input", "pad", "mode", "value"), args, keywords)
    widths, value = list(bound["pad"]), bound.get("value") or 0.0
    if bound.get("mode", "constant") != "constant" or value not in (0.0, -inf) or len(widths) > 2 * axes:
        return None
    widths += [0] * (2 * axes - len(widths))
    before = [widths[2 * (axes - 1 - i)] for i in range(axes)]  # pairs, the last axis first
    return Step(lambda patch: patch, tuple(Slide(padding=b) for b in before), value)


_SLIDING: dict[str, Callable[[tuple[Any, ...], dict[str, Any], int, int], Step | None]] = {
    **{f"conv{i}d": _convolution for i in (1, 2, 3)},
    **{f"max_pool{i}d": _max_pool for i in (1, 2, 3)},
    **{f"avg_pool{i}d": _avg_pool for i in (1, 2, 3)},
    "pad": _pad,
}


def _slides(
    kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[Slide, ...]:
    return tuple(Slide(*along) for along in zip(kernel, stride, padding, dilation, strict=True))


def _each(value: Any, axes: int) -> tuple[int, ...]:
    """Return one number an axis."""
    if isinstance(value, int):
        return (value,) * axes
    return tuple(value) * axes if len(value) == 1 else tuple(value)


def _bound(names: tuple[str, ...], args: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
    return {**dict(zip(names, args, strict=False)), **keywords}
