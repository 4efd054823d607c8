"""Features of a frozen network at several resolutions: which layers, and what they put out for a batch.

Which layers lie where is found by experiment (`models.layers`). Stages are the last four resolutions of the
network; each is represented by the last layer of that resolution that is a block, not a part of one, and
not wider than 1,024 channels where there is such a layer (the wide convolution in front of a classifier's
pooling costs much and adds little). A transformer has one resolution: there the blocks that end its
quarters are taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.errors import BadInput, DoesNotFit
from seewhy.models import layers
from seewhy.models.grids import Grid
from seewhy.models.layer_trace import Layer
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.types import Batch, Size

COUNT = 4
_WIDEST = 1024
_NO_BLOCK = re.compile(r"pool|drop|identity|pad|flatten|permute", re.IGNORECASE)


@dataclass(frozen=True)
class Stage:
    """One layer: its name, its channels and its grid."""

    layer: str
    channels: int
    grid: Grid


def find_stages(model: Model, input_shape: Size, named: Sequence[str] = ()) -> tuple[Stage, ...]:
    """Return the stages of a network for inputs of `(c, h, w)`, finest first.

    Parameters
    ----------
    model
        The network.
    input_shape
        `(channels, height, width)`.
    named
        Names of layers to use instead of those found.

    Raises
    ------
    UnknownName, DoesNotFit
        When a named layer is not there or has no grid; when the network has none over images.
    """
    if named:
        grids = {name: layers.grid_of(model, name, input_shape) for name in named}
        shapes = {layer.name: layer for layer in layers.survey(model, input_shape)}
        chosen = [_stage(shapes[name], grid) for name, grid in grids.items()]
    else:
        chosen = _found(model, input_shape)
    if not chosen or any(len(stage.grid.cells) != 2 for stage in chosen):
        raise DoesNotFit(
            f"Asked for features of {model.name} at several resolutions",
            "It has no layer with a grid over rows and columns",
            "Choose an image network such as mobilenet-v2 or torchvision:resnet18",
        )
    return tuple(sorted(chosen, key=lambda stage: -stage.grid.cells[0] * stage.grid.cells[1]))


def _found(model: Model, input_shape: Size) -> list[Stage]:
    known = [
        layer
        for layer in layers.survey(model, input_shape)
        if layer.grid is not None and max(layer.grid.cells) > 1 and not _NO_BLOCK.search(layer.type)
    ]
    if not known:
        return []
    top = min(layer.name.count(".") for layer in known) + 1
    by_cells: dict[Size, list[Layer]] = {}
    for layer in known:
        if layer.grid is not None:
            by_cells.setdefault(layer.grid.cells, []).append(layer)
    if len(by_cells) == 1:
        return _quarters(known)
    coarse = sorted(by_cells, key=lambda cells: cells[0] * cells[1])[:COUNT]
    return [_stage(_representative(by_cells[cells], top)) for cells in coarse]


def _representative(group: list[Layer], top: int) -> Layer:
    blocks = [layer for layer in group if layer.name.count(".") <= top] or group
    narrow = [layer for layer in blocks if _stage(layer).channels <= _WIDEST]
    return (narrow or blocks)[-1]


def _quarters(known: list[Layer]) -> list[Stage]:
    """Return the layers that end the quarters of the longest numbered run of blocks (`blocks.0` ...)."""
    runs: dict[tuple[str, Size], list[Layer]] = {}
    for layer in known:
        if numbered := re.fullmatch(r"(.*?)\.?(\d+)", layer.name):
            runs.setdefault((numbered[1], layer.shape), []).append(layer)
    longest = max(runs.values(), key=len, default=known[-1:])
    ends = sorted({max(1, round(len(longest) * q / COUNT)) - 1 for q in range(1, COUNT + 1)})
    return [_stage(longest[i]) for i in ends]


def _stage(layer: Layer, grid: Grid | None = None) -> Stage:
    grid = grid or layer.grid
    assert grid is not None
    return Stage(layer.name, layer.shape[0 if grid.layout == "channels_first" else -1], grid)


@dataclass(frozen=True)
class Features:
    """A frozen network asked for its stages.

    Parameters
    ----------
    model
        The network that gives features.
    stages
        Where it gives them.
    """

    model: Model
    stages: tuple[Stage, ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(stage.channels for stage in self.stages)

    @property
    def cells(self) -> Size:
        """Rows and columns of the finest stage."""
        return self.stages[0].grid.cells

    def __call__(self, x: Batch) -> tuple[list[Tensor], Tensor]:
        """Return `(n, channels, rows, columns)` of each stage, and the network's output, for its own inputs.

        Call it inside `model.untouched()` and without gradients: the network is frozen.
        """
        answer = self.model.answer(x, [stage.layer for stage in self.stages])
        return [stage.grid.read(answer.activations[stage.layer]) for stage in self.stages], answer.output


def translated(x: Batch, source: Preprocessing | None, goal: Model) -> Tensor:
    """Return inputs of one model as inputs of another: the same pixels, scaled, coloured and sized its way.

    Parameters
    ----------
    x
        `(n, c, h, w)` inputs of the first model.
    source
        The first model's preprocessing. Where either has none, values are handed on as they are.
    goal
        The other model.

    Raises
    ------
    DoesNotFit
        When the pixels have other channels than the other model reads, and are not grey.
    """
    look = goal.preprocess
    size = goal.input_size()
    if look is not None and source is not None and look is not source:
        pixels = (x * _column(source.std, x) + _column(source.mean, x)) / source.scale
        if pixels.shape[1] != len(look.mean):
            if pixels.shape[1] != 1:
                raise DoesNotFit(
                    f"Asked {goal.name} to look at inputs of {pixels.shape[1]} channels",
                    f"It reads {len(look.mean)}",
                    "Choose an auxiliary network of as many channels",
                )
            pixels = pixels.expand(-1, len(look.mean), *[-1] * (x.ndim - 2))
        x = (pixels * look.scale - _column(look.mean, x)) / _column(look.std, x)
    if size is not None and tuple(x.shape[2:]) != size:
        x = interpolate(x, size=size, mode="bilinear", antialias=size[0] < x.shape[2], align_corners=False)
    return x


def seen_size(model: Model, input_shape: Size) -> Size:
    """Return `(channels, height, width)` of what `translated` makes of `(c, h, w)` inputs for `model`."""
    channels = len(model.preprocess.mean) if model.preprocess is not None else input_shape[0]
    size = model.input_size() or tuple(input_shape[1:])
    if len(size) != 2 or len(input_shape) != 3:
        raise BadInput(
            f"Asked {model.name} for features of inputs of {tuple(input_shape)}",
            "Both must be images",
            "Choose networks of images; clips are not explained this way",
        )
    return (channels, *size)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device, dtype=like.dtype).reshape(1, -1, *[1] * (like.ndim - 2))
