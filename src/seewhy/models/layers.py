"""The layers of a model: what they put out, how that lies over the input, and which of them a method can use.

Passes on a probe find out, see `seewhy.models.layer_trace`; what they found is kept with the network. The
default layer is found before all others, since most calls need no other. It is the last in order of
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

from typing import TYPE_CHECKING, Any

import torch

from seewhy.errors import DoesNotFit, UnknownName, did_you_mean, nearest
from seewhy.models.grids import Grid
from seewhy.models.layer_trace import Layer, Survey, explored, last_useful
from seewhy.models.untouched import structure
from seewhy.types import Size

if TYPE_CHECKING:
    from seewhy.models.model import Model

_SHOWN = 6


def survey(model: Model, input_shape: Size) -> list[Layer]:
    """Return every layer that a forward pass on `(c, *size)` inputs calls, in order of execution.

    A layer called several times stands where its last call stands. The result is cached with the network.

    Raises
    ------
    DoesNotFit
        When the network cannot run on inputs of this shape.
    """
    return list(_surveyed(model, tuple(input_shape)).layers)


def default_layer(model: Model, input_shape: Size) -> Layer:
    """Return the layer that Grad-CAM and its family use when none is named: the module's head says which.

    Raises
    ------
    DoesNotFit
        When no layer fits.
    """
    shape = tuple(input_shape)
    default: Layer | None = _kept(model, "default layer", shape)
    if default is not None:
        return default
    if _kept(model, "survey", shape) is None:
        default = _default(model, shape)
    if default is None:
        default = next(iter(_surveyed(model, shape).useful), None)
    if default is None:
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
    return default


def useful_layers(model: Model, input_shape: Size) -> list[Layer]:
    """Return the layers that may be a default: that one first, then those before it, containers once.

    Raises
    ------
    DoesNotFit
        When no layer fits.
    """
    default_layer(model, input_shape)
    return list(_surveyed(model, tuple(input_shape)).useful)


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
    default: Layer | None = _kept(model, "default layer", tuple(input_shape))
    if default is not None and default.name == layer:
        return default
    result = _surveyed(model, tuple(input_shape))
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
        _those_that_fit(_surveyed(model, tuple(input_shape))),
    )


def _those_that_fit(result: Survey) -> str:
    if not result.useful:
        return "No layer of this model fits"
    default, *others = result.useful
    # Outer layers say more: layer4, layer3, layer2 rather than the convolutions of layer4.
    names = [layer.name for layer in (default, *sorted(others, key=lambda layer: layer.name.count(".")))]
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"Layers that fit: {', '.join(names[:_SHOWN])}{rest}"


def _surveyed(model: Model, input_shape: Size) -> Survey:
    known: Survey | None = _kept(model, "survey", input_shape)
    if known is not None:
        return known
    with model.untouched(), torch.inference_mode(False):
        found = explored(model, input_shape)
    if found.useful:  # a head of zeros, say, may yet be trained
        _keep(model, "survey", input_shape, found)
    return found


def _default(model: Model, input_shape: Size) -> Layer | None:
    """Look for the default layer from the end; None where it takes a survey."""
    if not model.differentiable:
        return None
    with model.untouched(), torch.inference_mode(False):
        found = last_useful(model, input_shape)
    if found is not None:
        _keep(model, "default layer", input_shape, found)
    return found


def _kept(model: Model, what: str, input_shape: Size) -> Any:
    """Return what was found out, unless the network has been changed since."""
    built, found = model.facts.get((what, input_shape), (None, None))
    return found if built == structure(model.module) else None


def _keep(model: Model, what: str, input_shape: Size, found: object) -> None:
    model.facts[what, input_shape] = structure(model.module), found
