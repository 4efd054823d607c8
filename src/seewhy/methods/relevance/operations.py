"""What happens to each operation of a network while relevance is followed: nothing, or another gradient.

A network is read as it runs: every call of a torch function passes through `Followed`, whether a module, a
function or an operator made it, so that nothing in the network is replaced and nothing need be put back.
Operations fall into the groups below; one that is in none of them is refused by name.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from seewhy.errors import DoesNotFit
from seewhy.methods.relevance.attention import multi_head_attention, scaled_dot_product_attention
from seewhy.methods.relevance.composites import Composite
from seewhy.methods.relevance.frozen import FROZEN
from seewhy.methods.relevance.passing import Landing, passed, reads_pixels, share, summed, weighted
from seewhy.methods.relevance.rules import Weighted

_LINEAR = """
    view view_as reshape reshape_as flatten unflatten permute transpose swapaxes swapdims movedim moveaxis t
    adjoint contiguous clone float double half bfloat16 type type_as unsqueeze squeeze expand expand_as
    broadcast_to repeat repeat_interleave tile cat concat concatenate stack hstack vstack chunk split
    split_with_sizes tensor_split unbind select narrow getitem setitem index_select gather take_along_dim roll
    flip rot90 pad pixel_shuffle pixel_unshuffle channel_shuffle unfold fold add radd sub rsub subtract neg
    negative pos sum mean cumsum diff avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d
    adaptive_avg_pool3d interpolate upsample dropout dropout1d dropout2d dropout3d alpha_dropout
    feature_alpha_dropout where masked_fill to T mT H mH
"""  # without a constant, or with one that keeps its part of the relevance
_WINNERS = """
    max_pool1d max_pool2d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max amax min
    amin maximum minimum topk sort
"""
_POWERS = "abs pow square log_softmax"  # a power and the root that follows it undo each other's factor
OWN_GRADIENT = frozenset(f"{_LINEAR} {_WINNERS} {_POWERS}".split())
"""Operations whose own gradient hands relevance on."""

_ELEMENTWISE = """
    relu relu6 prelu leaky_relu rrelu elu selu celu gelu silu mish hardswish hardtanh hardshrink softshrink
    softplus softsign tanh tanhshrink threshold clamp clamp_min clamp_max clip local_response_norm logsigmoid
"""
PASSED = frozenset(_ELEMENTWISE.split())
"""Elementwise steps: relevance passes unchanged."""

_FACTORS = """
    sigmoid hardsigmoid sqrt rsqrt reciprocal norm vector_norm linalg_norm linalg_vector_norm var std detach
    rtruediv
"""
GATES = frozenset(_FACTORS.split())
"""Gates and lengths: they count as constants, relevance goes to what they scale."""

_BILINEAR = """
    mul rmul multiply matmul rmatmul bmm mm mv dot inner einsum baddbmm addmm addbmm addcmul bilinear
"""
PRODUCTS = frozenset(_BILINEAR.split())
"""Products: relevance is shared evenly between the factors that depend on the input."""

QUOTIENTS = frozenset(("div", "truediv", "true_divide", "divide"))
"""Quotients: the denominator counts as a constant."""

_CONVOLUTIONS = {f"conv{i}d": functional.__dict__[f"conv{i}d"] for i in (1, 2, 3)}
_TRANSPOSED = {f"conv_transpose{i}d": functional.__dict__[f"conv_transpose{i}d"] for i in (1, 2, 3)}
_ASSIGNMENTS = {"__iadd__": "add", "__isub__": "sub", "__imul__": "mul", "__itruediv__": "div"}
_PARAMETERS = ("input", "weight", "bias", "stride", "padding")  # the rest goes through by position


class Followed(TorchFunctionMode):
    """Inside the block, operations that depend on an input with gradients get relevance as their gradient.

    Parameters
    ----------
    module
        The network, for the names of its layers in refusals.
    composite
        The rules of layers with weights.
    softmax
        "taylor": by its gradient; "constant": attention weights count as constants; "passed": relevance
        passes it unchanged.

    Attributes
    ----------
    landing
        What rules of first layers have put out.
    """

    def __init__(self, module: nn.Module, composite: Composite, softmax: str = "taylor") -> None:
        super().__init__()
        self.module, self.composite, self.softmax, self.landing = module, composite, softmax, Landing()
        self._made: dict[int, tuple[weakref.ref[Tensor], Weighted]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation; torch calls this."""
        kwargs = kwargs or {}
        if not torch.is_grad_enabled() or not any(t.requires_grad for t in _tensors((args, kwargs))):
            return func(*args, **kwargs)
        return self._run(*_out_of_place(func, kwargs), args)

    def _run(self, func: Any, name: str, kwargs: dict[str, Any], args: tuple[Any, ...]) -> Any:
        if name in _CONVOLUTIONS or name in _TRANSPOSED or name == "linear":
            return self._weighted(func, name, args, kwargs)
        if name == "batch_norm":
            return self._batch_norm(args, kwargs)
        if name in ("scaled_dot_product_attention", "multi_head_attention_forward"):
            written_out = scaled_dot_product_attention if name.startswith("scaled") else multi_head_attention
            with self:  # its steps are operations like any other
                return written_out(*args, **kwargs)
        if name in PASSED or (name.endswith("_norm") and self.composite.norms == "passed"):
            (x, *others), kwargs = _input_first(args, kwargs)
            return passed(x, lambda t: func(t, *others, **kwargs))
        if name in FROZEN:
            return FROZEN[name](*args, **kwargs)
        if name == "add" and self.composite.sums != "proportional" and _two_alike(args, kwargs):
            return summed(args[0], args[1], self.composite.sums)
        if name in PRODUCTS:
            args, kwargs = _shared(name, args, kwargs)
            return func(*args, **kwargs)
        if name in QUOTIENTS:
            return func(args[0], *_map(args[1:], Tensor.detach), **_map(kwargs, Tensor.detach))
        if name == "softmax" and self.softmax == "passed":
            return passed(args[0], lambda t: func(t, *args[1:], **kwargs))
        out = func(*args, **kwargs)
        if name in GATES or (name == "softmax" and self.softmax == "constant"):
            return _map(out, Tensor.detach)
        if name == "clone" and id(args[0]) in self._made:
            self._made[id(out)] = weakref.ref(out), self._made[id(args[0])][1]
        covered = name in OWN_GRADIENT or name == "softmax"
        if not covered and any(t.requires_grad for t in _tensors(out)):
            raise DoesNotFit(
                f"Asked to follow relevance through {type(self.module).__name__}",
                f"No rule covers the operation {name!r}{_place(self.module)}",
                "Choose a method that needs plain gradients (gradient, integrated_gradients) or none (rise)",
            )
        return out

    def _weighted(
        self, func: Callable[..., Tensor], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        named = {**dict(zip(_PARAMETERS, args, strict=False)), **kwargs}
        x, w, b = named.pop("input"), named.pop("weight"), named.pop("bias", None)
        beyond = args[len(_PARAMETERS) :]
        if w.requires_grad or (b is not None and b.requires_grad):  # weights made from the input: a product
            args, kwargs = _shared(name, args, kwargs)
            return func(*args, **kwargs)
        fixed = [named.pop(k) for k in _PARAMETERS[3:] if k in named] if beyond else []

        def run(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
            return func(x, weight, bias, *fixed, *beyond, **named)

        layer = Weighted(run, w, b, 1 if name in _TRANSPOSED else 0, self.composite.share_biases)
        rule = self.composite.rule(first=reads_pixels(x), convolution=name != "linear")
        out = weighted(x, layer, rule, self.landing)
        groups = beyond[1] if len(beyond) > 1 else named.get("groups", 1)
        # Batch norm scales axis 1. Grouped transposed weights have no axis of all output channels.
        if not (name == "linear" and out.ndim > 2) and not (name in _TRANSPOSED and groups > 1):
            self._made[id(out)] = weakref.ref(out), layer
        return out

    def _batch_norm(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        given = inspect.signature(functional.batch_norm).bind(*args, **kwargs)
        given.apply_defaults()
        a = given.arguments
        if a["training"]:
            raise DoesNotFit(
                f"Asked to follow relevance through {type(self.module).__name__}",
                f"Batch norm{_place(self.module)} uses the statistics of the batch",
                "Give it running statistics",
            )
        x = a.pop("input")
        before, layer = self._made.get(id(x), (None, None))
        if layer is not None and before is not None and before() is x:
            scale = (a["running_var"] + a["eps"]).rsqrt()
            scale = scale if a["weight"] is None else scale * a["weight"]
            shift = -a["running_mean"] * scale
            layer.merge(scale, shift if a["bias"] is None else shift + a["bias"])
        return passed(x, lambda t: functional.batch_norm(t, **a))


def _out_of_place(func: Any, kwargs: dict[str, Any]) -> tuple[Any, str, dict[str, Any]]:
    """Return an operation that overwrites nothing which relevance needs later, and its plain name."""
    raw = getattr(func, "__name__", str(func))
    if raw == "__get__":  # an attribute such as x.mT
        return func, func.__self__.__name__, kwargs
    if kwargs.get("inplace"):
        kwargs = {**kwargs, "inplace": False}
    plain = _ASSIGNMENTS.get(raw, raw[:-1] if raw[-1] == "_" != raw[0] else None)
    found = None if plain is None or raw == "requires_grad_" else getattr(Tensor, plain, None)
    return (func, raw.strip("_"), kwargs) if found is None else (found, str(plain), kwargs)


def _input_first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if args:
        return args, kwargs
    rest = dict(kwargs)
    return (rest.pop("input"),), rest


def _shared(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give each factor that depends on the input an even share of its gradient."""
    summands = args[:1] if name.startswith("add") or name == "baddbmm" else ()
    factors = (args[len(summands) :], kwargs)
    count = sum(t.requires_grad for t in _tensors(factors))
    if count < 2:
        return args, kwargs
    shared: tuple[tuple[Any, ...], dict[str, Any]] = _map(
        factors, lambda t: share(t, 1 / count) if t.requires_grad else t
    )
    return (*summands, *shared[0]), shared[1]


def _two_alike(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether a sum is of two tensors of one shape that both depend on the input."""
    return (
        not kwargs
        and len(args) == 2
        and all(isinstance(t, Tensor) and t.requires_grad for t in args)
        and args[0].shape == args[1].shape
    )


def _place(module: nn.Module) -> str:
    """Return where in the network the current operation is, from the stack."""
    names = {id(m): name for name, m in module.named_modules()}
    frame: Any = sys._getframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and id(owner) in names:
            name = names[id(owner)]
            return f" in {f'the layer {name!r}' if name else 'the network itself'} ({type(owner).__name__})"
        frame = frame.f_back
    return ""


def _map(value: Any, function: Callable[[Tensor], Any]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple | list):
        items = [_map(v, function) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {k: _map(v, function) for k, v in value.items()}
    return value


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for v in value:
            yield from _tensors(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from _tensors(v)
