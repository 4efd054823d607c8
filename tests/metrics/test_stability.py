"""Stability under zoom, seeds, JPEG and batches; other classes and other labels."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn.functional import interpolate

import networks
import seewhy
from seewhy.conformance import state_of
from seewhy.errors import BadInput, Cancelled, DoesNotFit
from seewhy.execution import Execution
from seewhy.metrics.base import Metric
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.robustness.batch_stability import BatchStability
from seewhy.metrics.robustness.jpeg_stability import JPEGStability, compressed
from seewhy.metrics.robustness.seed_stability import SeedStability
from seewhy.metrics.robustness.transform_stability import TransformStability
from seewhy.metrics.sanity.label_randomisation import LabelRandomisation
from seewhy.metrics.sanity.random_logit import RandomLogit
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.question import Question, ask
from seewhy.targets import Output

LOOK = Preprocessing(size=(16, 16))
PIXELS = interpolate(
    torch.randint(0, 256, (3, 3, 5, 5), generator=torch.Generator().manual_seed(0)).float(), (16, 16)
)
X = torch.stack([LOOK(Image.fromarray(p.permute(1, 2, 0).byte().numpy())) for p in PIXELS])
MAPS = networks.batch((3, 16, 16), n=3, seed=3)[:, 0]
CLASSES = [0, 2, 1]
OTHER = networks.cnn()
STABLE: list[Metric] = [
    TransformStability(draws=2),
    SeedStability(seeds=2),
    JPEGStability((75, 30)),
    BatchStability(),
]
EVERY: list[Metric] = [*STABLE, RandomLogit(classes=2), LabelRandomisation(OTHER)]


def model() -> Model:
    return Model(networks.cnn().eval(), preprocess=LOOK)


def pose(again: Callable[..., Tensor] | None, **options: Any) -> Question:
    return replace(ask(model(), X, CLASSES, Execution(**options), "probability"), again=again)


def made(maps: Tensor) -> Callable[..., Tensor]:
    """Return what makes the same maps, whatever it is asked."""
    return lambda model, x=None, target=None, **options: maps


def rank_correlation(a: Tensor, b: Tensor) -> float:
    return float(spearmanr(a.double().flatten().numpy(), b.double().flatten().numpy()).statistic)


# -- all of them


@pytest.mark.parametrize("metric", EVERY, ids=lambda m: m.name)
def test_extremes(metric: Metric) -> None:
    """The same map scores 1, the reversed one -1, a constant one 0, an unrelated one about 0."""
    steep = torch.arange(256.0).reshape(1, 16, 16).expand(3, 16, 16) + 1  # zooming in keeps the order
    absolute = isinstance(metric, LabelRandomisation)
    known = metric.measure(pose(made(steep)), steep)
    if not isinstance(metric, TransformStability):
        assert known.values.tolist() == pytest.approx([1, 1, 1])
        turned = metric.measure(pose(made(-steep)), steep).values.tolist()
        assert turned == pytest.approx([1, 1, 1] if absolute else [-1, -1, -1])
    gone = metric.measure(pose(made(torch.ones_like(steep))), steep)
    assert gone.values.tolist() == [0, 0, 0]
    luck = metric.measure(pose(made(MAPS)), networks.batch((3, 16, 16), n=3, seed=9)[:, 0])
    assert float(luck.values.abs().max()) < 0.3


@pytest.mark.parametrize("metric", EVERY, ids=lambda m: m.name)
def test_maps_without_an_order_have_no_value(metric: Metric) -> None:
    maps, broken = MAPS.clone(), MAPS.clone()
    maps[1], maps[2, 3, 3], broken[0, 2, 2] = 0.5, float("nan"), float("nan")
    found = metric.measure(pose(made(broken)), maps)
    assert found.notes is not None
    assert bool(found.values.isnan().all())
    assert found.notes["undefined"] == ["not finite again", "constant", "not finite"]
    assert found.notes["each"] == [None, None, None]


@pytest.mark.parametrize("metric", EVERY, ids=lambda m: m.name)
def test_without_a_maker_it_does_not_fit_and_cancelling_stops(metric: Metric) -> None:
    with pytest.raises(DoesNotFit, match="how the maps were made"):
        metric.measure(pose(None), MAPS)
    with pytest.raises(Cancelled):
        metric.measure(replace(pose(made(MAPS)), execution=Execution(cancelled=lambda: True)), MAPS)
    assert metric.cost((224, 224)).forward == -1


@pytest.mark.parametrize("metric", EVERY, ids=lambda m: m.name)
def test_batches_equal_singles_and_the_model_is_left_alone(metric: Metric) -> None:
    net = model()
    before, others = state_of(net.module), state_of(OTHER)
    result = seewhy.explain(net, X, "gradient", target=CLASSES)
    whole = [r.value for r in evaluate(net, X, result, metric, baselines=False)]
    singles = [
        r.value
        for i in range(3)
        for r in evaluate(
            net,
            X[i : i + 1],
            seewhy.explain(net, X[i : i + 1], "gradient", target=CLASSES[i]),
            metric,
            baselines=False,
        )
    ]
    assert whole == pytest.approx(singles, abs=1e-3)
    assert state_of(net.module) == before
    assert state_of(OTHER) == others


def test_what_the_baselines_score() -> None:
    net = model()
    result = seewhy.explain(net, X, "gradient", target=CLASSES)
    table = evaluate(net, X, result, EVERY)
    mean = {(s.method, s.metric): s.mean or 0.0 for s in table.mean()}
    for metric in ("random_logit", "label_randomisation", "batch_stability"):
        for name in ("random", "centre", "edges"):
            assert mean[name, metric] == pytest.approx(1), "a map that knows nothing stays as it is"
    assert mean["centre", "seed_stability"] == mean["edges", "seed_stability"] == 1
    assert abs(mean["random", "seed_stability"]) < 0.2
    assert mean["random", "jpeg_stability"] == mean["centre", "jpeg_stability"] == 1
    assert 0 < mean["edges", "jpeg_stability"] < 1
    assert abs(mean["random", "transform_stability"]) < 0.3
    assert mean["edges", "transform_stability"] > mean["random", "transform_stability"]


def test_refusals() -> None:
    for refused in (
        lambda: TransformStability(draws=0),
        lambda: TransformStability(smallest=0.9, largest=0.5),
        lambda: SeedStability(seeds=0),
        lambda: JPEGStability(()),
        lambda: JPEGStability((0,)),
        lambda: BatchStability((0,)),
        lambda: RandomLogit(classes=0),
    ):
        with pytest.raises(BadInput, match="Give"):
            refused()


# -- zoom


def test_transform_stability_equals_a_plain_loop() -> None:
    net, metric = model(), TransformStability(draws=3)
    result = seewhy.explain(net, X, "gradient", target=CLASSES)
    found = [r.value for r in evaluate(net, X, result, metric, baselines=False, seed=5)]
    question = pose(None, seed=5)
    for i, c in enumerate(CLASSES):
        wanted, still = [], []
        for draw in range(3):
            rows, columns = metric.window(question, draw)
            view = interpolate(X[i : i + 1, :, rows, columns], (16, 16), mode="bilinear")
            part = interpolate(result.values[i][None, None, rows, columns], (16, 16), mode="bilinear")[0, 0]
            zoomed = seewhy.explain(net, view, "gradient", target=c).values[0]
            wanted.append(rank_correlation(part, zoomed))
            still.append(rank_correlation(result.values[i], zoomed))
        assert found[i] == pytest.approx(np.mean(wanted), abs=1e-4)
        assert abs(np.mean(still) - np.mean(wanted)) > 1e-3, "a map that was not cut alike would be seen"


def test_windows_have_the_areas_asked_for_lie_inside_and_follow_the_seed() -> None:
    question = ask(Model(networks.cnn().eval()), networks.batch((3, 40, 60), n=1), 0, Execution(), "logit")
    metric = TransformStability()
    boxes = [metric.window(question, d) for d in range(50)]
    for rows, columns in boxes:
        assert 0 <= rows.start < rows.stop <= 40
        assert 0 <= columns.start < columns.stop <= 60
        area = (rows.stop - rows.start) * (columns.stop - columns.start) / 2400
        assert 0.72 <= area <= 0.93
    assert len(set(map(str, boxes))) > 25
    other = replace(question, execution=Execution(seed=1))
    assert metric.window(other, 0) != metric.window(question, 0)
    assert TransformStability(smallest=1.0, largest=1.0).window(question, 3) == (slice(0, 40), slice(0, 60))


def test_a_method_that_follows_the_picture_is_stable() -> None:
    """A map that is the picture's own brightness moves along exactly; one that is the frame's does not."""
    x = interpolate(networks.batch((3, 6, 6), n=2), (40, 40), mode="bilinear")
    question = ask(Model(networks.cnn().eval()), x, 0, Execution(), "probability")

    def bright(model: Model, x: Tensor | None = None, target: object = None, **options: object) -> Tensor:
        return question.x.mean(1) if x is None else x.mean(1)

    found = TransformStability().measure(replace(question, again=bright), x.mean(1)).values
    assert float(found.min()) > 0.999
    held = TransformStability().measure(replace(question, again=made(x.mean(1))), x.mean(1)).values
    assert float(held.max()) < 0.99


# -- seeds and batches


def test_seed_stability_equals_a_plain_loop() -> None:
    net = model()
    result = seewhy.explain(net, X, "rise", target=CLASSES, masks=40, seed=7)
    found = [r.value for r in evaluate(net, X, result, SeedStability(seeds=2), baselines=False, seed=7)]
    others = [seewhy.explain(net, X, "rise", target=CLASSES, masks=40, seed=7 + s).values for s in (1, 2)]
    for i in range(3):
        wanted = [rank_correlation(result.values[i], other[i]) for other in others]
        assert found[i] == pytest.approx(np.mean(wanted), abs=1e-4)
        assert max(wanted) < 0.999, "the same seed again would be seen"


def test_more_masks_are_more_stable_and_a_method_without_luck_entirely() -> None:
    net = model()
    few, many = (
        evaluate(net, X, seewhy.explain(net, X, "rise", target=CLASSES, masks=n), SeedStability(2),
                 baselines=False).mean()[0].mean
        for n in (20, 400)
    )  # fmt: skip
    assert few is not None
    assert many is not None
    assert few < many
    same = evaluate(net, X, seewhy.explain(net, X, "gradient"), SeedStability(2), baselines=False)
    assert [r.value for r in same] == pytest.approx([1, 1, 1])


def test_batches_reach_the_method_as_asked() -> None:
    asked: list[object] = []

    def again(model: Model, x: object = None, target: object = None, **options: object) -> Tensor:
        asked.append(options)
        return MAPS

    BatchStability((1, 5)).measure(pose(again), MAPS)
    assert asked == [{"batch_size": 1}, {"batch_size": 5}]


class Neighbours(nn.Module):
    """A network that looks at its neighbours: scores relative to the batch's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.net = networks.cnn().eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * x.mean(0, keepdim=True).sign())


def test_a_network_that_looks_at_its_neighbours_is_found_out() -> None:
    net = Model(Neighbours())
    result = seewhy.explain(net, X, "gradient", target=CLASSES)
    found = [r.value for r in evaluate(net, X, result, BatchStability((1,)), baselines=False)]
    assert max(found) < 0.99
    good = evaluate(model(), X, seewhy.explain(model(), X, "gradient"), BatchStability(), baselines=False)
    assert [r.value for r in good] == pytest.approx([1, 1, 1], abs=1e-4)


# -- JPEG


def test_jpeg_stability_equals_a_plain_loop() -> None:
    net = model()
    result = seewhy.explain(net, X, "gradient", target=CLASSES)
    found = [r.value for r in evaluate(net, X, result, JPEGStability((75, 30)), baselines=False)]
    for i, c in enumerate(CLASSES):
        wanted = []
        for quality in (75, 30):
            file = io.BytesIO()
            Image.fromarray(PIXELS[i].permute(1, 2, 0).byte().numpy()).save(file, "JPEG", quality=quality)
            view = LOOK(Image.open(file))[None]
            other = seewhy.explain(net, view, "gradient", target=c).values[0]
            wanted.append(rank_correlation(result.values[i], other))
        assert found[i] == pytest.approx(np.mean(wanted), abs=1e-3)
        assert abs(wanted[0] - wanted[1]) > 1e-3, "one quality in the place of another would be seen"


def test_compression_takes_grey_pictures_and_clips_and_nothing_without_preprocessing() -> None:
    grey = Preprocessing(size=(16, 16), mean=(0.5,), std=(0.25,))
    x = networks.batch((1, 16, 16), n=2).clamp(-1, 1)
    question = ask(Model(networks.cnn(channels=1).eval(), preprocess=grey), x, 0, Execution(), "logit")
    fine, coarse = (float((compressed(question, q) - x).abs().mean()) for q in (95, 5))
    assert fine < coarse
    clip = networks.batch((3, 4, 16, 16), n=1).clamp(-1, 1)
    film = ask(Model(networks.cnn3d().eval(), preprocess=LOOK), clip, 0, Execution(), "logit")
    assert compressed(film, 75).shape == clip.shape
    bare = ask(Model(networks.cnn().eval()), X, 0, Execution(), "logit")
    with pytest.raises(DoesNotFit, match="no preprocessing"):
        compressed(bare, 75)


# -- other classes


def test_random_logit_equals_a_plain_loop() -> None:
    net, metric = model(), RandomLogit(classes=2)
    result = seewhy.explain(net, X, "gradient", target=CLASSES)
    table = evaluate(net, X, result, metric, baselines=False, seed=4)
    steps = metric.distances(4, 5)
    assert len(set(steps)) == 2
    assert all(1 <= s <= 4 for s in steps)
    for i, row in enumerate(table):
        wanted = [
            rank_correlation(
                result.values[i],
                seewhy.explain(net, X[i : i + 1], "gradient", target=(CLASSES[i] + s) % 5).values[0],
            )
            for s in steps
        ]
        assert row.value == pytest.approx(np.mean(wanted), abs=1e-4)
        assert row.value < 0.999, "the same class again would be seen"


def test_every_other_class_is_drawn_once() -> None:
    assert sorted(RandomLogit(classes=9).distances(0, 5)) == [1, 2, 3, 4]
    assert len({tuple(RandomLogit(classes=2).distances(s, 50)) for s in range(5)}) == 5


def test_random_logit_keeps_all_similarities_and_asks_for_classes() -> None:
    flipped = made(-MAPS)
    found = {
        kind: RandomLogit(similarity=kind).measure(pose(flipped), MAPS)  # type: ignore[arg-type]
        for kind in ("signed", "absolute", "ssim")
    }
    assert found["signed"].values.tolist() == pytest.approx([-1, -1, -1])
    assert found["absolute"].values.tolist() == pytest.approx([1, 1, 1])
    assert found["ssim"].values.tolist() == pytest.approx([1, 1, 1])
    notes = found["signed"].notes
    assert notes is not None
    assert notes["ssim"] == pytest.approx([1, 1, 1])
    question = ask(model(), X, Output(1), Execution(), "probability")
    with pytest.raises(DoesNotFit, match="compares classes"):
        RandomLogit().measure(replace(question, again=flipped), MAPS)


# -- other labels


def shifted(classes: int = 5) -> nn.Module:
    """Another network of the same make."""
    net = networks.cnn(classes)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(p.flatten().roll(1).reshape(p.shape))
    return net.eval()


def test_label_randomisation_compares_with_the_other_network() -> None:
    net, other = model(), shifted()
    result = seewhy.explain(net, X, "gradient", target=CLASSES)
    for similarity in ("absolute", "signed"):
        metric = LabelRandomisation(other, similarity)
        table = evaluate(net, X, result, metric, baselines=False)
        theirs = seewhy.explain(Model(other), X, "gradient", target=CLASSES).values
        for i, row in enumerate(table):
            pair = (result.values[i], theirs[i])
            wanted = rank_correlation(*(p.abs() if similarity == "absolute" else p for p in pair))
            assert row.value == pytest.approx(wanted, abs=1e-4)
            assert row.value < 0.99
        assert table.provenance["metrics"]["label_randomisation"]["other"] == "Sequential"
    same = evaluate(net, X, result, LabelRandomisation(networks.cnn()), baselines=False)
    assert [r.value for r in same] == pytest.approx([1, 1, 1], abs=1e-5)


def test_label_randomisation_needs_a_network_of_the_same_make() -> None:
    with pytest.raises(DoesNotFit, match="none was given"):
        LabelRandomisation().measure(pose(made(MAPS)), MAPS)
    with pytest.raises(DoesNotFit, match="of the same make"):
        LabelRandomisation(shifted(7)).measure(pose(made(MAPS)), MAPS)
