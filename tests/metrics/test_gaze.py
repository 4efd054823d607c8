"""Gaze metrics: analytic extremes, and the formulas step by step in numpy."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

import networks
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.methods.masking.occlusion import Occlusion
from seewhy.metrics.base import Metric
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.gaze.auc_judd import AUCJudd, area
from seewhy.metrics.gaze.correlation import Correlation
from seewhy.metrics.gaze.kl_divergence import EPSILON, KLDivergence
from seewhy.metrics.gaze.nss import NSS
from seewhy.metrics.gaze.similarity import Similarity
from seewhy.models.model import Model
from seewhy.question import Question, ask

Array = NDArray[np.float64]
AT_POINTS: list[Metric] = [NSS(), AUCJudd()]
OF_DENSITIES: list[Metric] = [Correlation(), Similarity(), KLDivergence()]
SHAPE = (4, 12, 17)


def asked(truth: Tensor | None, shape: tuple[int, ...]) -> Question:
    network = networks.cnn() if len(shape) == 3 else networks.cnn3d()
    question = ask(Model(network), torch.zeros(shape[0], 3, *shape[1:]), 0, Execution(), "probability")
    return replace(question, truth=truth)


def values(metric: Metric, maps: Tensor, truth: Tensor | None) -> list[float]:
    found: list[float] = metric.measure(asked(truth, tuple(maps.shape)), maps).values.tolist()
    return found


def fixations(*shape: int) -> Tensor:
    """Seven or so fixated pixels a sample."""
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(5))
    return drawn > drawn.flatten(1).quantile(0.965, dim=1).reshape(-1, *[1] * (len(shape) - 1))


def densities(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(6)) ** 4


def signed(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def truths(metric: Metric, *shape: int) -> Tensor:
    return fixations(*shape) if "fixations" in metric.needs else densities(*shape)


def judd(heat: Array, fixated: NDArray[np.bool_], seed: int | None = None) -> float:
    """The definition, threshold by threshold, with noise that only breaks ties."""
    noise = np.random.default_rng(seed).random(heat.shape) if seed is not None else np.zeros(heat.shape)
    order = stats.rankdata(heat, "dense").reshape(heat.shape) + noise / 2
    thresholds = np.sort(order[fixated])[::-1]
    count, others = len(thresholds), order.size - fixated.sum()
    hits, alarms = [0.0], [0.0]
    for i, threshold in enumerate(thresholds, 1):
        hits.append(i / count)
        alarms.append(((order >= threshold).sum() - i) / others)
    return float(np.trapezoid([*hits, 1], [*alarms, 1]))


def plain(metric: Metric, heat: Array, truth: NDArray[np.float64]) -> float:
    if isinstance(metric, NSS):
        return float(((heat - heat.mean()) / heat.std(ddof=1))[truth > 0].mean())
    if isinstance(metric, AUCJudd):
        return judd(heat, truth > 0)
    if isinstance(metric, Correlation):
        return float(np.corrcoef(heat.ravel(), truth.ravel())[0, 1])
    if isinstance(metric, Similarity):
        pair = [(v - v.min()) / (v.max() - v.min()) for v in (heat, truth)]
        return float(np.minimum(*(v / v.sum() for v in pair)).sum())
    s, q = (np.maximum(v, 0) / np.maximum(v, 0).sum() for v in (heat, truth))
    return float((q * np.log(2.2204e-16 + q / (s + 2.2204e-16))).sum())


@pytest.mark.parametrize("metric", [*AT_POINTS, *OF_DENSITIES], ids=str)
@pytest.mark.parametrize("shape", [SHAPE, (2, 4, 12, 17)])
def test_the_formula(metric: Metric, shape: tuple[int, ...]) -> None:
    maps, truth = signed(*shape), truths(metric, *shape)
    expected = [
        plain(metric, m.double().numpy(), t.double().numpy()) for m, t in zip(maps, truth, strict=True)
    ]
    assert values(metric, maps, truth) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for scale in (1e-30, 1e30):
        assert values(metric, maps * scale, truth) == pytest.approx(expected, rel=1e-5, abs=1e-6)
    # A planted bug, rows upside down, is seen.
    assert values(metric, maps.flip(-2), truth) != pytest.approx(expected, rel=1e-2)


def test_planted_variants_would_be_seen() -> None:
    """Near misses of the conventions: deviation with n, hits from 0, no scaling by the minimum, S from Q."""
    heat, fixated = signed(1, 4, 5), fixations(1, 4, 5)
    planted = float(((heat - heat.mean()) / heat.std(correction=0))[fixated].mean())
    assert values(NSS(), heat, fixated)[0] != pytest.approx(planted, rel=1e-3)
    order = heat.flatten().sort(descending=True).values
    count, alarms = int(fixated.sum()), []
    for i, v in enumerate(heat[fixated].sort(descending=True).values):
        alarms.append((int((order >= v).sum()) - i) / (20 - count))
    planted = float(np.trapezoid([0, *(np.arange(count) / count), 1], [0, *alarms, 1]))
    assert values(AUCJudd(), heat, fixated)[0] != pytest.approx(planted, rel=1e-3)
    q, s = densities(1, 4, 5) + 0.1, heat.abs() + 0.2
    unscaled = float(torch.minimum(q / q.sum(), s / s.sum()).sum())
    assert values(Similarity(), s, q)[0] != pytest.approx(unscaled, rel=1e-3)
    assert values(KLDivergence(), s, q)[0] != pytest.approx(values(KLDivergence(), q, s)[0], rel=1e-3)


def test_perfect_and_reversed_maps() -> None:
    looked, often = fixations(*SHAPE), densities(*SHAPE)
    count = looked.flatten(1).sum(1).double()
    share = count / (12 * 17)
    # A map of ones at the fixations: mean p, variance p (1 - p) P / (P - 1).
    height = (1 - share) / (share * (1 - share) * 204 / 203).sqrt()
    assert values(NSS(), looked.float(), looked) == pytest.approx(height.tolist(), rel=1e-5)
    away = (share - 1) / (share * (1 - share) * 204 / 203).sqrt()
    assert values(NSS(), -looked.float(), looked) == pytest.approx(away.tolist(), rel=1e-5)
    assert values(AUCJudd(), looked.float(), looked) == [1] * 4
    assert values(AUCJudd(), -looked.float(), looked) == pytest.approx((1 / (2 * count)).tolist())
    assert values(Correlation(), 3 * often - 1, often) == pytest.approx([1] * 4)
    assert values(Correlation(), -often, often) == pytest.approx([-1] * 4)
    assert values(Similarity(), 3 * often - 1, often) == pytest.approx([1] * 4, abs=1e-5)
    assert values(KLDivergence(), 3 * often, often) == pytest.approx([0] * 4, abs=1e-6)
    half = torch.zeros(1, 4, 6)
    half[..., :3] = 1
    assert values(Similarity(), 1 - half, half) == [0]
    assert values(KLDivergence(), 1 - half, half) == pytest.approx([math.log(1 / 12 / EPSILON)], rel=1e-6)
    assert values(KLDivergence(), torch.ones(1, 4, 6), half) == pytest.approx([math.log(2)])


@pytest.mark.parametrize("level", [0.0, 0.3, -2.0, 1e30])
def test_constant_maps(level: float) -> None:
    maps, looked, often = torch.full(SHAPE, level), fixations(*SHAPE), densities(*SHAPE)
    count = looked.flatten(1).sum(1).double()
    assert values(AUCJudd(), maps, looked) == pytest.approx((0.5 + 1 / (2 * (count + 1))).tolist())
    q = often.double().flatten(1)
    q = q / q.sum(1, keepdim=True)
    from_uniform = (math.log(204) + torch.special.xlogy(q, q).sum(1)).tolist()
    found = KLDivergence().measure(asked(often, SHAPE), maps)
    assert found.values.tolist() == pytest.approx(from_uniform, rel=1e-5)
    assert (found.notes or {})["nothing_positive"] == [level <= 0] * 4
    for metric in (NSS(), Correlation(), Similarity()):
        undefined = metric.measure(asked(truths(metric, *SHAPE), SHAPE), maps)
        assert undefined.values.isnan().all()
        assert (undefined.notes or {})["undefined"] == ["constant"] * 4


def test_random_maps_are_at_chance() -> None:
    looked = fixations(1, 12, 17).expand(2000, -1, -1)
    maps = torch.rand(2000, 12, 17, generator=torch.Generator().manual_seed(8))
    count = int(looked[0].sum())
    means = [sum(values(metric, maps, looked)) / 2000 for metric in (NSS(), AUCJudd())]
    assert means[0] == pytest.approx(0, abs=0.03)
    assert means[1] == pytest.approx(0.5 + 1 / (2 * (count + 1)), abs=0.01)
    often = densities(1, 12, 17).expand(2000, -1, -1)
    assert sum(values(Correlation(), maps, often)) / 2000 == pytest.approx(0, abs=0.01)


def test_ties_are_the_mean_over_all_ways_to_break_them() -> None:
    """Every order of tied pixels, one by one."""
    heat = np.array([2.0, 1, 1, 1, 1, 0, 0, 0])
    for on in itertools.combinations(range(8), 3):
        fixated = np.isin(np.arange(8), on)
        scores = [
            judd(heat * 10 + np.array([0, *one, *other]), fixated)
            for one in itertools.permutations(range(4))
            for other in itertools.permutations(range(3))
        ]
        tensors = torch.from_numpy(heat[fixated]), torch.from_numpy(heat[~fixated])
        assert area(*tensors) == pytest.approx(float(np.mean(scores)), abs=1e-12)
    noisy = [judd(heat, fixated, seed) for seed in range(3000)]
    assert area(*tensors) == pytest.approx(float(np.mean(noisy)), abs=0.01)


@pytest.mark.parametrize("metric", [*AT_POINTS, *OF_DENSITIES], ids=str)
def test_maps_without_numbers_are_left_out(metric: Metric) -> None:
    maps, truth = signed(5, 12, 17), truths(metric, 5, 12, 17)
    whole = values(metric, maps, truth)
    maps[1, 2, 2], maps[2, 3, 3], maps[3, 0, 0] = float("nan"), float("inf"), -float("inf")
    found = metric.measure(asked(truth, (5, 12, 17)), maps)
    assert found.values.isnan().tolist() == [False, True, True, True, False]
    assert (found.notes or {})["undefined"] == [None, *["not finite"] * 3, None]
    assert [float(found.values[i]) for i in (0, 4)] == [whole[i] for i in (0, 4)]
    json.dumps(found.notes)


def test_truths_that_define_nothing() -> None:
    maps, everywhere = signed(1, 12, 17), torch.ones(1, 12, 17, dtype=torch.bool)
    found = AUCJudd().measure(asked(everywhere, (1, 12, 17)), maps)
    assert found.values.isnan().all()
    assert found.notes == {"undefined": ["every pixel is fixated"]}
    assert values(NSS(), maps, everywhere) == pytest.approx([0], abs=1e-6)
    for metric in (Correlation(), Similarity()):
        found = metric.measure(asked(everywhere.float(), (1, 12, 17)), maps)
        assert found.values.isnan().all()
        assert found.notes == {"undefined": ["constant density"]}


@pytest.mark.parametrize("metric", [*AT_POINTS, *OF_DENSITIES], ids=str)
def test_a_batch_equals_its_singles(metric: Metric) -> None:
    maps, truth = signed(*SHAPE), truths(metric, *SHAPE)
    singles = [values(metric, maps[i : i + 1], truth[i : i + 1])[0] for i in range(len(maps))]
    assert values(metric, maps, truth) == singles
    low, high = metric.bounds
    assert all(low <= v <= high for v in singles)


def test_evaluate_takes_either_kind_of_gaze() -> None:
    model, x = Model(networks.cnn().eval()), networks.batch((3, 16, 16), n=3)
    result = Occlusion(window=4)(model, x, 1)
    for names, truth in (
        (["nss", "auc_judd"], fixations(3, 16, 16)),
        (["correlation", "similarity", "kl_divergence"], densities(3, 16, 16).double()),
    ):
        table = evaluate(model, x, result, names, truth=truth)
        assert list(table.higher_is_better.values()) == [name != "kl_divergence" for name in names]
        assert len(table) == 3 * 4 * len(names)
        assert not any(math.isnan(row.value) for row in table)


@pytest.mark.parametrize("metric", [*AT_POINTS, *OF_DENSITIES], ids=str)
def test_the_wrong_truth_is_refused(metric: Metric) -> None:
    model, x = Model(networks.cnn().eval()), networks.batch((3, 16, 16), n=2)
    result, right = Occlusion(window=4)(model, x, 1), truths(metric, 2, 16, 16)
    points = metric in AT_POINTS
    wrong = right.float() if points else right > 0.5
    kind = "boolean fixations" if points else "floating-point fixation densities"
    with pytest.raises(BadInput, match=rf"of {'float32' if points else 'bool'}.*give {kind} \(2, 16, 16\)"):
        evaluate(model, x, result, metric, truth=wrong)
    with pytest.raises(
        BadInput, match=r"no truth was given.*truth=" + ("fixations" if points else "densities")
    ):
        evaluate(model, x, result, metric)
    with pytest.raises(BadInput, match=r"Found a truth of shape \(2, 8, 16\)"):
        evaluate(model, x, result, metric, truth=right[:, :8])
    empty = right.clone()
    empty[1] = 0
    with pytest.raises(BadInput, match="of sample 1 is empty"):
        evaluate(model, x, result, metric, truth=empty)
    if not points:
        for bad in (-1.0, float("nan"), float("inf")):
            right[0, 3, 3] = bad
            with pytest.raises(BadInput, match="negative or not finite"):
                evaluate(model, x, result, metric, truth=right)
