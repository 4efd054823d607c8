"""Layers of the explained network itself whose features TAME, T-TAME and L-CAM read.

All are found by experiment (`models.layers`) unless they are named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from seewhy.errors import DoesNotFit
from seewhy.methods.learned.stages import Stage, find_stages
from seewhy.models import layers
from seewhy.models.layer_trace import Layer
from seewhy.models.model import Model
from seewhy.types import Size

COUNT = 3


def last_resolutions(model: Model, input_shape: Size, named: Sequence[str] = ()) -> tuple[Stage, ...]:
    """Return the stages of TAME: the last three resolutions of a network, finest first.

    Raises
    ------
    UnknownName, DoesNotFit
        When a named layer is not there or has no grid; when all layers have one resolution.
    """
    stages = find_stages(model, input_shape, named)
    if named:
        return stages
    if len({stage.grid.cells for stage in stages}) < 2:
        raise DoesNotFit(
            f"Asked for features of {model.name} at several resolutions",
            "All its layers have the same",
            "Use ttame, or name layers (stages)",
        )
    return stages[-COUNT:]


def last_blocks(model: Model, input_shape: Size, named: Sequence[str] = ()) -> tuple[Stage, ...]:
    """Return the stages of T-TAME: in each of the last three blocks the layer that Grad-CAM uses in the last.

    For a transformer that is read at its class token, that is the norm in front of each block's attention.
    Where that layer stands alone (a norm behind all blocks), the last layer of a run that the answer reads is
    taken in its place.

    Raises
    ------
    UnknownName, DoesNotFit
        When a named layer is not there or has no grid; when the network's layers are no tokens.
    """
    if named:
        return find_stages(model, input_shape, named)
    known = [layer for layer in layers.survey(model, input_shape) if layer.live and layer.grid is not None]
    default = layers.default_layer(model, input_shape)
    for layer in (default, *reversed(known)):
        run = _run(layer, known)
        if len(run) > 1 and layer.grid is not None and layer.grid.layout == "tokens":
            return find_stages(model, input_shape, run[-COUNT:])
    raise DoesNotFit(
        f"Asked for tokens of the last blocks of {model.name}",
        "It has no run of blocks that put out tokens",
        "Use tame, or name layers (stages)",
    )


def last_map(model: Model, input_shape: Size, named: Sequence[str] = ()) -> tuple[Stage, ...]:
    """Return the one stage of L-CAM: the layer that Grad-CAM uses.

    Raises
    ------
    UnknownName, DoesNotFit
        When the named layer is not there or has no grid; when no layer fits.
    """
    return find_stages(model, input_shape, named or (layers.default_layer(model, input_shape).name,))


def _run(layer: Layer, known: Sequence[Layer]) -> list[str]:
    """Return the names that differ from a layer's in one number, its own last; the longest such run."""
    pieces = re.split(r"(\d+)", layer.name)
    best: list[tuple[int, str]] = []
    for place in range(1, len(pieces), 2):
        pattern = re.compile(
            re.escape("".join(pieces[:place])) + r"(\d+)" + re.escape("".join(pieces[place + 1 :]))
        )
        alike = [
            (int(found[1]), other.name)
            for other in known
            if other.shape == layer.shape
            and other.grid == layer.grid
            and (found := pattern.fullmatch(other.name))
        ]
        run = sorted(entry for entry in alike if entry[0] <= int(pieces[place]))
        best = max(best, run, key=len)
    return [name for _, name in best]
