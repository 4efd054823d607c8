"""Which layers a gallery looks at when none is named: the last of each of the coarsest grids."""

from __future__ import annotations

from seewhy.models.layer_trace import Layer
from seewhy.models.layers import useful_layers
from seewhy.models.model import Model
from seewhy.types import Size


def last_of_stages(model: Model, input_shape: Size, stages: int = 2) -> tuple[str, ...]:
    """Return layers in order of execution: the model's default one, and the last before it on finer grids.

    Outermost names are preferred: `layer3` rather than `layer4.0.conv1`, which shares its grid. Networks
    that keep one grid, as vision transformers do, give one layer.

    Raises
    ------
    DoesNotFit
        When no layer fits.
    """
    default, *before = useful_layers(model, input_shape)
    chosen = [default]
    while len(chosen) < stages:
        finer = [layer for layer in before if _finer(layer, chosen[-1])]
        if not finer:
            break
        alike = [layer for layer in finer if layer.grid == finer[0].grid]
        chosen.append(min(alike, key=lambda layer: layer.name.count(".")))
    return tuple(layer.name for layer in reversed(chosen))


def _finer(layer: Layer, other: Layer) -> bool:
    if layer.grid is None or other.grid is None or "pad" in layer.type.lower():
        return False
    return all(a > b for a, b in zip(layer.grid.cells[-2:], other.grid.cells[-2:], strict=True))
