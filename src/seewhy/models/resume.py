"""Resume from a layer: run only the part of the network behind it.

Two small passes record which modules a forward pass calls, in what order, and what they return. To resume,
every module that had finished before the layer returns a placeholder instead of working, the layer returns
the given activation, and the rest runs as ever, plain code between modules included. Placeholders, and the
network's input, are NaN in the right shape: whatever goes around the layer (a residual connection, say) makes
the answer NaN, and the layer is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seewhy.errors import DoesNotFit, SeeWhyError
from seewhy.models import taps
from seewhy.models.calls import Call, Constant, Hidden, Kind, leaves, map_tensors, record
from seewhy.models.outputs import Answer, pick, swap
from seewhy.types import Size

if TYPE_CHECKING:
    from seewhy.models.model import Model

RTOL = 1e-3
"""Largest difference from the full pass, as a part of the answer's largest magnitude."""


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
            raise DoesNotFit(
                f"Asked to resume from {self.layer!r} with shape {tuple(activation.shape[1:])}",
                f"The layer puts out {tuple(self.activation.shape[1:])}",
            )
        c, *size = self.input_shape
        x = Kind((1, 0, *[0] * len(size)), (0, c, *size), self.model.dtype, self.model.device)
        n = len(activation)
        tapping: AbstractContextManager[dict[str, Tensor]]
        tapping = taps.read(self.model.module, layers) if layers else nullcontext({})
        with _replaced(self._plans, activation, n, self._dense), tapping as kept:
            raw = self.model.module(x.placeholder(n, self._dense))
        return Answer(raw, pick(raw, self.model.output), self.input_shape, {**kept, self.layer: activation})


def resume_from(model: Model, layer: str, x: Tensor, first: Answer | None = None) -> Resumption:
    """Run the network once on `x`, unless its answer is at hand; return what it takes to go on from `layer`.

    A layer that is called several times is resumed from its last call. The first time for a layer, the
    network's structure is recorded and the resumed pass is compared with the full one; both are cached on the
    model.

    Parameters
    ----------
    model
        The network.
    layer
        A name in `module.named_modules()`.
    x
        `(n, c, *size)` inputs.
    first
        Its answer on them with the layer kept.

    Raises
    ------
    UnknownName
        For an unknown layer, with the nearest names.
    DoesNotFit
        When the network goes around the layer or cannot be resumed, with the reason.
    """
    target = taps.find_layer(model.module, layer)
    shape = tuple(x.shape[1:])
    with model.untouched() as (_, tensors), torch.no_grad():
        full = model.answer(x, [layer]) if first is None else first
        activation = full.activations[layer].detach()
        # Recorded constants come from the weights, so that they go with them.
        weights = tuple((t.data_ptr(), t._version) for t in tensors)
        key = ("resume", shape, layer, id(model.module))
        known = model.memo.get(key)
        if known is None or known[0] != weights:
            known = model.memo[key] = (
                weights,
                _prepare(model, layer, target, shape, weights, activation, full),
            )
    if isinstance(known[1], str):
        raise DoesNotFit(
            f"Asked to resume {model.name} from its layer {layer!r}",
            known[1],
            "Choose a layer that everything passes through, or run the whole network",
        )
    plans, dense = known[1]
    return Resumption(model, layer, shape, activation, full, plans, dense)


def _prepare(
    model: Model, layer: str, target: nn.Module, shape: Size, weights: Any, activation: Tensor, full: Answer
) -> tuple[list[tuple[nn.Module, list[Any]]], bool] | str:
    """Return the plans of the modules before the layer, checked once, or why there are none."""
    key = ("calls", shape, id(model.module))
    if key not in model.memo or model.memo[key][0] != weights:
        model.memo[key] = (weights, record(model, shape))
    calls: list[Call] = model.memo[key][1]
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
            problem = (
                f"Its forward pass failed behind the layer with {type(error).__name__}: {error}".splitlines()[
                    0
                ]
            )
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


# -- replacing -----------------------------------------------------------------------------------------------


class _Real:
    """Marks a call that runs."""


class _Layer:
    """Marks the call that returns the activation; `output` is its template."""

    def __init__(self, output: Any) -> None:
        self.output = output


def _plan(calls: list[Call], layer: nn.Module) -> list[tuple[nn.Module, list[Any]]] | str:
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
            if any(isinstance(leaf, Hidden) for leaf in leaves(call.output)):
                return (
                    f"{call.name!r}, before it, puts out whole numbers that depend on the input: whether the "
                    "network goes around the layer cannot be told"
                )
            steps.append(call.output)
        else:
            steps.append(_Real())
            continue
        skipped.add(call.index)
    return [(m, steps) for m, steps in plans.values() if not all(isinstance(s, _Real) for s in steps)]


@contextmanager
def _replaced(
    plans: list[tuple[nn.Module, list[Any]]], activation: Tensor, batch: int, dense: bool
) -> Iterator[None]:
    """Let modules follow their plans inside the block; their own `forward` comes back whatever happens."""

    def fill(leaf: Any) -> Any:
        if isinstance(leaf, Kind):
            return leaf.placeholder(batch, dense)
        return leaf.tensor(batch) if isinstance(leaf, Constant) else leaf

    def follow(real: Callable[..., Any], steps: list[Any]) -> Callable[..., Any]:
        coming = iter(steps)

        def forward(*args: Any, **kwargs: Any) -> Any:
            step = next(coming, None)
            if step is None or isinstance(step, _Real):
                return real(*args, **kwargs)
            if isinstance(step, _Layer):
                # A copy: what follows may write into it.
                return swap(map_tensors(step.output, fill), activation.clone())
            return map_tensors(step, fill)

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
