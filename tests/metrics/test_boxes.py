"""Boxes around pieces of maps and masks against scipy; thresholds; means over classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

import networks
from seewhy.errors import BadInput, DoesNotFit
from seewhy.execution import Execution
from seewhy.metrics.class_means import class_means
from seewhy.metrics.localisation.iou import IoU
from seewhy.metrics.localisation.pieces import boxes, labelled, overlap
from seewhy.metrics.table import Row, Table
from seewhy.models.model import Model
from seewhy.question import ask


def values(metric: IoU, maps: Tensor, truth: Tensor) -> list[float]:
    network = networks.cnn() if maps.ndim == 3 else networks.cnn3d()
    x = torch.zeros(len(maps), 3, *maps.shape[1:])
    question = replace(ask(Model(network), x, 0, Execution(), "probability"), truth=truth)
    found: list[float] = metric.measure(question, maps).values.tolist()
    return found


def spiral(side: int) -> Tensor:
    """One piece that winds inwards: the longest way that labels have to go."""
    region = torch.zeros(side, side, dtype=torch.bool)
    y = x = 0
    dy, dx = 0, 1
    region[0, 0] = True
    for _ in range(side * side):
        ahead = y + dy, x + dx
        further = y + 2 * dy, x + 2 * dx
        inside = all(0 <= c < side for c in ahead)
        if not inside or (all(0 <= c < side for c in further) and region[further]):
            dy, dx = dx, -dy
            ahead = y + dy, x + dx
            if not all(0 <= c < side for c in ahead) or region[ahead]:
                break
        y, x = ahead
        region[y, x] = True
    return region


@pytest.mark.parametrize("share", [0.05, 0.3, 0.45, 0.6, 1.0])
def test_pieces_are_those_of_scipy(share: float) -> None:
    regions = torch.rand(4, 23, 31, generator=torch.Generator().manual_seed(0)) < share
    regions[3] = False
    found = labelled(regions)
    for labels, region in zip(found, regions, strict=True):
        expected, count = ndimage.label(region.numpy(), np.ones((3, 3)))
        pairs = set(zip(labels.ravel().tolist(), expected.ravel().tolist(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
        assert len(pairs - {(0, 0)}) == count
        sides, _ = ndimage.label(region.numpy())  # a planted bug: corners do not connect
        if 0.2 < share < 0.5 and region.any():
            assert sides.max() > count
        around = [(s[0].start, s[0].stop, s[1].start, s[1].stop) for s in ndimage.find_objects(expected)]
        sizes = np.bincount(expected.ravel(), minlength=1)[1:]
        assert sorted(boxes(region)) == sorted(zip(around, sizes.tolist(), strict=True))
        assert [size for _, size in boxes(region)] == sorted(sizes.tolist(), reverse=True)


def test_a_spiral_is_one_piece() -> None:
    region = spiral(40)
    assert region.sum() > 400
    assert boxes(region) == [((0, 40, 0, 40), int(region.sum()))]


def test_boxes_overlap_as_their_masks_do() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        first, second = (
            (a, a + 1 + c, b, b + 1 + d) for a, b, c, d in generator.integers(0, 7, (2, 4)).tolist()
        )
        one, two = np.zeros((2, 14, 14), dtype=bool)
        one[first[0] : first[1], first[2] : first[3]] = True
        two[second[0] : second[1], second[2] : second[3]] = True
        assert overlap(first, second) == pytest.approx((one & two).sum() / (one | two).sum())


def scene() -> tuple[Tensor, Tensor]:
    """A map with a large piece, 4 x 4, and a small brighter one; a truth of two objects, 4 x 6 and 2 x 2."""
    heat, truth = torch.zeros(1, 20, 20), torch.zeros(1, 20, 20, dtype=torch.bool)
    heat[0, 2:6, 3:7], heat[0, 12:14, 15:17] = 0.5, 1.0
    truth[0, 2:6, 1:7] = truth[0, 16:18, 2:4] = True
    return heat, truth


def test_the_largest_piece_is_compared_with_the_object_that_fits_best() -> None:
    heat, truth = scene()
    assert values(IoU(box=True), heat, truth) == pytest.approx([16 / 24])
    assert values(IoU(level=0.6, box=True), heat, truth) == [0]  # the small piece is all that is left
    assert values(IoU(), heat, truth) == pytest.approx([16 / (28 + 4)])  # regions: a planted mix-up differs
    heat[0, 2:6, 3:7][1:3, 1:3] = 0  # a hole changes the region, not its box
    assert values(IoU(box=True), heat, truth) == pytest.approx([16 / 24])
    assert values(IoU(box=True), truth.float(), truth) == [1]


def test_thresholds_count_how_many_are_reached() -> None:
    heat, truth = scene()
    coco = tuple(0.5 + 0.05 * k for k in range(10))
    assert values(IoU(box=True, thresholds=(0.5,)), heat, truth) == [1]
    assert values(IoU(box=True, thresholds=(0.7,)), heat, truth) == [0]
    assert values(IoU(box=True, thresholds=coco), heat, truth) == pytest.approx([0.4])  # 0.5 ... 0.65
    exact = torch.zeros(1, 20, 20)
    exact[0, 2:6, 4:7] = 1  # half of the object: at the very threshold it counts
    assert values(IoU(box=True, thresholds=(0.5,)), exact, truth) == [1]
    assert values(IoU(thresholds=(0.3, 0.9)), heat, truth) == [0.5]  # of regions, 0.5


def test_maps_without_a_piece() -> None:
    _, truth = scene()
    nothing = torch.zeros(1, 20, 20)
    assert values(IoU(box=True), nothing, truth) == pytest.approx([24 / 400])  # the whole picture, as stated
    assert values(IoU("mean", 2.0, box=True), nothing, truth) == [0]
    nothing[0, 3, 3] = float("nan")
    assert np.isnan(values(IoU(box=True, thresholds=(0.5,)), nothing, truth)).all()


def test_wrong_boxes_and_thresholds_are_refused() -> None:
    clip = torch.zeros(1, 4, 12, 17)
    with pytest.raises(DoesNotFit, match="maps of clips"):
        values(IoU(box=True), clip, clip == 0)
    for wrong in ((0.0,), (0.5, 1.5), (float("nan"),)):
        with pytest.raises(BadInput, match="Give overlaps above 0, up to 1"):
            IoU(thresholds=wrong)


def table(found: dict[str, list[Any]]) -> Table:
    rows = tuple(
        Row(f"{name} {i}", "rise", "hit", value)
        for name, each in found.items()
        for i, value in enumerate(each)
    )
    return Table(rows, {"hit": True})


def test_classes_count_alike() -> None:
    found = {"cat": [1.0, 1.0, 1.0, 0.0], "dog": [0.0, float("nan")], "cow": [0.5], "bee": [1.0]}
    results = table(found)
    classes = {row.sample: row.sample.split()[0] for row in results if row.sample != "bee 0"}
    (mean,) = class_means(results, classes)
    assert mean.mean == pytest.approx((0.75 + 0 + 0.5) / 3)
    assert (mean.samples, mean.undefined, mean.method, mean.metric) == (6, 1, "rise", "hit")
    assert mean.low is not None
    assert mean.high is not None
    assert 0.5 / 3 <= mean.low <= mean.mean <= mean.high <= 1.5 / 3
    assert results.mean()[0].mean != pytest.approx(mean.mean)  # the mean over samples is another number
    assert class_means(results, classes) == class_means(results, classes)


def test_class_means_without_intervals_or_values() -> None:
    (one,) = class_means(table({"cat": [1.0], "dog": [0.0]}), {"cat 0": "cat", "dog 0": "dog"})
    assert (one.mean, one.low, one.high) == (0.5, None, None)
    (none,) = class_means(table({"cat": [float("nan")]}), {"cat 0": "cat"})
    assert (none.mean, none.samples, none.undefined) == (None, 0, 1)
    assert class_means(table({"cat": [1.0]}), {}) == []
