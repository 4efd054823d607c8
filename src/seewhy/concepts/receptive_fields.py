"""How much of the input a cell of a layer really sees: its effective receptive field, by experiment.

What a cell could see grows with every convolution and soon covers the input; what moves it noticeably lies
around its middle. The gradient of the middle cell on noise inputs says where that is.

Paper
    Luo et al.: Understanding the Effective Receptive Field in Deep Convolutional Neural Networks, 2016,
    https://arxiv.org/abs/1701.04128.
Departures
    the field is the smallest window around the cell that holds 90 % of the gradient's magnitude, the mean of
    a few noise inputs and random mixtures of the channels; it keeps the input's proportions.
"""

from __future__ import annotations

from math import prod
from typing import TypeAlias

import torch
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.models.layers import grid_of
from seewhy.models.model import Model
from seewhy.types import Size

Box: TypeAlias = tuple[tuple[int, int], ...]
"""`(start, stop)` in pixels along every axis of the input."""

HELD = 0.9
"""Part of the gradient's magnitude inside the window."""
_DRAWS = 4


def receptive_field(model: Model, layer: str, input_shape: Size, seed: int = 0) -> Size:
    """Return the sides of the window, in pixels, along every axis of `(c, *size)` inputs.

    Kept with the network, as its geometry is.

    Raises
    ------
    DoesNotFit
        For a layer without a grid, or one whose middle cell has no gradient.
    """
    key = ("receptive field", layer, tuple(input_shape), seed, model.weights_hash)
    if key not in model.facts:
        model.facts[key] = _measured(model, layer, tuple(input_shape), seed)
    found: Size = model.facts[key]
    return found


def around(cell: Size, cells: Size, field: Size, size: Size) -> Box:
    """Return the window of a cell: as large as the field where the input allows, moved inside it."""
    spans = []
    for i, n, f, side in zip(cell, cells, field, size, strict=True):
        length = min(f, side)
        start = round((i + 0.5) * side / n - length / 2)
        start = min(max(0, start), side - length)
        spans.append((start, start + length))
    return tuple(spans)


def _measured(model: Model, layer: str, input_shape: Size, seed: int) -> Size:
    grid = grid_of(model, layer, input_shape)
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(_DRAWS, *input_shape, generator=draw).to(model.device, model.dtype).requires_grad_()
    with model.untouched(), torch.enable_grad():
        out = grid.read(model.answer(x, [layer], differentiable=True).activations[layer])
        middle = tuple(n // 2 for n in grid.cells)
        mixture = torch.randn(out.shape[:2], generator=draw).to(out)
        flat = int(torch.arange(prod(grid.cells)).reshape(grid.cells)[middle])
        score = (out.flatten(2)[:, :, flat] * mixture).sum()
        (gradient,) = torch.autograd.grad(score, x, allow_unused=True) if score.requires_grad else (None,)
    if gradient is None or not bool(gradient.any()):
        raise DoesNotFit(
            f"Asked how much a cell of {layer!r} sees",
            "Its value does not depend on the input in a differentiable way",
            "Choose another layer",
        )
    size = tuple(input_shape[1:])
    centre = [(i + 0.5) / n for i, n in zip(middle, grid.cells, strict=True)]
    return _window(gradient.abs().sum(1).mean(0).double().cpu(), centre, size)


def _window(mass: Tensor, centre: list[float], size: Size) -> Size:
    """Return the sides of the smallest window of the input's proportions that holds enough of the mass."""
    reach = torch.zeros_like(mass)  # of each pixel: half of the window that just takes it in, as a fraction
    for axis, (c, side) in enumerate(zip(centre, size, strict=True)):
        far = ((torch.arange(side) + 0.5) / side - c).abs() + 0.5 / side
        reach = torch.maximum(reach, far.reshape([-1 if a == axis else 1 for a in range(mass.ndim)]))
    order = reach.flatten().argsort()
    held = mass.flatten()[order].cumsum(0)
    last = int(torch.searchsorted(held, HELD * held[-1]))
    half = float(reach.flatten()[order][min(last, len(order) - 1)])
    return tuple(min(side, max(1, round(2 * half * side))) for side in size)
