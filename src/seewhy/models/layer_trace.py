"""What passes on a probe tell about a network's layers: who is called when, where cells lie, what is live.

`explored` looks at every layer: eight inputs go forward (see `seewhy.models.geometry`), one answer back.
`last_useful` finds the default layer alone, from the end, in less than half of that time: one input tells the
order of the calls, then only the last calls are read, and the gradient goes back no further than to them.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seewhy.errors import BadInput, DoesNotFit
from seewhy.models.geometry import Probe, Reader
from seewhy.models.grids import Grid
from seewhy.models.outputs import pick
from seewhy.types import Size

if TYPE_CHECKING:
    from seewhy.models.model import Model

_NEVER_DEFAULT = re.compile(r"pool|drop|identity|flatten|permute|stochasticdepth", re.IGNORECASE)
LATE = 32
"""Calls from the end among which `last_useful` looks."""


@dataclass(frozen=True)
class Layer:
    """One layer as a forward pass found it.

    Parameters
    ----------
    name, type
        Its name in `module.named_modules()` and its class.
    shape
        Of its output, without the batch axis.
    grid
        How the output lies over the input; None where it does not.
    live
        Whether the answer depends on the cells of this output (patch tokens behind the last attention often
        do not).
    reason
        Why it does not fit; "" when it does.
    """

    name: str
    type: str
    shape: Size
    grid: Grid | None
    live: bool
    reason: str = ""

    @property
    def fits(self) -> bool:
        """Whether a method that explains on a layer's grid can use it."""
        return not self.reason


@dataclass(frozen=True)
class Survey:
    """All layers in order of execution, and those that may be a default: that one first, containers once."""

    layers: list[Layer]
    useful: list[Layer]


@dataclass(frozen=True)
class _Call:
    """A layer's last call: shape of its output, the layer that made that tensor, and calls so far."""

    name: str
    module: nn.Module
    shape: Size
    maker: str
    times: int


def explored(model: Model, input_shape: Size) -> Survey:
    """Look at every layer; see `seewhy.models.layers.survey`."""
    with _refusing(model, input_shape):
        probe = Probe.of(input_shape)
        calls, grids = _read(model, probe)
        live = _live(model, probe, grids)
    return _survey(model, calls, grids, live)


def last_useful(model: Model, input_shape: Size) -> Layer | None:
    """Return the default layer, the one that `explored` finds; None where it is not among the last calls."""
    with _refusing(model, input_shape):
        probe = Probe.of(input_shape)
        with torch.no_grad():
            late = {call.name for call in _calls(model, probe.x[:1])[-LATE:]}
        calls, grids = _read(model, probe, late)
        live = _live(model, probe, grids)
    return next(iter(_survey(model, calls, grids, live).useful), None)


@contextmanager
def _refusing(model: Model, input_shape: Size) -> Iterator[None]:
    """Say of which inputs a network made nothing."""
    if len(input_shape) not in (3, 4):
        raise BadInput(
            f"Asked for the layers of {model.name} on inputs of shape {input_shape}",
            "Inputs are (channels, height, width) or (channels, frames, height, width)",
        )
    try:
        yield
    except Exception as error:
        first_line = (str(error).strip() or "no message").splitlines()[0]
        raise DoesNotFit(
            f"Asked for the layers of {model.name} on inputs of shape {input_shape}",
            f"Its forward pass failed with {type(error).__name__}: {first_line}",
            "Give inputs of the size that the model was made for",
        ) from error


def _calls(
    model: Model,
    x: Tensor,
    meet: Callable[[Tensor], object] = lambda _tensor: None,
    look: Callable[[str, Tensor, Any], None] = lambda _name, _out, _raw: None,
) -> list[_Call]:
    """Run a pass and return every layer's last call, in their order.

    Parameters
    ----------
    meet
        Is shown the tensors that layers are given.
    look
        Is shown a layer's name, its output and all that it returned, as the output passes by.
    """
    calls: dict[str, _Call] = {}
    # id: tensor, its version, the layer that made it
    seen: dict[int, tuple[weakref.ref[Tensor], int, str]] = {}

    def before(_module: nn.Module, args: Any, kwargs: Any) -> None:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor):
                meet(value)

    def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, _args: Any, raw: Any) -> None:
            try:
                out = pick(raw)
            except BadInput:
                return
            known = seen.get(id(out))
            same = known is not None and known[0]() is out and known[1] == out._version
            maker = known[2] if same and known is not None else name
            seen[id(out)] = (weakref.ref(out), out._version, maker)
            earlier = calls.pop(name, None)  # the last call counts, and its place in the order
            times = 1 + (earlier.times if earlier else 0)
            look(name, out, raw)
            calls[name] = _Call(name, module, tuple(out.shape[1:]), maker, times)

        return hook

    with ExitStack() as hooks:
        for name, module in model.module.named_modules():
            hooks.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            if name:
                hooks.callback(module.register_forward_hook(after(name)).remove)
        model.answer(x)
    return list(calls.values())


def _read(
    model: Model, probe: Probe, names: Collection[str] | None = None
) -> tuple[list[_Call], dict[str, Grid | str]]:
    """Run the probe through the network; return the calls, and the grids of `names` or why they have none.

    Streams of tokens are met wherever they first appear; None reads all layers.
    """
    reader = Reader(probe)
    grids: dict[str, Grid | str] = {}

    def look(name: str, out: Tensor, raw: Any) -> None:
        announced = _announced(raw, probe)
        if names is None or name in names:
            grids[name] = reader.grid(out, announced)
        else:
            reader.meet(out, announced)

    with torch.no_grad():
        return _calls(model, probe.x, reader.meet, look), grids


def _announced(raw: Any, probe: Probe) -> Size | None:
    """Return the cells that a layer names beside its output, as multiscale video transformers do."""
    if isinstance(raw, tuple | list):
        for item in raw:
            whole = isinstance(item, tuple | list | torch.Size) and all(type(i) is int for i in item)
            if whole and len(item) == len(probe.size):
                return tuple(item)
    return None


def _live(model: Model, probe: Probe, found: Mapping[str, Grid | str]) -> set[str]:
    """Return the layers in whose cells a random projection of the answer has a gradient."""
    grids = {name: grid for name, grid in found.items() if isinstance(grid, Grid)}
    if not grids or not model.differentiable:
        return set()
    with torch.enable_grad():
        answer = model.answer(probe.x[1:2], list(grids), differentiable=True)
        if not answer.output.requires_grad:
            return set()
        direction = torch.randn(answer.output.shape, generator=torch.Generator().manual_seed(1)).to(
            answer.output
        )
        gradients = torch.autograd.grad(
            (answer.output * direction).sum(), list(answer.activations.values()), allow_unused=True
        )
    return {
        name
        for name, g in zip(answer.activations, gradients, strict=True)
        if g is not None and bool(grids[name].read(g).any())
    }


def _survey(
    model: Model, calls: list[_Call], grids: Mapping[str, Grid | str], live: Collection[str]
) -> Survey:
    """Say of every layer whether it fits, and why not."""
    layers = []
    for call in calls:
        found = grids.get(call.name, "nobody looked at its grid")
        grid, reason = (None, found) if isinstance(found, str) else (found, "")
        if not model.differentiable:
            reason = "the model only runs forward"
        elif grid is not None and call.name not in live:
            reason = "the answer does not depend on its cells (their gradient is zero)"
        kind = type(call.module).__name__
        layers.append(Layer(call.name, kind, call.shape, grid, call.name in live, reason))
    return Survey(layers, _useful(layers, calls))


def _useful(layers: list[Layer], calls: list[_Call]) -> list[Layer]:
    """Return the layers that fit and may be a default, last first, one for each tensor."""
    types = {c.name: type(c.module) for c in calls}
    groups: dict[str, list[Layer]] = {}
    for layer, call in zip(layers, calls, strict=True):
        if not layer.fits or layer.grid is None or max(layer.grid.cells[-2:]) == 1 or call.times > 1:
            continue
        # A layer that was called again later no longer stands for what it made before.
        maker = types.get(call.maker, type(call.module))
        if any(
            issubclass(t, nn.Linear) or _NEVER_DEFAULT.search(t.__name__) for t in (maker, type(call.module))
        ):
            continue
        groups.setdefault(call.maker, []).append(layer)
    order = {layer.name: i for i, layer in enumerate(layers)}
    outermost = [
        min(group, key=lambda layer: (layer.name.count("."), -order[layer.name])) for group in groups.values()
    ]
    last = {
        layer.name: max(order[m.name] for m in group)
        for layer, group in zip(outermost, groups.values(), strict=True)
    }
    return sorted(outermost, key=lambda layer: last[layer.name], reverse=True)
