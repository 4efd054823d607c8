"""Masks equal the published construction, depend on their number alone, and have the right statistics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.transform import resize
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.perturb.masks import RandomGrids, shift_matrices


def published(grid: Tensor, shift: Tensor, size: tuple[int, ...]) -> Tensor:
    """Enlarge with skimage, mirrored, and cut out a window."""
    cell = [-(-length // s) for length, s in zip(size, grid.shape, strict=True)]
    canvas = [(s + 1) * k for s, k in zip(grid.shape, cell, strict=True)]
    large = resize(grid.double().numpy(), canvas, order=1, mode="reflect", anti_aliasing=False)
    return torch.from_numpy(large[tuple(np.s_[u : u + n] for u, n in zip(shift.tolist(), size, strict=True))])


def plain(grid: Tensor, shift: Tensor, size: tuple[int, ...]) -> Tensor:
    """The planted bug: torch's own interpolation, which repeats the edge."""
    cell = [-(-length // s) for length, s in zip(size, grid.shape, strict=True)]
    canvas = [(s + 1) * k for s, k in zip(grid.shape, cell, strict=True)]
    mode = "bilinear" if len(size) == 2 else "trilinear"
    large = interpolate(grid[None, None].double(), canvas, mode=mode)[0, 0]
    return large[tuple(slice(u, u + n) for u, n in zip(shift.tolist(), size, strict=True))]


def gap(grids: RandomGrids, build: Callable[[Tensor, Tensor, tuple[int, ...]], Tensor]) -> float:
    which = torch.arange(grids.count)
    cells, shifts = grids.draw(which)
    wanted = torch.stack([build(c, s, grids.size) for c, s in zip(cells, shifts, strict=True)])
    return float((grids.masks(which) - wanted).abs().max())


SHAPES = [
    ((224, 224), (7, 7)),
    ((224, 224), (10, 10)),
    ((33, 50), (7, 7)),
    ((192, 320), (3, 8)),
    ((9, 24, 30), (4, 7, 7)),
]


@pytest.mark.parametrize(("size", "cells"), SHAPES)
def test_masks_equal_the_published_construction(size: tuple[int, ...], cells: tuple[int, ...]) -> None:
    assert gap(RandomGrids(size, cells, 12, 0.5, seed=1), published) <= 2e-6


@pytest.mark.parametrize(("size", "cells"), SHAPES)
def test_plain_interpolation_is_another_construction(size: tuple[int, ...], cells: tuple[int, ...]) -> None:
    assert gap(RandomGrids(size, cells, 12, 0.5, seed=1), plain) > 0.1


@pytest.mark.parametrize("cells", [1, 2, 3, 7, 40])
def test_rows_sum_to_one(cells: int) -> None:
    matrices = shift_matrices(30, cells)
    assert matrices.shape == (-(-30 // cells), 30, cells)
    assert torch.allclose(matrices.sum(2), torch.ones((), dtype=torch.float64))
    assert float(matrices.min()) >= 0


def test_a_mask_depends_on_seed_and_number_alone() -> None:
    grids = RandomGrids((32, 40), (7, 7), 100, 0.5, seed=4)
    whole = grids.masks(torch.arange(100))
    assert torch.equal(whole[37:52], grids.masks(torch.arange(37, 52)))
    assert torch.equal(whole[[70]], RandomGrids((32, 40), (7, 7), 5, 0.5, seed=4).masks(torch.tensor([70])))
    assert not torch.equal(whole, RandomGrids((32, 40), (7, 7), 100, 0.5, seed=5).masks(torch.arange(100)))


@pytest.mark.parametrize(("cells", "keep"), [(7, 0.5), (8, 0.1)])
def test_statistics(cells: int, keep: float) -> None:
    masks = RandomGrids((224, 224), (cells, cells), 3000, keep, seed=0).masks(torch.arange(3000))
    assert float(masks.mean()) == pytest.approx(keep, abs=0.01)
    # Cells are independent: a pixel's variance is p (1 - p) times its mean squared weights along each axis.
    squares = shift_matrices(224, cells).square().sum(2).mean(0)
    wanted = keep * (1 - keep) * torch.outer(squares, squares)
    ratio = masks.var(0) / wanted
    assert float(ratio.mean()) == pytest.approx(1, abs=0.02)
    assert float(ratio.min()) > 0.8
    assert float(ratio.max()) < 1.2


def test_mirrored_edges_vary_as_the_middle_does() -> None:
    masks = RandomGrids((224, 224), (7, 7), 3000, 0.5, seed=0).masks(torch.arange(3000))
    for corner in (masks[:, 0, 0], masks[:, -1, 0], masks[:, 0, 112], masks[:, 112, 112]):
        assert float(corner.var()) == pytest.approx(0.119, rel=0.1)  # repeated edges: .19 in the corner
