"""Resume from a layer: run only the part of the network behind it.

Two small passes record which modules a forward pass calls, in what order, and what they return. To resume, every module
that had finished before the layer returns a placeholder instead of working, the layer returns the given activation, and the
rest runs as ever, plain code between modules included. Placeholders, and the network's input, are NaN in the right shape:
whatever goes around the layer (a residual connection, say) makes the answer NaN, and the layer is refused.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seewhy.errors import DoesNotFit, SeeWhyError
from seewhy.models import taps
from seewhy.models.outputs import Answer, pick, swap
from seewhy.types import Size

if TYPE_CHECKING:
    from seewhy.models.model import Model

ROWS = (1, 3)
"""Batch sizes of the recording passes: two, so that axes that grow with the batch are told from those that do not."""
RTOL = 1e-3
"""Largest difference from the full pass, as a part of the answer's largest magnitude."""


@dataclass(frozen=True)
class _Kind:
    """A tensor that depends on the input. Axis i has `slope[i] * batch + offset[i]` places."""

    slope: Size
    offset: Size
    dtype: torch.dtype
    device: torch.device

    def placeholder(self, batch: int, dense: bool) -> Tensor:
        shape = [a * batch + b for a, b in zip(self.slope, self.offset, strict=True)]
        nan = torch.full((), float("nan"), dtype=self.dtype, device=self.device)
        # One element in memory, unless the network writes into it.
        return nan.expand(shape).clone() if dense else nan.expand(shape)


@dataclass(frozen=True)
class _Constant:
    """A tensor that is the same for every input (position encodings, say); `axis` is repeated for every sample."""

    value: Tensor
    axis: int | None

    def tensor(self, batch: int) -> Tensor:
        return self.value if self.axis is None else torch.cat([self.value] * batch, self.axis)


@dataclass(frozen=True)
class _Hidden:
    """A tensor of whole numbers that depends on the input: it cannot be NaN, so that its use would go unseen."""


@dataclass
class _Call:
    """One call of a module in the recorded pass; `index` counts the starts, `parent` is the call that made it."""

    module: nn.Module
    name: str
    index: int
    parent: _Call | None
    ended: int = -1
    output: Any = None


@dataclass
class Resumption:
    """The part of the network behind a layer. Made by `resume_from`; use it inside `model.untouched()`.

    Parameters
    ----------
    model, layer
        The network and the name of the layer.
    input_shape
        `(c, *size)` of the inputs.
    activation
        `(n, ...)`: what the layer puts out on the inputs it was made with, detached.
    answer
        The full pass on those inputs.
    """

    model: Model
    layer: str
    input_shape: Size
    activation: Tensor
    answer: Answer
    _plans: list[tuple[nn.Module, list[Any]]] = field(repr=False, default_factory=list)
    _dense: bool = field(repr=False, default=False)

    def __call__(self, activation: Tensor, layers: Sequence[str] = ()) -> Answer:
        """Return the answer for edited activations, differentiable with respect to them.

        Parameters
        ----------
        activation
            `(m, ...)` with any `m`, shaped like the layer's output otherwise.
        layers
            Layers behind this one whose outputs to keep.
        """
        if activation.shape[1:] != self.activation.shape[1:]:
            raise DoesNotFit(f"Asked to resume from {self.layer!r} with an activation of shape {tuple(activation.shape[1:])}",
                             f"The layer puts out {tuple(self.activation.shape[1:])}")
        x = _Kind((1, *[0] * len(self.input_shape)), (0, *self.input_shape), self.model.dtype, self.model.device)
        n = len(activation)
        tapping = taps.read(self.model.module, layers) if layers else nullcontext({})
        with _replaced(self._plans, activation, n, self._dense), tapping as kept:
            raw = self.model.module(x.placeholder(n, self._dense))
        return Answer(raw, pick(raw, self.model.output), self.input_shape, {**kept, self.layer: activation})


def resume_from(model: Model, layer: str, x: Tensor) -> Resumption:
    """Run the network once on `x` and return what is needed to run on from `layer`.

    A layer that is called several times is resumed from its last call. The first time for a layer, the network's structure
    is recorded and the resumed pass is compared with the full one; both are cached on the model.

    Parameters
    ----------
    model
        The network.
    layer
        A name in `module.named_modules()`.
    x
        `(n, c, *size)` inputs.

    Raises
    ------
    UnknownName
        For an unknown layer, with the nearest names.
    DoesNotFit
        When the network goes around the layer or cannot be resumed, with the reason.
    """
    target = taps.find_layer(model.module, layer)
    shape = tuple(x.shape[1:])
    with model.untouched(), torch.no_grad():
        full = model.answer(x, [layer])
        activation = full.activations[layer].detach()
        # Recorded constants come from the weights, so that they go with them.
        weights = tuple((t.data_ptr(), t._version) for t in model.module.state_dict().values() if isinstance(t, Tensor))
        key = ("resume", shape, layer, id(model.module))
        known = model.memo.get(key)
        if known is None or known[0] != weights:
            known = model.memo[key] = (weights, _prepare(model, layer, target, shape, weights, activation, full))
    if isinstance(known[1], str):
        raise DoesNotFit(f"Asked to resume {model.name} from its layer {layer!r}", known[1],
                         "Choose a layer that everything passes through, or run the whole network")
    plans, dense = known[1]
    return Resumption(model, layer, shape, activation, full, plans, dense)


def _prepare(model: Model, layer: str, target: nn.Module, shape: Size, weights: Any, activation: Tensor,
             full: Answer) -> tuple[list[tuple[nn.Module, list[Any]]], bool] | str:
    """Return the plan of each module that must not work, checked against the full pass, or why there is none."""
    key = ("calls", shape, id(model.module))
    if key not in model.memo or model.memo[key][0] != weights:
        model.memo[key] = (weights, _record(model, shape))
    calls: list[_Call] = model.memo[key][1]
    if not calls:
        return "Its forward pass takes another way for another batch"
    plans = _plan(calls, target)
    if isinstance(plans, str):
        return plans
    problem = ""
    for dense in (False, True):
        try:
            resumed = Resumption(model, layer, shape, activation, full, plans, dense)(activation)
        except SeeWhyError:
            raise
        except Exception as error:  # the network may write into a placeholder, or look at its values
            problem = f"Its forward pass failed behind the layer with {type(error).__name__}: {error}".splitlines()[0]
            continue
        return _difference(resumed.output, full.output) or (plans, dense)
    return problem


def _difference(resumed: Tensor, full: Tensor) -> str:
    if resumed.shape != full.shape:
        return f"Resumed, it puts out {tuple(resumed.shape)} instead of {tuple(full.shape)}"
    if not full.is_floating_point():
        return "Its answer holds no real numbers"
    if bool((resumed.isnan() & ~full.isnan()).any()):
        return "The network bypasses the layer: something computed before it reaches the answer another way"
    worst = float((resumed - full).abs().max() / full.abs().max().clamp_min(torch.finfo(full.dtype).tiny))
    tolerance = max(RTOL, 10 * torch.finfo(full.dtype).eps)
    return "" if worst <= tolerance else f"Resumed, its answer differs from the full pass by {worst:.1%}"


# -- recording -------------------------------------------------------------------------------------------------


def _record(model: Model, shape: Size) -> list[_Call]:
    """Return the calls of a forward pass in order, with templates of their outputs; empty where two passes differ."""
    draw = torch.Generator().manual_seed(0)
    small, large = ROWS
    first: list[list[Size]] = []
    with _watched(model.module, lambda raw: first.append([tuple(t.shape) for t in _tensors(raw)])) as calls:
        model.answer(torch.randn(small, *shape, generator=draw))
    order = [c.name for c in calls]
    ends = iter(first)

    def template(raw: Any) -> Any:
        shapes = iter(next(ends, []))
        return _map(raw, lambda t: _template(t, next(shapes, tuple(t.shape))))

    with _watched(model.module, template) as calls:
        model.answer(torch.randn(large, *shape, generator=draw))
    return calls if [c.name for c in calls] == order else []


@contextmanager
def _watched(module: nn.Module, keep: Callable[[Any], Any]) -> Iterator[list[_Call]]:
    """List the calls made inside the block; each one's `output` is what `keep` makes of it."""
    calls: list[_Call] = []
    open_calls: list[_Call] = []
    clock = iter(range(1 << 62))

    with ExitStack() as hooks:
        for name, m in module.named_modules():

            def enter(m: nn.Module, _args: Any, name: str = name) -> None:
                call = _Call(m, name, len(calls), open_calls[-1] if open_calls else None)
                calls.append(call)
                open_calls.append(call)

            def leave(_m: nn.Module, _args: Any, raw: Any) -> None:
                call = open_calls.pop()
                call.ended, call.output = next(clock), keep(raw)

            hooks.callback(m.register_forward_pre_hook(enter).remove)
            hooks.callback(m.register_forward_hook(leave).remove)
        yield calls


def _template(t: Tensor, small: Size) -> _Kind | _Constant | _Hidden:
    """Tell from its shape in the small pass and its values in the large one what a tensor is."""
    rows_small, rows_large = ROWS
    if len(small) != t.ndim:
        return _Hidden()
    slope = tuple((b - a) // (rows_large - rows_small) for a, b in zip(small, t.shape, strict=True))
    offset = tuple(b - s * rows_large for b, s in zip(t.shape, slope, strict=True))
    growing = [i for i, s in enumerate(slope) if s]
    if not growing:
        return _Constant(t.clone(), None)
    axis = growing[0]
    if len(growing) == 1 and not offset[axis]:
        one, *others = t.chunk(rows_large, axis)
        if all(torch.equal(one, other) for other in others):
            return _Constant(one.clone(), axis)
    if not (t.is_floating_point() or t.is_complex()):
        return _Hidden()
    return _Kind(slope, offset, t.dtype, t.device)


# -- replacing -------------------------------------------------------------------------------------------------


class _Real:
    """Marks a call that runs."""


class _Layer:
    """Marks the call that returns the activation; `output` is its template."""

    def __init__(self, output: Any) -> None:
        self.output = output


def _plan(calls: list[_Call], layer: nn.Module) -> list[tuple[nn.Module, list[Any]]] | str:
    """Return, for each module that does not simply run, what each of its calls does when resumed.

    Calls inside a module that does not work are not made, so that they are not counted.
    """
    own = [c for c in calls if c.module is layer]
    if not own:
        return "The forward pass never calls it"
    start = own[-1]
    skipped: set[int] = set()
    plans: dict[int, tuple[nn.Module, list[Any]]] = {}
    for call in calls:  # in order of their starts: parents before children
        if call.parent is not None and call.parent.index in skipped:
            skipped.add(call.index)
            continue
        steps = plans.setdefault(id(call.module), (call.module, []))[1]
        if call is start:
            steps.append(_Layer(call.output))
        elif call.ended < start.ended:
            if any(isinstance(leaf, _Hidden) for leaf in _leaves(call.output)):
                return (f"{call.name!r}, before it, puts out whole numbers that depend on the input: whether the network "
                        "goes around the layer cannot be told")
            steps.append(call.output)
        else:
            steps.append(_Real())
            continue
        skipped.add(call.index)
    return [(m, steps) for m, steps in plans.values() if not all(isinstance(s, _Real) for s in steps)]


@contextmanager
def _replaced(plans: list[tuple[nn.Module, list[Any]]], activation: Tensor, batch: int, dense: bool) -> Iterator[None]:
    """Inside the block, let modules follow their plans; their own `forward` comes back afterwards, whatever happens."""

    def fill(leaf: Any) -> Any:
        return leaf.placeholder(batch, dense) if isinstance(leaf, _Kind) else (
            leaf.tensor(batch) if isinstance(leaf, _Constant) else leaf)

    def follow(real: Callable[..., Any], steps: list[Any]) -> Callable[..., Any]:
        coming = iter(steps)

        def forward(*args: Any, **kwargs: Any) -> Any:
            step = next(coming, None)
            if step is None or isinstance(step, _Real):
                return real(*args, **kwargs)
            if isinstance(step, _Layer):
                # A copy: what follows may write into it.
                return swap(_map(step.output, fill), activation.clone())
            return _map(step, fill)

        return forward

    def restore(module: nn.Module, own: Any, had: bool) -> None:
        if had:
            module.__dict__["forward"] = own
        else:
            module.__dict__.pop("forward", None)

    with ExitStack() as stack:
        for module, steps in plans:
            stack.callback(restore, module, module.__dict__.get("forward"), "forward" in module.__dict__)
            module.__dict__["forward"] = follow(module.forward, steps)
        yield


# -- nested outputs --------------------------------------------------------------------------------------------

_LEAVES = (Tensor, _Kind, _Constant, _Hidden)


def _map(value: Any, function: Callable[[Any], Any]) -> Any:
    """Return a copy of nested tuples, lists, mappings and dataclasses with `function` applied to tensors and templates."""
    if isinstance(value, _LEAVES):
        return function(value)
    if isinstance(value, tuple | list):
        items = [_map(v, function) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Mapping):
        fresh: Any = copy.copy(value)
        for k, v in value.items():
            fresh[k] = _map(v, function)
        return fresh
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fresh = copy.copy(value)
        for f in dataclasses.fields(value):
            object.__setattr__(fresh, f.name, _map(getattr(value, f.name), function))
        return fresh
    return value


def _leaves(value: Any) -> list[Any]:
    found: list[Any] = []
    _map(value, lambda leaf: (found.append(leaf), leaf)[1])
    return found


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in _leaves(value) if isinstance(leaf, Tensor)]
