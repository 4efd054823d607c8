"""Deletion and insertion step by step against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn.functional import interpolate

import networks
from seewhy.errors import BadInput, SeeWhyError
from seewhy.execution import Execution
from seewhy.metrics.base import Metric, Scored
from seewhy.metrics.faithfulness.curve import curve
from seewhy.metrics.faithfulness.deletion import Deletion
from seewhy.metrics.faithfulness.insertion import Insertion
from seewhy.metrics.faithfulness.units import step_count, step_pixels
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.perturb.noisy_linear import linear
from seewhy.perturb.operators import OPERATORS
from seewhy.perturb.segments import segments
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
    assert step_count((224, 224), 224) == 224
    assert Deletion().cost((224, 224)).forward == 225
    assert step_pixels(224 * 224, 28) == 224 * 8
    assert step_count((8, 8), 224) == 64


def test_the_published_area() -> None:
    """Sum of the scores, half of the first and the last, over the number of steps."""
    x, maps = networks.batch((3, 16, 16), n=2), networks.batch((3, 16, 16), n=2, seed=3)[:, 0]
    for metric in (Deletion(steps=32), Insertion(steps=16)):
        found = metric.measure(pose(x, [0, 2]), maps)
        assert found.curve is not None
        s = found.curve.double()
        published = (s.sum(1) - s[:, 0] / 2 - s[:, -1] / 2) / (s.shape[1] - 1)
        assert found.values.tolist() == pytest.approx(published.tolist(), abs=1e-6)
        assert found.values.tolist() != pytest.approx(s.mean(1).tolist(), abs=1e-6), "a mean would be seen"


@pytest.mark.parametrize("steps", [16, 64])
def test_deleting_in_order_is_inserting_in_reverse(steps: int) -> None:
    x = networks.batch((3, 16, 16), n=3)
    maps = torch.stack([torch.randperm(256, generator=torch.Generator().manual_seed(i)) for i in range(3)])
    maps = maps.reshape(3, 16, 16).float()
    question = pose(x, [0, 1, 2])

    def run(values: Tensor, *, insert: bool) -> Tensor:
        scores = curve(question, values, "noise", steps, "test", insert=insert).curve
        assert scores is not None
        return scores

    deleted, inserted = run(maps, insert=False), run(-maps, insert=True)
    assert float((deleted - inserted.flip(1)).abs().max()) <= 1e-6
    same = run(maps, insert=True).flip(1)
    assert float((deleted - same).abs().max()) > 1e-3, "the same order is no reverse"


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


# -- units other than pixels, and every operator


def by_units(
    metric: Metric, x: Tensor, heat: Tensor, c: int, labels: Tensor, steps: int, hidden: Tensor
) -> list[float]:
    """One sample in float64: rank segments by the mean of the map over them, then change them one by one."""
    net, ids = network(tuple(x.shape)).double(), sorted(set(labels.flatten().tolist()))
    means = [float(heat[labels == i].double().mean()) for i in ids]
    first = sorted(ids, key=lambda i: (-means[i], i))
    scores = []
    for step in range(steps + 1):
        changed = torch.zeros_like(labels, dtype=torch.bool)
        for i in first[: int(step * len(ids) / steps + 0.5)]:
            changed |= labels == i
        gone = changed if metric.name == "deletion" else ~changed
        picture = torch.where(gone, hidden, x.double())
        with torch.no_grad():
            scores.append(float(net(picture[None]).softmax(1)[0, c]))
    return scores


def patchwork(shape: tuple[int, ...], n: int) -> Tensor:
    """Pictures that superpixels can be found in."""
    coarse = networks.batch((shape[0], *[4] * (len(shape) - 1)), n=n)
    return interpolate(coarse, size=shape[1:], mode="nearest") + 0.05 * networks.batch(shape, n=n, seed=8)


@pytest.mark.parametrize("metric", [Deletion, Insertion])
@pytest.mark.parametrize(
    ("shape", "units", "steps"),
    [((3, 16, 18), "grid:4", 224), ((3, 16, 18), "grid:5", 7), ((3, 24, 24), "slic:9", 6),
     ((3, 24, 24), "slic:9", 50), ((3, 4, 8, 9), "grid:3", 11)],
)  # fmt: skip
def test_units_equal_a_plain_loop(
    metric: type[Metric], shape: tuple[int, ...], units: str, steps: int
) -> None:
    x, maps = patchwork(shape, 2), networks.batch(shape, n=2, seed=3)[:, 0]
    question = pose(x, [0, 2], batch_size=7)
    found = metric(steps=steps, units=units).measure(question, maps)  # type: ignore[call-arg]
    made = metric(steps=steps, units=units).cost(shape[1:]).forward - 1  # type: ignore[call-arg]
    assert found.curve is not None
    assert found.at is not None
    assert found.at.tolist() == pytest.approx([j / made for j in range(made + 1)])
    cut = segments(question, units)
    hidden = torch.zeros_like(x).double() if metric is Deletion else blurred(x)
    for i, c in enumerate([0, 2]):
        labels = cut.labels[i]
        wanted = by_units(metric(), x[i], maps[i], c, labels, made, hidden[i])
        assert found.curve[i].tolist() == pytest.approx(wanted, abs=1e-5)
        assert float(found.values[i]) == pytest.approx(np.trapezoid(wanted, found.at), abs=1e-5)
    sums = by_units(metric(), x[0], maps[0] * torch.rand_like(maps[0]), 0, cut.labels[0], made, hidden[0])
    assert found.curve[0].tolist() != pytest.approx(sums, abs=1e-4), "another ranking would be seen"


def test_units_of_equal_means_have_no_order() -> None:
    x, maps = networks.batch((3, 16, 16), n=2), torch.zeros(2, 16, 16)
    maps[0, ::2], maps[1, :8] = 1.0, 1.0
    found = Deletion(units="grid:4").measure(pose(x, [0, 0]), maps)
    assert found.notes is not None
    assert found.notes["undefined"] == ["constant", None]
    assert found.values.isnan().tolist() == [True, False]
    assert found.notes["tied"] == [1.0, 1.0]


def test_units_in_batches_equal_singles() -> None:
    x, maps = patchwork((3, 24, 24), 3), networks.batch((3, 24, 24), n=3, seed=3)[:, 0]
    for metric in (Deletion(steps=5, units="slic:12"), Insertion(steps=20, units="grid:3")):
        whole = metric.measure(pose(x, [0, 1, 2]), maps).values
        singles = [metric.measure(pose(x[i : i + 1], [i]), maps[i : i + 1]).values for i in range(3)]
        assert float((whole - torch.cat(singles)).abs().max()) <= 1e-5


def test_every_operator_and_every_unit() -> None:
    """Operators that look at what is left see what each step leaves."""
    x, maps = patchwork((3, 16, 16), 2), networks.batch((3, 16, 16), n=2, seed=3)[:, 0]
    look = Preprocessing(size=(16, 16))
    question = ask(Model(network((3, 16, 16)), preprocess=look), x, [0, 1], Execution(), "probability")
    areas = {}
    for fill in OPERATORS.names():
        for units in ("pixels", "grid:4", "slic:9"):
            for metric in (Deletion(8, fill, units), Insertion(8, fill, units)):
                found = metric.measure(question, maps)
                assert found.curve is not None
                ends = (0, -1) if metric.name == "deletion" else (-1, 0)
                assert found.curve[:, ends[0]].tolist() == pytest.approx(question.clean.tolist(), abs=1e-5)
                areas[metric.name, fill, units] = found.values.tolist()
    assert len({tuple(v) for v in areas.values()}) == len(areas), "fillings and units would be seen"
    filled = linear(x, maps > maps.flatten(1).quantile(0.5, dim=1)[:, None, None])
    edited = Deletion(2, "noisy-linear:0").measure(question, maps).curve
    assert edited is not None
    assert edited[:, 1].tolist() == pytest.approx(question.scores(filled).tolist(), abs=1e-4)


def test_unknown_units_are_refused() -> None:
    for wrong in ("hexagons:4", "slic:none"):
        with pytest.raises(SeeWhyError, match="segments"):
            Deletion(units=wrong)
