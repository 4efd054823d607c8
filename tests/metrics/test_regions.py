"""Completeness, soundness, smallest regions and the saliency metric: closed forms, plain loops, extremes."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import networks
import seewhy
from seewhy.errors import BadInput, DoesNotFit
from seewhy.execution import Execution
from seewhy.metrics.base import Metric
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.faithfulness.completeness import Completeness
from seewhy.metrics.faithfulness.saliency_metric import SaliencyMetric, box_around
from seewhy.metrics.faithfulness.smallest_destroying_region import SmallestDestroyingRegion
from seewhy.metrics.faithfulness.smallest_sufficient_region import SmallestSufficientRegion
from seewhy.metrics.faithfulness.soundness import Soundness
from seewhy.models.model import Model
from seewhy.question import Again, Question, ask
from seewhy.targets import Output

SHAPE = (3, 16, 12)
X = 3 * networks.batch(SHAPE, n=3) - 2
MAPS = networks.batch(SHAPE, n=3, seed=3)[:, 0]
CLASSES = [1, 1, 2]
ORDERED: list[Metric] = [
    Completeness(steps=9),
    SmallestSufficientRegion(steps=9),
    SmallestDestroyingRegion(level=0.5, steps=9),
    SaliencyMetric(0.9),
]


class Sharp(nn.Module):
    """The small network with logits far enough apart for a score to come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.net = networks.cnn().eval()

    def forward(self, x: Tensor) -> Tensor:
        return 10 * self.net(x)


def pose(x: Tensor = X, classes: list[int] | int = CLASSES, prefers: str = "probability") -> Question:
    return ask(Model(Sharp()), x, classes, Execution(), prefers)  # type: ignore[arg-type]


@cache
def precise() -> nn.Module:
    """The network in float64, made once."""
    return Sharp().double()


def double(x: Tensor) -> Tensor:
    """Return float64 probabilities of the network."""
    with torch.no_grad():
        found: Tensor = precise()(x.double())
    return found.softmax(1)


def shown(x: Tensor, heat: Tensor, c: int, steps: int, *, insert: bool) -> list[float]:
    """One sample in float64, one step at a time: show the first pixels on the mean colour, or hide them."""
    flat = heat.flatten().tolist()
    order = sorted(range(len(flat)), key=lambda i: (-flat[i], i))
    pixels = math.ceil(len(flat) / steps)
    scores = []
    for done in range(0, len(flat) + pixels, pixels):
        first = torch.zeros(len(flat), dtype=torch.bool)
        first[order[:done]] = True
        keep = first if insert else ~first
        scores.append(float(double((x.flatten(1) * keep).reshape(1, *x.shape))[0, c]))
    return scores


class Corner(nn.Module):
    """Class 1 for light among the first 4 x 4 pixels, class 2 for light anywhere else, else class 0."""

    def __init__(self, sure: float = 20.0) -> None:
        super().__init__()
        self.sure = sure

    def forward(self, x: Tensor) -> Tensor:
        light = x.mean(1)
        corner = light[:, :4, :4].sum((1, 2)) / 16
        rest = light.sum((1, 2)) - light[:, :4, :4].sum((1, 2))
        return self.sure * torch.stack([torch.full_like(corner, 0.5), corner, rest], 1)


def corner(sure: float = 20.0, again: Again | None = None) -> tuple[Question, Tensor]:
    """Return a question about class 1 of a lit corner, and the map that marks the corner, brightest first."""
    x = torch.zeros(1, 3, 16, 16)
    x[..., :4, :4] = 1
    heat = x[:, 0] + 0.01 * torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))
    return replace(ask(Model(Corner(sure)), x, 1, Execution(), "probability"), again=again), heat


# -- completeness


def test_completeness_equals_a_plain_loop() -> None:
    found = Completeness(steps=9).measure(pose(), MAPS)
    assert found.curve is not None
    for i, c in enumerate(CLASSES):
        scores = shown(X[i], MAPS[i], c, 9, insert=True)
        mean, whole = sum(scores[1:]) / (len(scores) - 1), float(double(X[i : i + 1])[0, c])
        assert found.curve[i].tolist() == pytest.approx(scores, abs=1e-5)
        assert float(found.values[i]) == pytest.approx(min(1, max(0.1, mean) / min(1, whole)), abs=1e-4)
        with_blank = sum(scores) / len(scores)
        assert abs(with_blank - mean) > 1e-4, "the first point, with nothing shown, would be seen"
        capped = Completeness(steps=9, floor=0.0, ceiling=0.15).measure(pose(), MAPS).values
        assert float(capped[i]) == pytest.approx(min(1, mean / min(0.15, whole)), abs=1e-4)


def test_completeness_in_closed_form() -> None:
    """The score is the share of the class's probability that is shown at once: all, or nothing."""
    question, heat = corner(200.0)
    assert float(Completeness(steps=256).measure(question, heat).values) == pytest.approx(
        (256 - 7) / 256, abs=0.005
    )  # more than half of the corner must be seen: its ninth pixel of 256
    worst = Completeness(steps=256, floor=0.0).measure(question, -heat).values
    assert float(worst) == pytest.approx(8 / 256, abs=0.005)
    assert float(Completeness(steps=256).measure(question, -heat).values) == pytest.approx(0.1)
    random = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(3))
    middle = float(Completeness(steps=256).measure(question, random).values)
    assert float(worst) < middle < (256 - 7) / 256


def test_completeness_refusals() -> None:
    for wrong in ({"steps": 0}, {"floor": 2.0}, {"ceiling": 0.0}):
        with pytest.raises(BadInput, match="Give"):
            Completeness(**wrong)  # type: ignore[arg-type]
    assert Completeness().cost((224, 224)).forward == 29


# -- soundness


def test_soundness_equals_a_plain_loop() -> None:
    net = Sharp()
    result = seewhy.explain(net, X, "gradient", target=CLASSES)
    metric = Soundness(classes=3, steps=9, floor=0.05)
    worst, mean = (
        [r.value for r in evaluate(net, X, result, each, baselines=False)]
        for each in (metric, replace(metric, over="mean"))
    )
    for i, own in enumerate(CLASSES):
        shares = double(X[i : i + 1])[0]
        others = [c for c in shares.argsort(descending=True).tolist() if c != own][:3]
        ratios = []
        for c in others:
            heat = seewhy.explain(net, X[i : i + 1], "gradient", target=c).values[0]
            scores = shown(X[i], heat, c, 9, insert=True)[1:]
            ratios.append(min(1, max(0.05, float(shares[c])) / (sum(scores) / len(scores))))
        assert worst[i] == pytest.approx(min(ratios), abs=1e-4)
        assert mean[i] == pytest.approx(sum(ratios) / 3, abs=1e-4)


class Constant(nn.Module):
    """Class 0 is believed on the whole picture only; on any other class 1 has `raised`, class 2 the rest."""

    def __init__(self, raised: float) -> None:
        super().__init__()
        self.raised = raised

    def forward(self, x: Tensor) -> Tensor:
        whole = x.flatten(1).amin(1) > 0
        sure = torch.tensor([0.85, 0.05, 0.1]).log().expand(len(x), 3)
        other = torch.tensor([0.05, self.raised, 0.95 - self.raised]).log()
        return torch.where(whole[:, None], sure, other.expand(len(x), 3))


def test_soundness_in_closed_form() -> None:
    """p = floor / 2 and a mean of 2 floor make 1/2; the last step shows the whole picture."""
    x, heat = torch.ones(1, 3, 8, 8), torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
    question = ask(Model(Constant(0.2)), x, 0, Execution(), "probability")

    def again(model: Model, x: Tensor | None = None, target: object = None, **options: object) -> Tensor:
        return heat

    posed = replace(question, again=again)
    found = Soundness(steps=64, floor=0.1).measure(posed, heat)
    means = [(63 * 0.2 + 0.05) / 64, (63 * 0.75 + 0.1) / 64]
    assert found.notes is not None
    assert found.notes["each"][0] == pytest.approx([0.1 / means[1], 0.1 / means[0]], rel=1e-4)
    assert float(found.values) == pytest.approx(0.1 / means[1], rel=1e-4)
    assert float(Soundness(classes=1, over="mean", floor=0.0).measure(posed, heat).values) < 0.2
    full = Soundness(floor=1.0).measure(posed, heat)
    assert full.values.tolist() == [1.0], "at the highest floor everything is sound"


def test_a_method_that_justifies_anything_is_not_sound() -> None:
    """The reversed map of a class shows the other's evidence first; here that belongs to class 2."""
    x = torch.full((1, 3, 16, 16), 0.0)
    x[..., :4, :4], x[..., 8:, 8:] = 1.0, 0.004
    question = ask(Model(Corner(20.0)), x, 1, Execution(), "probability")
    honest = 0.01 * torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))

    def liar(model: Model, x: Tensor | None = None, target: object = None, **options: object) -> Tensor:
        wanted = honest.clone()
        wanted[:, 8:, 8:] += 1.0
        return wanted

    def sound(model: Model, x: Tensor | None = None, target: object = None, **options: object) -> Tensor:
        wanted = honest.clone()
        wanted[:, :4, :4] += 1.0
        return wanted

    metric = Soundness(classes=1, floor=0.01, steps=16)
    told, kept = (
        float(metric.measure(replace(question, again=each), honest).values) for each in (liar, sound)
    )
    assert told < kept


def test_soundness_asks_for_a_class_and_for_the_method() -> None:
    with pytest.raises(DoesNotFit, match="how the maps were made"):
        Soundness().measure(pose(), MAPS)
    question = ask(Model(networks.cnn().eval()), X, Output(1), Execution(), "probability")
    with pytest.raises(DoesNotFit, match="compares classes"):
        Soundness().measure(replace(question, again=lambda model, x=None, target=None, **o: MAPS), MAPS)
    for wrong in ({"steps": 0}, {"classes": 0}, {"floor": -1.0}):
        with pytest.raises(BadInput, match="Give"):
            Soundness(**wrong)  # type: ignore[arg-type]


# -- the smallest regions


@pytest.mark.parametrize("insert", [True, False])
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_regions_equal_a_plain_loop(level: float, insert: bool) -> None:
    kind = SmallestSufficientRegion if insert else SmallestDestroyingRegion
    found = kind(level=level, steps=24).measure(pose(), MAPS)
    assert found.notes is not None
    for i, c in enumerate(CLASSES):
        scores = shown(X[i], MAPS[i], c, 24, insert=insert)
        bar = level * float(double(X[i : i + 1])[0, c])
        passed = [j for j, s in enumerate(scores) if (s >= bar if insert else s <= bar)]
        if not passed:
            assert not insert
            assert found.notes["undefined"][i] == "never gone"
            assert math.isnan(float(found.values[i]))
            continue
        assert float(found.values[i]) == pytest.approx(passed[0] / 24, abs=1e-6)


def test_regions_in_closed_form() -> None:
    """Class 1 needs more than half of the 16 corner pixels: 9 of 256."""
    question, heat = corner(400.0)
    sufficient, destroying = SmallestSufficientRegion(steps=256), SmallestDestroyingRegion(steps=256)
    assert float(sufficient.measure(question, heat).values) == pytest.approx(9 / 256)
    assert float(destroying.measure(question, heat).values) == pytest.approx(9 / 256)
    assert float(sufficient.measure(question, -heat).values) == pytest.approx((240 + 9) / 256)
    assert float(destroying.measure(question, -heat).values) == pytest.approx((240 + 9) / 256)
    random = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(3))
    for metric in (sufficient, destroying):
        assert 9 / 256 < float(metric.measure(question, random).values) < 249 / 256
    assert float(replace(sufficient, level=1.0).measure(question, -heat).values) <= 1.0


def test_the_last_region_that_suffices_in_place_of_the_first_would_be_seen() -> None:
    found = SmallestSufficientRegion(level=0.98, steps=96).measure(pose(), MAPS)
    assert found.curve is not None
    enough = (found.curve >= 0.98 * pose().clean[:, None]).tolist()
    last = [max([j + 1 for j, e in enumerate(row) if not e], default=0) / 96 for row in enough]
    assert found.values.tolist() != pytest.approx(last)


def test_region_refusals() -> None:
    for kind in (SmallestSufficientRegion, SmallestDestroyingRegion):
        for wrong in ({"level": 0.0}, {"level": 1.5}, {"steps": 0}):
            with pytest.raises(BadInput, match="Give"):
                kind(**wrong)  # type: ignore[arg-type]
        assert kind().cost((224, 224)).forward == 101
        assert kind(units="grid:4").cost((224, 224)).forward == 17


# -- the saliency metric


def test_saliency_metric_in_closed_form() -> None:
    """The whole input has -log p; an area of .05 or less and certainty have log .05 = -2.9957."""
    question = pose(prefers="log_probability")
    frame = torch.rand(3, 16, 12, generator=torch.Generator().manual_seed(0)) / 2
    frame[:, 0, 0], frame[:, -1, -1] = 1.0, 1.0
    wanted = [-float(double(X[i : i + 1])[0, c].log()) for i, c in enumerate(CLASSES)]
    assert SaliencyMetric().measure(question, frame).values.tolist() == pytest.approx(wanted, abs=1e-5)
    x, dot = torch.ones(1, 3, 20, 20), torch.zeros(1, 20, 20)
    dot[:, 4:8, 5:10] = 1.0
    sure = ask(Model(Corner(1000.0)), x, 2, Execution(), "log_probability")
    found = SaliencyMetric().measure(sure, dot)
    assert float(found.values) == pytest.approx(-2.9957, abs=1e-4)
    assert found.notes is not None
    assert found.notes["area"] == [0.05]
    assert found.notes["box"] == [[[4, 8], [5, 10]]]
    dot[:, 4, 5:10] = 0.0
    assert float(SaliencyMetric().measure(sure, dot).values) == pytest.approx(-2.9957, abs=1e-4)
    assert SaliencyMetric.bounds[0] == pytest.approx(-2.9957, abs=1e-4)


@pytest.mark.parametrize("threshold", [0.7, 0.8])
def test_saliency_metric_equals_a_plain_loop(threshold: float) -> None:
    found, gaps = SaliencyMetric(threshold).measure(pose(prefers="log_probability"), MAPS), []
    for i, c in enumerate(CLASSES):
        unit = (MAPS[i] - MAPS[i].min()) / (MAPS[i].max() - MAPS[i].min())
        rows = [r for r in range(16) if bool((unit[r] >= threshold).any())]
        columns = [k for k in range(12) if bool((unit[:, k] >= threshold).any())]
        box = X[i, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].double()[None]
        p = double(interpolate(box, size=(16, 12), mode="bilinear", align_corners=False))[0, c]
        area = box[0, 0].numel() / (16 * 12)
        assert float(found.values[i]) == pytest.approx(math.log(max(area, 0.05)) - float(p.log()), abs=1e-4)
        nearest = double(interpolate(box, size=(16, 12), mode="nearest"))[0, c]
        gaps.append(abs(float(nearest.log() - p.log())))
    assert max(gaps) > 1e-3, "another enlargement would be seen"


class Light(nn.Module):
    """Class 1 for light."""

    def forward(self, x: Tensor) -> Tensor:
        light = x.mean((1, 2, 3))
        return 20 * torch.stack([torch.full_like(light, 0.5), light], 1)


def test_saliency_metric_extremes() -> None:
    posed, heat = corner()
    question = ask(Model(Light()), posed.x, 1, Execution(), "log_probability")
    best, worst = (float(SaliencyMetric().measure(question, m).values) for m in (heat, -heat))
    random = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(3))
    whole = -float(question.clean)
    assert best == pytest.approx(math.log(1 / 16), abs=1e-3)
    assert worst == pytest.approx(whole, abs=1e-3), "the reversed map's box is the whole input"
    assert best < float(SaliencyMetric().measure(question, random).values) <= whole + 1e-3


def test_boxes() -> None:
    inside = torch.zeros(5, 7, dtype=torch.bool)
    assert box_around(inside) == (slice(0, 5), slice(0, 7))
    inside[1, 2] = inside[3, 4] = True
    assert box_around(inside) == (slice(1, 4), slice(2, 5))
    with pytest.raises(BadInput, match="Give 0 to 1"):
        SaliencyMetric(1.5)
    assert SaliencyMetric().cost((224, 224)).forward == 1


# -- all of them


@pytest.mark.parametrize("metric", ORDERED, ids=lambda m: m.name)
def test_batches_equal_singles(metric: Metric) -> None:
    whole = metric.measure(pose(prefers=metric.prefers), MAPS).values
    singles = [
        metric.measure(pose(X[i : i + 1], [c], metric.prefers), MAPS[i : i + 1]).values
        for i, c in enumerate(CLASSES)
    ]
    torch.testing.assert_close(whole, torch.cat(singles), atol=1e-5, rtol=0, equal_nan=True)


@pytest.mark.parametrize("metric", ORDERED, ids=lambda m: m.name)
def test_maps_without_an_order_have_no_value(metric: Metric) -> None:
    maps = MAPS.clone()
    maps[1], maps[2, 3, 3] = 0.5, float("nan")
    found = metric.measure(pose(prefers=metric.prefers), maps)
    assert found.notes is not None
    assert found.values.isnan().tolist() == [False, True, True]
    assert found.notes["undefined"] == [None, "constant", "not finite"]


@pytest.mark.parametrize("metric", ORDERED, ids=lambda m: m.name)
def test_clips(metric: Metric) -> None:
    x = networks.batch((3, 4, 8, 9), n=2)
    question = ask(Model(networks.cnn3d().eval()), x, [0, 1], Execution(), metric.prefers)
    found = metric.measure(question, networks.batch((3, 4, 8, 9), n=2, seed=3)[:, 0])
    assert len(found.values) == 2
