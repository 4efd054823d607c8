"""Pixel flipping step by step against a plain float64 loop; its extremes; its relation to deletion."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.metrics.faithfulness.deletion import Deletion
from seewhy.metrics.faithfulness.pixel_flipping import PixelFlipping
from seewhy.models.model import Model
from seewhy.perturb.patches import on_pixels, patch_sums
from seewhy.question import Question, ask


def network(shape: tuple[int, ...]) -> nn.Module:
    return (networks.cnn if len(shape) == 3 else networks.cnn3d)().eval()


def pose(x: Tensor, classes: list[int], **options: object) -> Question:
    return ask(Model(network(tuple(x.shape[1:]))), x, classes, Execution(**options), "probability")  # type: ignore[arg-type]


def plain(
    x: Tensor, heat: Tensor, c: int, side: int, units: int, steps: int, mean: bool = False
) -> list[float]:
    """One sample, one patch after the other, in float64."""
    net, values = network(tuple(x.shape)).double(), heat.double().numpy()
    corners = list(product(*(range(0, length, side) for length in values.shape)))
    places = [tuple(slice(v, v + side) for v in corner) for corner in corners]
    weigh = np.mean if mean else np.sum
    order = sorted(range(len(places)), key=lambda i: (-float(weigh(values[places[i]])), i))
    picture, scores = x.double().clone(), []
    with torch.no_grad():
        for step in range(steps + 1):
            for i in order[max(0, step - 1) * units : step * units]:
                picture[(slice(None), *places[i])] = 0
            scores.append(float(net(picture[None]).softmax(1)[0, c]))
    return scores


@pytest.mark.parametrize(
    ("shape", "side", "units", "steps"),
    [((3, 16, 16), 4, 1, 16), ((3, 13, 17), 5, 2, 4), ((3, 4, 8, 9), 3, 1, 7), ((3, 8, 8), 1, 5, 13)],
)
def test_every_step_equals_a_plain_loop(shape: tuple[int, ...], side: int, units: int, steps: int) -> None:
    x, maps = networks.batch(shape, n=2), networks.batch(shape, n=2, seed=3)[:, 0]
    metric = PixelFlipping(patch=side, units=units, steps=steps)
    found = metric.measure(pose(x, [0, 2], batch_size=7), maps)
    assert found.curve is not None
    assert found.at is not None
    assert found.curve.shape[1] == metric.cost(shape[1:]).forward == steps + 1
    for i, c in enumerate([0, 2]):
        wanted = plain(x[i], maps[i], c, side, units, steps)
        assert found.curve[i].tolist() == pytest.approx(wanted, abs=1e-5)
        assert float(found.values[i]) == pytest.approx(np.mean([wanted[0] - w for w in wanted]), abs=1e-5)


def test_patches_ranked_by_their_means_would_be_seen() -> None:
    """The planted bug: a patch that the edge cuts off counts as if it were whole."""
    x, maps = networks.batch((3, 13, 13), n=1), networks.batch((3, 13, 13), n=1, seed=3)[:, 0].abs()
    found = PixelFlipping(patch=4, steps=8).measure(pose(x, [0]), maps).curve
    assert found is not None
    right, wrong = (plain(x[0], maps[0], 0, 4, 1, 8, mean=m) for m in (False, True))
    assert found[0].tolist() == pytest.approx(right, abs=1e-5)
    assert max(abs(a - b) for a, b in zip(right, wrong, strict=True)) > 1e-3


def test_single_pixels_are_deletion() -> None:
    x, maps = networks.batch((3, 16, 16), n=2), networks.batch((3, 16, 16), n=2, seed=3)[:, 0]
    flipped = PixelFlipping(patch=1, units=8, steps=32).measure(pose(x, [0, 2]), maps)
    deleted = Deletion(steps=32).measure(pose(x, [0, 2]), maps)
    assert flipped.curve is not None
    assert deleted.curve is not None
    assert flipped.at is not None
    assert deleted.at is not None
    torch.testing.assert_close(flipped.curve, deleted.curve, atol=1e-6, rtol=0)
    torch.testing.assert_close(flipped.at, deleted.at)
    torch.testing.assert_close(flipped.values, deleted.curve[:, 0] - deleted.curve.mean(1), atol=1e-6, rtol=0)


def test_steps_end_with_the_patches() -> None:
    assert PixelFlipping().cost((224, 224)).forward == 101
    assert PixelFlipping().cost((16, 16)).forward == 5
    assert PixelFlipping(patch=1, units=224, steps=500).cost((224, 224)).forward == 225


class Toy(nn.Module):
    """Class 0 gets the sum of weights * x, class 1 nothing."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        logit = (x * self.weights).flatten(1).sum(1)
        return torch.stack([logit, torch.zeros_like(logit)], 1)


@pytest.mark.parametrize("side", [1, 2])
def test_exact_contributions_are_the_best_order_and_their_opposite_the_worst(side: int) -> None:
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        x, weights = torch.randn(2, 1, 3, 6, 6, generator=generator)
        question = ask(Model(Toy(weights[0])), x, 0, Execution(), "probability")
        exact, other = (x * weights).sum(1), torch.randn(1, 6, 6, generator=generator)
        metric = PixelFlipping(patch=side)
        best, some, worst = (float(metric.measure(question, m).values) for m in (exact, other, -exact))
        assert best >= some - 1e-6
        assert some >= worst - 1e-6
        assert best - worst > 0.01


def test_batches_equal_singles() -> None:
    x, maps = networks.batch((3, 16, 16), n=3), networks.batch((3, 16, 16), n=3, seed=3)[:, 0]
    metric = PixelFlipping(patch=3)
    whole = metric.measure(pose(x, [0, 1, 2]), maps).values
    singles = [metric.measure(pose(x[i : i + 1], [i]), maps[i : i + 1]).values for i in range(3)]
    torch.testing.assert_close(whole, torch.cat(singles), atol=1e-5, rtol=0)


def test_maps_without_an_order_have_no_value() -> None:
    x, maps = networks.batch((3, 16, 16), n=4), networks.batch((3, 16, 16), n=4, seed=3)[:, 0].clone()
    maps[1], maps[2, 3, 3] = 0.5, float("nan")
    maps[3] = torch.eye(2).repeat(8, 8)  # every patch sums to the same
    found = PixelFlipping(patch=4).measure(pose(x, [0] * 4), maps)
    assert found.values.isnan().tolist() == [False, True, True, True]
    assert found.notes is not None
    assert found.notes["undefined"] == [None, "constant", "not finite", "constant"]
    cut_off = PixelFlipping(patch=5).measure(pose(x[1:2], [0]), maps[1:2])
    assert bool(cut_off.values.isnan()), "patches at the edge are smaller, which is no order"
    assert not bool(PixelFlipping(patch=1).measure(pose(x[3:], [0]), maps[3:]).values.isnan())


def test_patches_and_refusals() -> None:
    maps = torch.arange(15.0).reshape(1, 3, 5)
    sums = patch_sums(maps, 2)
    assert sums.tolist() == [[[12, 20, 13], [21, 25, 14]]]
    assert on_pixels(sums, (3, 5), 2)[0].tolist() == [[12, 12, 20, 20, 13]] * 2 + [[21, 21, 25, 25, 14]]
    for wrong in ({"patch": 0}, {"units": 0}, {"steps": 0}):
        with pytest.raises(BadInput, match="Give at least 1"):
            PixelFlipping(**wrong)
