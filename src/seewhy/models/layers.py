"""The layers of a model: what they put out, how that lies over the input, and which of them a method can use.

Two passes find out: one forward pass on a probe (see `seewhy.models.geometry`) gives every layer its grid,
and one gradient of the answer says which layers it depends on. The default layer is the last in order of
execution that

- has a grid of more than one cell over rows and columns,
- is live: the answer has a gradient in its cells. The patch tokens that a transformer with a class token puts
  out last are not, so that the last block's first norm is chosen there;
- is called once: a name that stands for several calls is no place to look at or to edit;
- is neither a bare `nn.Linear` (projections inside attention) nor a pooling, dropout, identity or reshaping
  layer.

Layers that put out the same tensor (a container and its last child) are one: it goes by the outermost live
name, and by what made it, so that a container that ends in a pooling layer counts as pooling.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seewhy.errors import BadInput, DoesNotFit, UnknownName, did_you_mean, nearest
from seewhy.models.geometry import Probe, Reader
from seewhy.models.grids import Grid
from seewhy.models.outputs import pick
from seewhy.models.untouched import structure
from seewhy.types import Size

if TYPE_CHECKING:
    from seewhy.models.model import Model

_NEVER_DEFAULT = re.compile(r"pool|drop|identity|flatten|permute|stochasticdepth", re.IGNORECASE)
_SHOWN = 6


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


@dataclass
class _Called:
    """A layer's last call: shape and grid of its output, or why it has none, who made it, calls so far."""

    name: str
    module: nn.Module
    shape: Size
    grid: Grid | str
    maker: str
    times: int


@dataclass(frozen=True)
class _Survey:
    layers: list[Layer]
    useful: list[Layer]  # the default first, then what comes before it; containers once


def survey(model: Model, input_shape: Size) -> list[Layer]:
    """Return every layer that a forward pass on `(c, *size)` inputs calls, in order of execution.

    A layer called several times stands where its last call stands. The result is cached with the network.

    Raises
    ------
    DoesNotFit
        When the network cannot run on inputs of this shape.
    """
    return list(_surveyed(model, input_shape).layers)


def default_layer(model: Model, input_shape: Size) -> Layer:
    """Return the layer that Grad-CAM and its family use when none is named: the module's head says which.

    Raises
    ------
    DoesNotFit
        When no layer fits.
    """
    useful = _surveyed(model, input_shape).useful
    if not useful:
        why = (
            "it only runs forward"
            if not model.differentiable
            else "no layer has cells that the answer has a gradient in (it never has behind a head of zeros)"
        )
        raise DoesNotFit(
            f"Asked for a layer of {model.name} to explain",
            f"None fits: {why}",
            "Use a method that needs no layer",
        )
    return useful[0]


def useful_layers(model: Model, input_shape: Size) -> list[Layer]:
    """Return the layers that may be a default: that one first, then those before it, containers once.

    Raises
    ------
    DoesNotFit
        When no layer fits.
    """
    default_layer(model, input_shape)
    return list(_surveyed(model, input_shape).useful)


def layer_of(model: Model, layer: str | None, input_shape: Size) -> Layer:
    """Return the layer of that name if it fits (None: the default), or refuse with those that fit.

    Raises
    ------
    UnknownName
        With the nearest names.
    DoesNotFit
        When it has no grid, is not live or is never called.
    """
    if layer is None:
        return default_layer(model, input_shape)
    found = _find(model, layer, input_shape)
    if not found.fits:
        raise _refusal(model, found, input_shape)
    return found


def grid_of(model: Model, layer: str, input_shape: Size) -> Grid:
    """Return the grid of `layer`, or refuse with the layers that have one. The layer need not be live.

    Raises
    ------
    UnknownName
        With the nearest names.
    DoesNotFit
        When it has no grid or is never called.
    """
    found = _find(model, layer, input_shape)
    if found.grid is None:
        raise _refusal(model, found, input_shape)
    return found.grid


def _find(model: Model, layer: str, input_shape: Size) -> Layer:
    result = _surveyed(model, input_shape)
    for found in result.layers:
        if found.name == layer:
            return found
    names = [name for name, _ in model.module.named_modules() if name]
    if layer in names:
        raise DoesNotFit(
            f"Asked for the layer {layer!r} of {model.name}",
            "The forward pass never calls it",
            _those_that_fit(result),
        )
    near = nearest(layer, names)
    raise UnknownName("layer", layer, names, do=did_you_mean(near) or _those_that_fit(result))


def _refusal(model: Model, layer: Layer, input_shape: Size) -> DoesNotFit:
    return DoesNotFit(
        f"Asked for the layer {layer.name!r} of {model.name}",
        f"It put out {layer.shape} and does not fit: {layer.reason}",
        _those_that_fit(_surveyed(model, input_shape)),
    )


def _those_that_fit(result: _Survey) -> str:
    if not result.useful:
        return "No layer of this model fits"
    default, *others = result.useful
    # Outer layers say more: layer4, layer3, layer2 rather than the convolutions of layer4.
    names = [layer.name for layer in (default, *sorted(others, key=lambda layer: layer.name.count(".")))]
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"Layers that fit: {', '.join(names[:_SHOWN])}{rest}"


def _surveyed(model: Model, input_shape: Size) -> _Survey:
    built = structure(model.module)
    known: tuple[Any, _Survey] | None = model.facts.get(("survey", tuple(input_shape)))
    if known is not None and known[0] == built:
        return known[1]
    with model.untouched(), torch.inference_mode(False):
        found = _explore(model, tuple(input_shape))
    if found.useful:  # a head of zeros, say, may yet be trained
        model.facts["survey", tuple(input_shape)] = built, found
    return found


def _explore(model: Model, input_shape: Size) -> _Survey:
    if len(input_shape) not in (3, 4):
        raise BadInput(
            f"Asked for the layers of {model.name} on inputs of shape {input_shape}",
            "Inputs are (channels, height, width) or (channels, frames, height, width)",
        )
    probe = Probe.of(input_shape)
    try:
        called = _trace(model, probe)
        with_grid = [c.name for c in called if isinstance(c.grid, Grid)]
        live = (
            _live(model, probe, {c.name: c.grid for c in called if isinstance(c.grid, Grid)})
            if with_grid
            else set()
        )
    except Exception as error:
        first_line = (str(error).strip() or "no message").splitlines()[0]
        raise DoesNotFit(
            f"Asked for the layers of {model.name} on inputs of shape {input_shape}",
            f"Its forward pass failed with {type(error).__name__}: {first_line}",
            "Give inputs of the size that the model was made for",
        ) from error
    layers = []
    for c in called:
        grid = c.grid if isinstance(c.grid, Grid) else None
        reason = c.grid if isinstance(c.grid, str) else ""
        if not model.differentiable:
            reason = "the model only runs forward"
        elif grid is not None and c.name not in live:
            reason = "the answer does not depend on its cells (their gradient is zero)"
        layers.append(Layer(c.name, type(c.module).__name__, c.shape, grid, c.name in live, reason))
    return _Survey(layers, _useful(layers, called))


def _trace(model: Model, probe: Probe) -> list[_Called]:
    """Run the probe through the network and read every layer's grid as its output passes by."""
    reader = Reader(probe)
    calls: dict[str, _Called] = {}
    seen: dict[
        int, tuple[weakref.ref[Tensor], int, str]
    ] = {}  # id: tensor, its version, the layer that made it

    def before(_module: nn.Module, args: Any, kwargs: Any) -> None:
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor):
                reader.meet(value)

    def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(module: nn.Module, _args: Any, raw: Any) -> None:
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
            grid = reader.grid(out, _announced(raw, probe))
            calls[name] = _Called(name, module, tuple(out.shape[1:]), grid, maker, times)

        return look

    with ExitStack() as hooks, torch.no_grad():
        for name, module in model.module.named_modules():
            hooks.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            if name:
                hooks.callback(module.register_forward_hook(after(name)).remove)
        model.answer(probe.x)
    return list(calls.values())


def _announced(raw: Any, probe: Probe) -> Size | None:
    """Return the cells that a layer names beside its output, as multiscale video transformers do."""
    if isinstance(raw, tuple | list):
        for item in raw:
            whole = isinstance(item, tuple | list | torch.Size) and all(type(i) is int for i in item)
            if whole and len(item) == len(probe.size):
                return tuple(item)
    return None


def _live(model: Model, probe: Probe, grids: dict[str, Grid]) -> set[str]:
    """Return the layers in whose cells a random projection of the answer has a gradient."""
    if not model.differentiable:
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


def _useful(layers: list[Layer], called: list[_Called]) -> list[Layer]:
    """Return the layers that fit and may be a default, last first, one for each tensor."""
    types = {c.name: type(c.module) for c in called}
    groups: dict[str, list[Layer]] = {}
    for layer, call in zip(layers, called, strict=True):
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
