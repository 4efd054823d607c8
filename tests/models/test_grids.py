"""Grids: every layout reads as `(n, c, *cells)` and writes back; plain index arithmetic is the reference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.models.grids import Grid


def by_hand(grid: Grid, a: Tensor, cell: tuple[int, ...]) -> Tensor:
    """Return the `(n, c)` values of one cell of a token stream, from the definition of the order."""
    *time, row, column = cell
    rows, columns = grid.cells[-2:]
    place = row * columns + column
    if not time:
        index = place
    elif grid.space_major:
        index = place * grid.cells[0] + time[0]
    else:
        index = time[0] * rows * columns + place
    return a[:, grid.prefix + index]


# Plain numbers: the type checker draws random numbers when a grid is made, which strategies must not.
parts = st.tuples(st.lists(st.integers(1, 4), min_size=2, max_size=3), st.integers(0, 5), st.booleans())


def tokens(parts: tuple[list[int], int, bool]) -> Grid:
    cells, prefix, space_major = parts
    return Grid("tokens", tuple(cells), prefix, space_major and len(cells) == 3)


def stream(grid: Grid) -> Tensor:
    cells = 1
    for n in grid.cells:
        cells *= n
    return torch.arange(2.0 * 3 * (grid.prefix + cells)).reshape(2, -1, 3)


def agrees(read: Callable[[Grid, Tensor], Tensor], grid: Grid) -> bool:
    a = stream(grid)
    out = read(grid, a)
    return all(
        torch.equal(out[(..., *cell)], by_hand(grid, a, cell))
        for cell in product(*(range(n) for n in grid.cells))
    )


@given(parts)
def test_tokens_are_read_by_their_order(parts: tuple[list[int], int, bool]) -> None:
    grid = tokens(parts)
    assert agrees(lambda g, a: g.read(a), grid)


@pytest.mark.parametrize(
    "bug",
    [
        lambda g, a: g.read(a.roll(1, 1)),
        lambda g, a: replace(g, space_major=not g.space_major).read(a),
        lambda g, a: g.read(a).flip(-1),
    ],
    ids=["prefix off by one", "the other order of space and time", "columns from the right"],
)
def test_a_wrong_reader_does_not_agree(bug: Callable[[Grid, Tensor], Tensor]) -> None:
    assert agrees(lambda g, a: g.read(a), Grid("tokens", (2, 3, 4), 1))
    assert not agrees(bug, Grid("tokens", (2, 3, 4), 1))


@given(parts)
def test_tokens_written_back_are_the_same(parts: tuple[list[int], int, bool]) -> None:
    grid = tokens(parts)
    a = stream(grid)
    assert torch.equal(grid.write(grid.read(a), a), a)


@given(parts.filter(lambda p: p[1] > 0))
def test_written_cells_keep_the_prefix_of_each_sample_or_of_one(parts: tuple[list[int], int, bool]) -> None:
    grid = tokens(parts)
    a = stream(grid)
    edited = grid.write(grid.read(a) * 0, a)
    assert torch.equal(edited[:, : grid.prefix], a[:, : grid.prefix])
    assert not edited[:, grid.prefix :].any()
    many = grid.write(grid.read(a[:1]).repeat(4, *[1] * (1 + len(grid.cells))), a[:1])
    assert torch.equal(many, a[:1].expand(4, -1, -1))


@pytest.mark.parametrize("cells", [(4, 5), (2, 4, 5)])
def test_maps_are_read_and_written(cells: tuple[int, ...]) -> None:
    maps = torch.randn(2, 3, *cells)
    assert Grid("channels_first", cells).read(maps) is maps
    last = maps.movedim(1, -1)
    grid = Grid("channels_last", cells)
    assert torch.equal(grid.read(last), maps)
    assert torch.equal(grid.write(maps, last), last)


@pytest.mark.parametrize(
    ("grid", "shape"),
    [
        (Grid("channels_first", (4, 5)), (2, 3, 5, 4)),
        (Grid("channels_first", (4, 5)), (2, 3)),
        (Grid("channels_last", (4, 5)), (2, 3, 4, 5)),
        (Grid("tokens", (4, 5), 1), (2, 20, 3)),
        (Grid("tokens", (4, 5)), (2, 3, 4, 5)),
    ],
)
def test_another_shape_is_refused(grid: Grid, shape: tuple[int, ...]) -> None:
    with pytest.raises(DoesNotFit, match=r"4 x 5 cells"):
        grid.read(torch.zeros(shape))


def test_gradients_flow_through_reading_and_writing() -> None:
    grid = Grid("tokens", (2, 3), 1)
    a = torch.randn(1, 7, 4, requires_grad=True)
    (g,) = torch.autograd.grad((grid.write(grid.read(a), a) * 2).sum(), a)
    assert torch.equal(g, torch.full_like(a, 2))
