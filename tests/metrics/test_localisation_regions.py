"""Weighting game, IoU, relevance mass and rank: analytic extremes, and plain formulas in numpy and scipy."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

import networks
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.metrics.base import Metric
from seewhy.metrics.baselines import random_map
from seewhy.metrics.localisation.energy_pointing_game import EnergyPointingGame
from seewhy.metrics.localisation.iou import IoU
from seewhy.metrics.localisation.relevance_mass import RelevanceMass
from seewhy.metrics.localisation.relevance_rank import RelevanceRank, highest
from seewhy.metrics.localisation.weighting_game import WeightingGame, grown_by_square
from seewhy.models.model import Model
from seewhy.question import Question, ask

METRICS: list[Metric] = [
    WeightingGame(side=1, smallest=0),
    WeightingGame(side=3, smallest=0, floor="minimum"),
    IoU(),
    IoU("mean", 1),
    IoU("area"),
    RelevanceMass(),
    RelevanceMass("positive"),
    RelevanceMass("squared"),
    RelevanceRank(),
    RelevanceRank("positive"),
]
SHAPE = (5, 12, 17)


def asked(truth: Tensor | None, shape: tuple[int, ...]) -> Question:
    network = networks.cnn() if len(shape) == 3 else networks.cnn3d()
    question = ask(Model(network), torch.zeros(shape[0], 3, *shape[1:]), 0, Execution(), "probability")
    return replace(question, truth=truth)


def values(metric: Metric, maps: Tensor, truth: Tensor) -> list[float]:
    found: list[float] = metric.measure(asked(truth, tuple(maps.shape)), maps).values.tolist()
    return found


def boxes(*shape: int) -> Tensor:
    """Boxes of 4 to 9 pixels a side, away from one corner."""
    generator = torch.Generator().manual_seed(4)
    out = torch.zeros(shape, dtype=torch.bool)
    for mask in out:
        top, left, h, w = (int(torch.randint(low, 5, (1,), generator=generator)) for low in (0, 0, 2, 2))
        mask[..., top : top + h + 2, left : left + w + 2] = True
    return out


def signed(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("metric", METRICS, ids=str)
@pytest.mark.parametrize("shape", [SHAPE, (3, 4, 12, 17)])
def test_extremes(metric: Metric, shape: tuple[int, ...]) -> None:
    truth = boxes(*shape)
    assert values(metric, truth.float() * 1e-30, truth) == pytest.approx([1] * len(truth))
    grown = grown_by_square(truth, metric.side) if isinstance(metric, WeightingGame) else truth
    assert values(metric, (~grown).float(), truth) == [0] * len(truth)


@pytest.mark.parametrize("metric", METRICS, ids=str)
@pytest.mark.parametrize("level", [0.0, 0.1, 1e30])
def test_constant_maps_score_the_area(metric: Metric, level: float) -> None:
    truth = boxes(*SHAPE)
    grown = grown_by_square(truth, metric.side) if isinstance(metric, WeightingGame) else truth
    share = grown.double().flatten(1).mean(1)
    if isinstance(metric, IoU) and metric.rule == "area":
        share = share / (2 - share)  # share x K of K pixels hit, of 2 K less those
    assert values(metric, torch.full(SHAPE, level), truth) == pytest.approx(share.tolist(), abs=1e-6)


@pytest.mark.parametrize("metric", [WeightingGame(1, 0), RelevanceMass(), RelevanceRank()], ids=str)
def test_random_maps_score_the_area(metric: Metric) -> None:
    truth = boxes(1, 12, 17).expand(1000, -1, -1)
    pixels = torch.zeros(1, 3, 12, 17, dtype=torch.uint8)
    drawn = torch.cat([random_map(pixels, seed) for seed in range(1000)])
    mean = sum(values(metric, drawn, truth)) / 1000
    assert mean == pytest.approx(float(truth.double().mean()), abs=0.01)


def plain(metric: Metric, heat: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    """One map, in float64, by the formula on the metric's page."""
    if isinstance(metric, WeightingGame):
        mask = ndimage.binary_dilation(mask, np.ones((metric.side, metric.side)))
        heat = np.maximum(heat, 0)
        heat = heat - heat.min() if metric.floor == "minimum" else heat
        return float(heat[mask].sum() / heat.sum())
    if isinstance(metric, IoU):
        positive = np.maximum(heat, 0)
        if metric.rule == "area":
            region = heat >= np.sort(heat, axis=None)[-mask.sum()]
        else:
            base = heat.max() if metric.rule == "maximum" else positive.mean()
            region = (heat > 0) & (heat >= metric.level * base)
        return float((region & mask).sum() / (region | mask).sum())
    assert isinstance(metric, RelevanceMass | RelevanceRank)
    pool = {"absolute": np.abs, "positive": lambda v: np.maximum(v, 0), "squared": np.square}
    heat = pool[metric.pooling](heat)
    if isinstance(metric, RelevanceMass):
        return float(heat[mask].sum() / heat.sum())
    top = np.argsort(heat, axis=None)[::-1][: mask.sum()]
    return float(mask.ravel()[top].mean())


@pytest.mark.parametrize(
    "metric", [*METRICS, WeightingGame(9, 0), IoU("maximum", 0.7), IoU("mean", 2)], ids=str
)
def test_the_formula(metric: Metric) -> None:
    maps, truth = signed(*SHAPE), boxes(*SHAPE)
    expected = [plain(metric, m.double().numpy(), t.numpy()) for m, t in zip(maps, truth, strict=True)]
    assert values(metric, maps, truth) == pytest.approx(expected, abs=1e-6)
    for scale in (1e-30, 1e30):
        assert values(metric, maps * scale, truth) == pytest.approx(expected, abs=1e-5)
    # Planted bugs are seen: a map upside down, a mask of its complement.
    assert values(metric, maps.flip(1), truth) != pytest.approx(expected, abs=1e-3)
    assert values(metric, maps, ~truth) != pytest.approx(expected, abs=1e-3)


def test_options_change_what_is_measured() -> None:
    """Each would be seen if it were ignored."""
    maps, truth = signed(*SHAPE), boxes(*SHAPE)
    pairs: list[tuple[Metric, Metric]] = [
        (WeightingGame(1, 0), WeightingGame(3, 0)),
        (IoU(), IoU(level=0.5)),
        (IoU("mean", 1), IoU("maximum", 1)),
        (IoU("area"), IoU("mean", 1)),
        (RelevanceMass(), RelevanceMass("positive")),
        (RelevanceMass(), RelevanceMass("squared")),
        (RelevanceRank(), RelevanceRank("positive")),
    ]
    for one, other in pairs:
        assert values(one, maps, truth) != pytest.approx(values(other, maps, truth), abs=1e-3)
    floors = [values(WeightingGame(1, 0, floor), maps.abs() + 1, truth) for floor in ("zero", "minimum")]  # type: ignore[arg-type]
    assert floors[0] != pytest.approx(floors[1], abs=1e-3)


def test_without_growing_the_weighting_game_is_the_energy_game() -> None:
    maps, truth = signed(*SHAPE), boxes(*SHAPE)
    energy = values(EnergyPointingGame(), maps, truth)
    assert values(WeightingGame(1, 0), maps, truth) == energy
    assert values(RelevanceMass("positive"), maps, truth) == energy


@pytest.mark.parametrize("side", [1, 3, 9, 41])
def test_masks_grow_by_a_square_within_a_frame(side: int) -> None:
    truth = torch.zeros(2, 3, 12, 17, dtype=torch.bool)
    truth[0, 1, 5, 6] = truth[1, 2, 0, 16] = True
    expected = ndimage.binary_dilation(truth.numpy(), np.ones((1, 1, side, side)))
    assert grown_by_square(truth, side).numpy().tolist() == expected.tolist()


def test_small_masks_are_left_out() -> None:
    truth = torch.zeros(2, 20, 20, dtype=torch.bool)
    truth[0, 9, 9], truth[1, 8:10, 9] = True, True
    found = WeightingGame(smallest=81).measure(asked(truth, (2, 20, 20)), torch.ones(2, 20, 20))
    assert found.values.isnan().tolist() == [True, False]
    assert (found.notes or {})["undefined"] == ["mask too small", None]
    assert values(WeightingGame(smallest=80), torch.ones(2, 20, 20), truth) == pytest.approx([0.2025, 0.225])


def test_ties_share_the_last_places() -> None:
    row = torch.tensor([[5.0, 2, 2, 2, 1], [0, 0, 0, 0, 0], [3, 1, 2, 0, 4]])
    counts = torch.tensor([2, 3, 5])
    third = 1 / 3
    expected = torch.tensor([[1, third, third, third, 0], [0.6] * 5, [1] * 5], dtype=torch.float64)
    assert torch.allclose(highest(row.double(), counts), expected)
    planted = torch.zeros(3, 5).scatter(1, row.argsort(dim=1, descending=True, stable=True)[:, :2], 1.0)
    assert not torch.allclose(planted[0].double(), expected[0])  # sorting takes the first of the tied


@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_maps_without_numbers_are_left_out(metric: Metric) -> None:
    maps, truth = signed(*SHAPE), boxes(*SHAPE)
    whole = values(metric, maps, truth)
    maps[1, 2, 2], maps[2, 3, 3], maps[3, 0, 0] = float("nan"), float("inf"), -float("inf")
    found = metric.measure(asked(truth, SHAPE), maps)
    assert found.values.isnan().tolist() == [False, True, True, True, False]
    assert (found.notes or {})["undefined"] == [None, *["not finite"] * 3, None]
    assert [float(found.values[i]) for i in (0, 4)] == [whole[i] for i in (0, 4)]
    json.dumps(found.notes)


@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_a_batch_equals_its_singles(metric: Metric) -> None:
    maps, truth = signed(*SHAPE), boxes(*SHAPE)
    singles = [values(metric, maps[i : i + 1], truth[i : i + 1])[0] for i in range(len(maps))]
    assert values(metric, maps, truth) == singles
    low, high = metric.bounds
    assert all(low <= v <= high for v in singles)


@pytest.mark.parametrize(
    ("make", "wrong", "words"),
    [
        (WeightingGame, {"side": 4}, "odd number"),
        (WeightingGame, {"smallest": -1}, "0 for none"),
        (WeightingGame, {"floor": "cellar"}, "zero or minimum"),
        (IoU, {"rule": "otsu"}, "maximum, mean or area"),
        (IoU, {"level": 1.5}, "0 to 1 of the maximum"),
        (IoU, {"rule": "mean", "level": float("nan")}, "times the mean"),
        (RelevanceMass, {"pooling": "max"}, "absolute, positive or squared"),
        (RelevanceRank, {"pooling": "max"}, "absolute, positive or squared"),
    ],
)
def test_wrong_parameters_are_refused(make: type[Metric], wrong: dict[str, Any], words: str) -> None:
    made = object.__new__(make)  # as users make it, whose words nothing checks beforehand
    for name, value in {**make().parameters(), **wrong}.items():
        object.__setattr__(made, name, value)
    with pytest.raises(BadInput, match=words):
        made.__post_init__()  # type: ignore[attr-defined]


@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_the_wrong_truth_is_refused(metric: Metric) -> None:
    with pytest.raises(BadInput, match=r"no truth was given.*truth=masks"):
        values(metric, signed(*SHAPE), None)  # type: ignore[arg-type]
    with pytest.raises(
        BadInput, match=r"of float32.*place of the evidence: give boolean masks \(5, 12, 17\)"
    ):
        values(metric, signed(*SHAPE), torch.rand(SHAPE))
