"""Deletion and insertion step by step against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.metrics.base import Metric, Scored
from seewhy.metrics.faithfulness.curve import curve, step_count, step_pixels
from seewhy.metrics.faithfulness.deletion import Deletion
from seewhy.metrics.faithfulness.insertion import Insertion
from seewhy.models.model import Model
from seewhy.question import Question, ask


def network(shape: tuple[int, ...]) -> nn.Module:
    return (networks.cnn if len(shape) == 3 else networks.cnn3d)().eval()


def pose(x: Tensor, classes: list[int], **options: object) -> Question:
    return ask(Model(network(tuple(x.shape[1:]))), x, classes, Execution(**options), "probability")  # type: ignore[arg-type]


def blurred(x: Tensor) -> Tensor:
    dot = np.zeros((11, 11))
    dot[5, 5] = 1
    kernel = ndimage.gaussian_filter(dot, 5).reshape(*[1] * (x.ndim - 2), 11, 11)
    return torch.from_numpy(ndimage.convolve(x.double().numpy(), kernel, mode="constant"))


def plain_loop(
    x: Tensor, heat: Tensor, c: int, start: Tensor, finish: Tensor, pixels: int, last_tie_first: bool = False
) -> list[float]:
    """One sample, one step at a time, in float64: copy the next pixels, ask the network."""
    net = network(tuple(x.shape)).double()
    flat = heat.flatten().tolist()
    order = sorted(range(len(flat)), key=lambda i: (-flat[i], -i if last_tie_first else i))
    picture, end = start.double().clone().flatten(1), finish.double().flatten(1)
    scores = []
    with torch.no_grad():
        for step in range(-(-len(order) // pixels) + 1):
            now = order[max(0, step - 1) * pixels : step * pixels]
            picture[:, now] = end[:, now]
            scores.append(float(net(picture.reshape(1, *x.shape)).softmax(1)[0, c]))
    return scores


SHAPES = [((3, 16, 16), 32), ((3, 13, 17), 10), ((3, 4, 8, 9), 20), ((3, 8, 8), 1000)]


@pytest.mark.parametrize("metric", [Deletion, Insertion])
@pytest.mark.parametrize(("shape", "steps"), SHAPES)
@pytest.mark.parametrize("ties", [False, True])
def test_every_step_equals_a_plain_loop(
    metric: type[Metric], shape: tuple[int, ...], steps: int, ties: bool
) -> None:
    x, maps = networks.batch(shape, n=2), networks.batch(shape, n=2, seed=3)[:, 0]
    if ties:
        maps = maps.mul(2).round()
    found = metric(steps=steps).measure(pose(x, [0, 2], batch_size=7), maps)  # type: ignore[call-arg]
    assert found.curve is not None
    assert found.at is not None
    pixels = step_pixels(maps[0].numel(), steps)
    assert found.curve.shape[1] == metric(steps=steps).cost(shape[1:]).forward  # type: ignore[call-arg]
    hidden = torch.zeros_like(x).double() if metric is Deletion else blurred(x)
    for i, c in enumerate([0, 2]):
        ends = (x[i], hidden[i]) if metric is Deletion else (hidden[i], x[i])
        wanted = plain_loop(x[i], maps[i], c, *ends, pixels)
        assert float((found.curve[i] - torch.tensor(wanted)).abs().max()) <= 1e-5
        at = [min(j * pixels, maps[i].numel()) / maps[i].numel() for j in range(len(wanted))]
        assert found.at.tolist() == pytest.approx(at)
        assert float(found.values[i]) == pytest.approx(np.trapezoid(wanted, at), abs=1e-5)


def test_an_unstable_order_would_be_seen() -> None:
    """The planted bug: equal values in reverse row-major order."""
    x, maps = networks.batch((3, 16, 16), n=1), torch.zeros(1, 16, 16)
    maps[0, :4] = 1
    found = Deletion(steps=32).measure(pose(x, [0]), maps)
    assert found.curve is not None
    backwards = plain_loop(x[0], maps[0], 0, x[0], torch.zeros(3, 16, 16), 8, last_tie_first=True)
    assert float((found.curve[0] - torch.tensor(backwards)).abs().max()) > 1e-3


def test_the_published_setting() -> None:
    assert step_pixels(224 * 224, 224) == 224
    assert step_count(224 * 224, 224) == 224
    assert Deletion().cost((224, 224)).forward == 225
    assert step_pixels(224 * 224, 28) == 224 * 8
    assert step_count(8 * 8, 224) == 64


@pytest.mark.parametrize("steps", [16, 64])
def test_deleting_in_order_is_inserting_in_reverse(steps: int) -> None:
    x = networks.batch((3, 16, 16), n=3)
    maps = torch.stack([torch.randperm(256, generator=torch.Generator().manual_seed(i)) for i in range(3)])
    maps = maps.reshape(3, 16, 16).float()
    question, gone = pose(x, [0, 1, 2]), networks.batch((3, 16, 16), n=3, seed=9)

    def run(values: Tensor, start: Tensor, finish: Tensor) -> Tensor:
        scores = curve(question, values, start, finish, steps, "test").curve
        assert scores is not None
        return scores

    deleted, inserted = run(maps, x, gone), run(-maps, gone, x)
    assert float((deleted - inserted.flip(1)).abs().max()) <= 1e-6
    assert float((deleted - run(maps, gone, x).flip(1)).abs().max()) > 1e-3, "the same order is no reverse"


def test_batches_equal_singles() -> None:
    x, maps = networks.batch((3, 16, 16), n=4), networks.batch((3, 16, 16), n=4, seed=3)[:, 0]
    for metric in (Deletion(steps=20), Insertion(steps=20)):
        whole = metric.measure(pose(x, [0, 1, 2, 3]), maps).values
        singles = [metric.measure(pose(x[i : i + 1], [i]), maps[i : i + 1]).values for i in range(4)]
        assert float((whole - torch.cat(singles)).abs().max()) <= 1e-5


def test_maps_without_an_order_have_no_value() -> None:
    x, maps = networks.batch((3, 16, 16), n=4), networks.batch((3, 16, 16), n=4, seed=3)[:, 0]
    maps = maps.clone()
    maps[1], maps[2, 3, 3], maps[3, 0, 0] = 0.5, float("nan"), float("inf")
    found: Scored = Deletion(steps=8).measure(pose(x, [0, 0, 0, 0]), maps)
    assert found.values.isnan().tolist() == [False, True, True, True]
    assert found.notes is not None
    assert found.notes["undefined"] == [None, "constant", "not finite", "not finite"]
    assert found.notes["tied"][:2] == [0.0, 1.0]


def test_tied_pixels_are_counted() -> None:
    maps = torch.arange(256.0).reshape(1, 16, 16)
    maps[0, :2] = -1
    found = Deletion(steps=8).measure(pose(networks.batch((3, 16, 16), n=1), [0]), maps)
    assert found.notes is not None
    assert found.notes["tied"] == [32 / 256]


def test_maps_of_another_size_are_refused() -> None:
    with pytest.raises(BadInput, match="one map an input"):
        Deletion().measure(pose(networks.batch((3, 16, 16), n=2), [0, 0]), torch.rand(2, 8, 8))
