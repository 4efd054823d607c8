"""Intervals of what a window changes, against enumeration."""

from __future__ import annotations

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from seewhy.perturb.incremental.boxes import Changed, Slide
from seewhy.perturb.incremental.plan import blocks

slides = st.builds(
    Slide,
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    padding=st.integers(-2, 4),
    dilation=st.integers(1, 3),
)


def outputs(slide: Slide, size: int) -> int:
    """How many cells a kernel gives over a map of `size`."""
    return (size + 2 * slide.padding - slide.extent) // slide.stride + 1


def reads(slide: Slide, output: int) -> set[int]:
    return {output * slide.stride - slide.padding + i * slide.dilation for i in range(slide.kernel)}


def spans(draw: st.DataObject, size: int) -> Changed:
    """Some positions of a window."""
    lo = torch.tensor(draw.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=6)))
    width = draw.draw(st.integers(1, size))
    return Changed(lo, (lo + width).clamp(max=size), size)


def hull(slide: Slide, changed: Changed, count: int) -> list[tuple[int, int] | None]:
    """First and last output that reads a cell that changes, by looking at each."""
    found: list[tuple[int, int] | None] = []
    for lo, hi in zip(changed.lo.tolist(), changed.hi.tolist(), strict=True):
        touched = [o for o in range(count) if reads(slide, o) & set(range(lo, hi))]
        found.append((touched[0], touched[-1] + 1) if touched else None)
    return found


@given(data=st.data(), slide=slides, size=st.integers(1, 20))
def test_what_is_reached_is_every_output_that_reads_a_changed_cell(
    data: st.DataObject, slide: Slide, size: int
) -> None:
    count = outputs(slide, size)
    assume(count >= 1)
    changed = spans(data, size)
    found = slide.reached(changed, count)
    assert found.size == count
    for lo, hi, wanted in zip(found.lo.tolist(), found.hi.tolist(), hull(slide, changed, count), strict=True):
        assert 0 <= lo <= hi <= count
        if wanted is None:
            assert slide.dilation > 1 or lo == hi
        elif slide.dilation == 1:
            assert (lo, hi) == wanted, "no cell too few, none too many"
        else:
            assert lo <= wanted[0]
            assert hi >= wanted[1]


def test_one_cell_short_would_be_seen() -> None:
    slide, changed = Slide(3, 2, 1), Changed(torch.tensor([4]), torch.tensor([6]), 11)
    found = slide.reached(changed, 6)
    assert [(int(found.lo), int(found.hi))] == hull(slide, changed, 6)
    assert [(int(found.lo), int(found.hi) - 1)] != hull(slide, changed, 6)


@given(data=st.data(), slide=slides, size=st.integers(1, 20), length=st.integers(1, 6))
def test_cells_to_fetch_are_those_that_the_outputs_read(
    data: st.DataObject, slide: Slide, size: int, length: int
) -> None:
    count = outputs(slide, size)
    assume(count >= length)
    start = torch.tensor(data.draw(st.lists(st.integers(0, count - length), min_size=1, max_size=4)))
    fetched = slide.read(start, length)
    for first, cells in zip(start.tolist(), fetched.tolist(), strict=True):
        for output in range(length):
            begin = output * slide.left
            under = [cells[begin + i * slide.dilation] for i in range(slide.kernel)]
            assert set(under) == reads(slide, first + output)


@given(data=st.data(), size=st.integers(1, 20))
def test_boxes_hold_what_changes_and_lie_in_the_map(data: st.DataObject, size: int) -> None:
    changed = spans(data, size)
    count = len(changed.lo)
    positions = torch.tensor(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=5)))
    start, length = changed.box(positions)
    lo, hi = changed.lo[positions], changed.hi[positions]
    assert bool((start >= 0).all())
    assert bool((start + length <= size).all())
    assert bool((start <= lo).all())
    assert bool((start + length >= hi).all())
    assert length == int((hi - lo).max()), "no longer than the widest"


def test_the_union_holds_both() -> None:
    def along(lo: list[int], hi: list[int]) -> Changed:
        return Changed(torch.tensor(lo), torch.tensor(hi), 9)

    both = along([1, 5], [3, 6]) | along([2, 4], [4, 5])
    assert both.same(along([1, 4], [4, 6]))
    assert not both.same(along([1, 4], [4, 7]))


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=3), batch=st.integers(1, 20))
def test_blocks_share_out_all_windows(counts: list[int], batch: int) -> None:
    cut = blocks(tuple(counts), batch)
    for runs, count in zip(cut, counts, strict=True):
        assert [p for run in runs for p in run] == list(range(count))
    largest = 1
    for runs in cut:
        largest *= max(map(len, runs))
    assert largest <= batch


def test_blocks_are_about_as_wide_as_high() -> None:
    shape: list[Tensor | int] = [max(map(len, runs)) for runs in blocks((27, 27), 8)]
    assert shape == [2, 4]
    assert [max(map(len, runs)) for runs in blocks((1, 27), 8)] == [1, 8]
