"""Pointing games: analytic extremes, ties, tolerance, and a plain loop over every pixel."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import networks
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.methods.masking.occlusion import Occlusion
from seewhy.metrics.baselines import centre_map, random_map
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.localisation.energy_pointing_game import EnergyPointingGame
from seewhy.metrics.localisation.pointing_game import PointingGame, grown
from seewhy.models.model import Model
from seewhy.question import Question, ask

GAMES = [PointingGame(0), PointingGame(3), EnergyPointingGame()]


def asked(truth: Tensor | None, shape: tuple[int, ...]) -> Question:
    network = networks.cnn() if len(shape) == 3 else networks.cnn3d()
    question = ask(Model(network), torch.zeros(shape[0], 3, *shape[1:]), 0, Execution(), "probability")
    return replace(question, truth=truth)


def values(game: PointingGame | EnergyPointingGame, maps: Tensor, truth: Tensor) -> list[float]:
    found: list[float] = game.measure(asked(truth, tuple(maps.shape)), maps).values.tolist()
    return found


def masks(*shape: int, seed: int = 0) -> Tensor:
    """Random boxes, none empty, none the whole picture."""
    generator = torch.Generator().manual_seed(seed)
    out = torch.zeros(shape, dtype=torch.bool)
    for mask in out:
        region = tuple(
            slice(a := int(torch.randint(s - 3, (1,), generator=generator)), a + 3) for s in shape[1:]
        )
        mask[region] = True
    return out


def plain_pointing(heat: Tensor, mask: Tensor, tolerance: float) -> float:
    """One frame, pixel by pixel, in float64."""
    h, w = heat.shape
    best = [(y, x) for y in range(h) for x in range(w) if heat[y, x] == heat.max()]
    on = [(y, x) for y in range(h) for x in range(w) if mask[y, x]]
    hits = [any((y, x) == (v, u) or math.hypot(y - v, x - u) < tolerance for v, u in on) for y, x in best]
    return sum(hits) / len(best)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("shape", [(4, 12, 17), (4, 5, 12, 17)])
def test_extremes(game: PointingGame | EnergyPointingGame, shape: tuple[int, ...]) -> None:
    truth = masks(*shape)
    assert values(game, truth.float(), truth) == [1] * 4
    away = ~grown(truth, 3)
    assert values(game, away.float(), truth) == [0] * 4
    for level in (0.0, 1.0, 1e-30):
        constant = torch.full(shape, level)
        area = grown(truth, getattr(game, "tolerance", 0)).double().flatten(1).mean(1).tolist()
        assert values(game, constant, truth) == pytest.approx(area, abs=1e-6)


@pytest.mark.parametrize("game", [PointingGame(0), EnergyPointingGame()])
def test_random_maps_score_the_area(game: PointingGame | EnergyPointingGame) -> None:
    truth = masks(1, 12, 17).expand(2000, -1, -1)
    pixels = torch.zeros(1, 3, 12, 17, dtype=torch.uint8)
    drawn = torch.cat([random_map(pixels, seed) for seed in range(2000)])
    mean = sum(values(game, drawn, truth)) / 2000
    assert mean == pytest.approx(float(truth.double().mean()), abs=0.015)


def test_the_centre_gaussian_hits_the_middle_alone() -> None:
    pixels = torch.zeros(2, 3, 20, 20, dtype=torch.uint8)
    truth = torch.zeros(2, 20, 20, dtype=torch.bool)
    truth[0, 8:12, 8:12] = truth[1, 12:16, 12:16] = True
    assert values(PointingGame(0), centre_map(pixels, 0), truth) == [1, 0]
    energy = values(EnergyPointingGame(), centre_map(pixels, 0), truth)
    assert energy[0] > energy[1] > 0


@pytest.mark.parametrize("tolerance", [0, 0.5, 1, 1.5, 3, 4.3, 15, 1e6])
def test_pointing_equals_a_loop_over_pixels(tolerance: float) -> None:
    truth = masks(20, 11, 14)
    maps = torch.randint(-6, 6, (20, 11, 14), generator=torch.Generator().manual_seed(1)).float()
    expected = [plain_pointing(m, t, tolerance) for m, t in zip(maps, truth, strict=True)]
    assert values(PointingGame(tolerance), maps, truth) == pytest.approx(expected, abs=1e-6)
    assert 0 < sum(expected) < 20 or tolerance >= 15


def test_the_loop_would_see_a_hit_at_the_very_tolerance() -> None:
    """The distance must be below the tolerance: a planted `<=` differs."""
    truth = torch.zeros(1, 9, 9, dtype=torch.bool)
    truth[0, 4, 1] = True
    heat = torch.zeros(1, 9, 9)
    heat[0, 4, 4] = 1
    assert [values(PointingGame(t), heat, truth)[0] for t in (2.9, 3, 3.1)] == [0, 0, 1]
    planted = PointingGame(math.nextafter(3, 4))
    assert values(planted, heat, truth)[0] != plain_pointing(heat[0], truth[0], 3)


@pytest.mark.parametrize("game", GAMES)
def test_a_transposed_mask_would_be_seen(game: PointingGame | EnergyPointingGame) -> None:
    """The published energy game swaps rows and columns; a planted swap scores otherwise."""
    truth = torch.zeros(1, 12, 12, dtype=torch.bool)
    truth[0, 1:3, 7:11] = True
    assert values(game, truth.float(), truth) == [1]
    assert values(game, truth.float(), truth.transpose(1, 2)) == [0]


def test_energy_is_the_share_of_positive_values() -> None:
    maps = torch.randn(5, 9, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    truth = masks(5, 9, 8)
    positive = maps.float().double().clamp(min=0)
    expected = ((positive * truth).sum((1, 2)) / positive.sum((1, 2))).tolist()
    assert values(EnergyPointingGame(), maps.float(), truth) == pytest.approx(expected, abs=1e-6)
    for scale in (1e-36, 1e36):  # sums of such values leave the range of float32
        assert values(EnergyPointingGame(), maps.float() * scale, truth) == pytest.approx(expected, abs=1e-4)
    # A planted bug, magnitudes instead of positive values, is seen.
    assert values(EnergyPointingGame(), maps.float().abs(), truth) != pytest.approx(expected, abs=1e-2)


def test_maps_without_positive_values_and_without_numbers() -> None:
    truth = masks(3, 8, 8)
    maps = -torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    maps[1, 2, 2], maps[2, 3, 3] = float("nan"), float("inf")
    found = EnergyPointingGame().measure(asked(truth, (3, 8, 8)), maps)
    assert found.values[0] == pytest.approx(float(truth[0].double().mean()))
    assert found.values[1:].isnan().all()
    assert found.notes == {
        "nothing_positive": [True, False, False],
        "undefined": [None, "not finite", "not finite"],
    }
    pointed = PointingGame(0).measure(asked(truth, (3, 8, 8)), maps)
    assert pointed.values.isnan().tolist() == [False, True, True]
    assert pointed.notes == {"tied": [1, None, None], "undefined": [None, "not finite", "not finite"]}


@pytest.mark.parametrize("game", GAMES)
def test_a_batch_equals_its_singles(game: PointingGame | EnergyPointingGame) -> None:
    truth, maps = masks(6, 10, 13), torch.randn(6, 10, 13, generator=torch.Generator().manual_seed(3))
    singles = [values(game, maps[i : i + 1], truth[i : i + 1])[0] for i in range(6)]
    assert values(game, maps, truth) == singles


def test_evaluate_takes_the_truth() -> None:
    model, x = Model(networks.cnn().eval()), networks.batch((3, 16, 16), n=3)
    result, truth = Occlusion(window=4)(model, x, 1), masks(3, 16, 16)
    table = evaluate(model, x, result, ["pointing_game", EnergyPointingGame()], truth=truth)
    found = [r.value for r in table if (r.method, r.metric) == ("occlusion", "energy_pointing_game")]
    assert found == values(EnergyPointingGame(), result.values, truth)
    assert {r.method for r in table if r.baseline} == {"random", "centre", "edges"}
    assert table.higher_is_better == {"pointing_game": True, "energy_pointing_game": True}


def test_what_is_wrong_with_a_truth_is_said() -> None:
    model, x = Model(networks.cnn().eval()), networks.batch((3, 16, 16), n=2)
    result, truth = Occlusion(window=4)(model, x, 1), masks(2, 16, 16)
    with pytest.raises(BadInput, match=r"no truth was given.*truth=masks"):
        evaluate(model, x, result, "pointing_game")
    with pytest.raises(BadInput, match=r"\(2, 8, 8\) of bool.*\(2, 16, 16\)"):
        evaluate(model, x, result, "pointing_game", truth=truth[:, :8, :8])
    with pytest.raises(BadInput, match="of float32"):
        evaluate(model, x, result, "pointing_game", truth=truth.float())
    truth[1] = False
    with pytest.raises(BadInput, match="sample 1 is empty"):
        evaluate(model, x, result, "pointing_game", truth=truth)
    for game in GAMES:
        with pytest.raises(BadInput, match="no truth was given"):
            game.measure(asked(None, (2, 16, 16)), result.values)
        with pytest.raises(BadInput, match="A mask is empty"):
            game.measure(asked(truth, (2, 16, 16)), result.values)
        with pytest.raises(BadInput, match=r"masks have the shape \(2, 16, 16\)"):
            game.measure(asked(truth, (2, 16, 16)), result.values[:, :8])
    for tolerance in (-1, float("nan"), float("inf")):
        with pytest.raises(BadInput, match="Give a number of pixels"):
            PointingGame(tolerance)
