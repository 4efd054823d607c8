"""From photos to directions: patches that are factored, or cells that an autoencoder learns from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.batching import default_batch_size
from seewhy.concepts.draws import key, permutation
from seewhy.concepts.receptive_fields import Box
from seewhy.concepts.store import FeatureStore, digest_of, keep
from seewhy.execution import Execution
from seewhy.models.grids import Grid
from seewhy.models.model import Model

MOST = 65_536
"""Cells that an autoencoder learns from, at most."""


def patches_of(
    model: Model,
    photos: Sequence[str | Path],
    layer: str,
    grid: Grid,
    patch: float,
    stride: float,
    execution: Execution,
) -> tuple[list[tuple[str, Box]], Tensor]:
    """Return every patch's photo and window, and the `(patches, channels)` rectified means of the layer."""
    windows: list[tuple[str, Box]] = []
    rows: list[Tensor] = []
    for done, photo in enumerate(photos):
        x = model.prepare(photo).tensor.to(model.device, model.dtype)
        boxes = list(windows_over(tuple(x.shape[2:]), patch, stride))
        cut = torch.cat(
            [
                interpolate(x[:, :, a:b, c:d], x.shape[2:], mode="bilinear", align_corners=False)
                for (a, b), (c, d) in boxes
            ]
        )
        size = execution.batch_size or default_batch_size(x)
        outputs = (grid.read(model.answer(part, [layer]).activations[layer]) for part in cut.split(size))
        rows += [output.relu().flatten(2).mean(2).cpu() for output in outputs]
        windows += [(str(photo), box) for box in boxes]
        execution.step(done + 1, len(photos), "patches")
    return windows, torch.cat(rows)


def windows_over(size: tuple[int, ...], patch: float, stride: float) -> Iterator[Box]:
    """Yield windows of the input's proportions that cover `(height, width)`, the last ones flush."""
    sides = [max(1, round(patch * s)) for s in size]
    starts = [
        sorted({*range(0, s - side + 1, max(1, int(stride * side))), s - side})
        for s, side in zip(size, sides, strict=True)
    ]
    for top in starts[0]:
        for left in starts[1]:
            yield (top, top + sides[0]), (left, left + sides[1])


def window_at(cell: int, cells: Sequence[int], size: Sequence[int], patch: float) -> Box:
    """Return the window of the input's proportions around a cell, by its flat index, moved into the input."""
    places = divmod(cell, cells[1])
    box = []
    for place, count, whole in zip(places, cells, size, strict=True):
        side = max(1, round(patch * whole))
        start = min(max(0, round((place + 0.5) * whole / count - side / 2)), whole - side)
        box.append((start, start + side))
    return box[0], box[1]


def cells_of(
    model: Model,
    photos: Sequence[str | Path],
    layer: str,
    grid: Grid,
    store: FeatureStore | None,
    execution: Execution,
) -> Tensor:
    """Return `(n, channels)` float32 cells of a layer, equally many of each photo, `MOST` at most.

    Parameters
    ----------
    model, photos, layer, grid
        What is read.
    store
        Where the features are, or will be; None keeps nothing.
    execution
        Seed of which cells are taken, batch size, progress, cancelling.

    Raises
    ------
    BadInput
        For a photo that cannot be read.
    """
    if store is not None:
        for failed in keep(store, model, photos, [layer], execution):
            model.prepare(failed)  # says what is wrong with it
    share = max(1, MOST // len(photos))
    taken = []
    for i, photo in enumerate(photos):
        if store is None:
            x = model.prepare(photo).tensor.to(model.device, model.dtype)
            cells = grid.read(model.answer(x, [layer]).activations[layer])
        else:
            cells = store.layer(model, layer).get([digest_of(photo)])
        rows = cells[0].flatten(1).T.float().cpu()
        taken.append(rows[permutation(key(execution.seed, "taken"), i, len(rows))[:share]])
        execution.step(i + 1, len(photos), "cells")
    return torch.cat(taken)
