"""The reliability of a metric: against a plain loop, extremes, published counts, and planted bugs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import seewhy
from seewhy.errors import BadInput, UnknownName
from seewhy.metrics.meta import metric_reliability, outcomes
from seewhy.metrics.meta import reliability as module
from seewhy.metrics.meta.reliability import Reliability, weighted_agreement
from seewhy.metrics.table import Row, Table


def table_of(values: np.ndarray, methods: list[str], *, higher: bool = True, metric: str = "m") -> Table:
    """Return a table of `(samples, methods)` values; `random`, `centre` and `edges` are baselines."""
    rows = tuple(
        Row(f"photo {i}", name, metric, float(v), name in ("random", "centre", "edges"))
        for i, line in enumerate(values)
        for name, v in zip(methods, line, strict=True)
    )
    return Table(rows, {metric: higher})


def one(values: np.ndarray, methods: list[str], *, higher: bool = True) -> Reliability:
    return metric_reliability(table_of(values, methods, higher=higher))[0]


def plain_loop(values: np.ndarray, *, higher: bool = True) -> float:
    """Return the published alpha pair by pair; column 0 is the random map."""
    good = values if higher else -values
    m = values.shape[1]
    weights = [((row > row[0]).sum() + 0.5 * ((row == row[0]).sum() - 1)) / (m - 1) for row in good]
    above = below = 0.0
    for i in range(len(good)):
        for j in range(i + 1, len(good)):
            rho = stats.spearmanr(values[i], values[j]).statistic
            above += weights[i] * weights[j] * (rho + 1)
            below += weights[i] * weights[j]
    return above / (below + 1e-10) - 1


METHODS = ["random", "a", "b", "c", "d"]


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_alpha_equals_the_plain_loop(seed: int, higher: bool) -> None:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(12, 5)) + np.arange(5) * (0.8 if higher else -0.8)
    values = values if seed % 2 else values.round(0)  # odd seeds without ties
    if seed % 2 == 0:
        values = values[[len(set(row)) > 1 for row in values]]
    found = one(values, METHODS, higher=higher)
    assert found.alpha is not None
    assert found.alpha.value == pytest.approx(plain_loop(values, higher=higher), abs=1e-9)
    rho = [
        stats.spearmanr(values[i], values[j]).statistic
        for i in range(len(values))
        for j in range(i + 1, len(values))
    ]
    assert found.agreement.value == pytest.approx(float(np.mean(rho)), abs=1e-12)


def test_a_perfect_metric() -> None:
    found = one(np.tile(np.arange(5.0), (20, 1)), METHODS)
    assert found.alpha is not None
    assert (found.alpha.value, found.alpha.low, found.alpha.high) == pytest.approx((1, 1, 1))
    assert found.krippendorff == pytest.approx(1)
    assert found.repeatable == pytest.approx(1)
    assert found.random_place is not None
    assert (found.random_place.value, found.random_last) == (5, 1)
    assert found.above_random == ("a", "b", "c", "d")
    assert found.places == {"random": (5, 5), "a": (4, 4), "b": (3, 3), "c": (2, 2), "d": (1, 1)}
    assert found.verdict == "tells methods apart"


def test_a_metric_that_prefers_noise() -> None:
    """All samples agree, so agreement alone would praise it: the random map is always first."""
    found = one(np.tile([9.0, 1, 2, 3, 4], (20, 1)), METHODS)
    assert found.alpha is not None
    assert found.alpha.value == -1
    assert found.agreement.value == pytest.approx(1)
    assert (found.random_place, found.random_last) == (pytest.approx(found.random_place), 0)
    assert found.below_random == ("a", "b", "c", "d")
    assert found.verdict == "prefers noise"
    assert "Worse than the random map: a, b, c, d." in str(found)


def test_a_metric_that_throws_dice() -> None:
    found = one(np.random.default_rng(1).normal(size=(200, 5)), METHODS)
    assert abs(found.agreement.value) < 0.03
    assert found.agreement.low < 0 < found.agreement.high
    assert abs(found.krippendorff) < 0.03
    assert found.order.p > 0.05
    assert found.verdict == "tells nothing apart"
    assert all(best == 1 and worst == 5 for best, worst in found.places.values())


def test_counts_of_the_published_curves() -> None:
    """Of the authors' 910 clips, insertion places random below Grad-CAM on 905, deletion on 299.

    Counted from the curves published with Li et al. 2021 (R(2+1)D on UCF101-24, 16 x 16 blocks). Two maps
    leave alpha at 1 for both metrics: its weights hide the 611 clips that prefer noise, the place of the
    random map does not.
    """
    for last, verdict in ((905, "tells methods from noise"), (299, "prefers noise")):
        values = np.array([[0.0, 1.0]] * last + [[1.0, 0.0]] * (910 - last))
        found = one(values, ["random", "grad_cam"])
        assert found.alpha is not None
        assert found.alpha.value == pytest.approx(1)
        assert found.random_last == pytest.approx(last / 910)
        assert found.random_place is not None
        assert found.random_place.value == pytest.approx(1 + last / 910)
        assert found.verdict == verdict


def test_a_sample_is_no_witness_for_itself() -> None:
    """In a resample a sample drawn twice agrees wholly with itself; counting that would be a bug."""
    generator = np.random.default_rng(3)
    values = generator.normal(size=(8, 5))
    found = one(values, METHODS)
    assert found.agreement.low < found.agreement.value < found.agreement.high

    def with_itself(z: Tensor, weights: Tensor) -> Tensor:
        """The planted bug: pairs within one sample's copies count."""
        products = (weights @ z).square().sum(1) - weights.sum(1)
        return products / (weights.sum(1).square() - weights.sum(1))

    places = torch.tensor(values).argsort(1).argsort(1).double()
    z = places - places.mean(1, keepdim=True)
    z = z / z.norm(dim=1, keepdim=True)
    counts = torch.cat(list(module._resamples(8, 0)))
    right, wrong = weighted_agreement(z, counts).mean(), with_itself(z, counts).mean()
    assert abs(float(right) - found.agreement.value) < 0.02
    assert float(wrong) > found.agreement.value + 0.08


def test_samples_that_tie_and_lack_values_are_told() -> None:
    values = np.array([[0.0, 1, 2, 3, 4]] * 6 + [[7.0] * 5] + [[0, 1, 2, math.nan, 4]])
    found = one(values, METHODS)
    assert (found.samples, found.tied, found.left_out) == (7, 1, 1)
    assert found.agreement.value == pytest.approx(1)


def test_a_method_without_values_does_not_take_the_samples_along() -> None:
    values = np.column_stack([np.tile(np.arange(4.0), (6, 1)), [math.nan] * 5 + [1.0]])
    found = one(values, METHODS)
    assert found.dropped == ("d",)
    assert (found.samples, found.left_out, found.methods) == (6, 0, ("random", "a", "b", "c"))


def test_infinite_values_are_no_values() -> None:
    values = np.tile(np.arange(5.0), (6, 1))
    values[0, 2] = math.inf
    assert one(values, METHODS).left_out == 1


def test_only_the_random_map_of_the_baselines_is_a_judge_of_metrics() -> None:
    values = np.tile(np.arange(5.0), (6, 1))
    table = table_of(values, ["random", "centre", "edges", "a", "b"])
    assert metric_reliability(table)[0].methods == ("random", "a", "b")
    assert outcomes(table, "m", others=True).methods == ("random", "centre", "edges", "a", "b")


def test_better_than_noise_is_not_yet_an_order() -> None:
    """Four methods above the random map everywhere, and drawn among themselves."""
    values = np.random.default_rng(0).normal(size=(40, 5))
    values[:, 0] -= 20
    found = one(values, METHODS)
    assert found.above_random == ("a", "b", "c", "d")
    assert found.verdict == "tells methods from noise"
    values[:, 1:] += [0, 2, 4, 6]
    assert one(values, METHODS).verdict == "tells methods apart"


def test_without_a_random_map() -> None:
    found = one(np.tile(np.arange(3.0), (10, 1)), ["a", "b", "c"])
    assert (found.alpha, found.random_place, found.random_last) == (None, None, None)
    assert found.verdict == "tells methods apart"


def test_repeatability_predicts_the_order_of_other_samples() -> None:
    """Split-half: the mean orders of two disjoint sets correlate as Spearman and Brown say, on average."""
    generator = np.random.default_rng(1)
    truth = np.linspace(0, 1, 8)
    predicted, seen = [], []
    for _ in range(60):
        first, second = (generator.normal(size=(12, 8)) + 1.2 * truth for _ in range(2))
        predicted.append(one(first, list("abcdefgh")).repeatable)
        means = [np.apply_along_axis(stats.rankdata, 1, half).mean(0) for half in (first, second)]
        seen.append(np.corrcoef(*means)[0, 1])
    assert np.mean(predicted) == pytest.approx(np.mean(seen), abs=0.06)


def test_ten_thousand_samples_need_no_square() -> None:
    values = np.random.default_rng(0).normal(size=(10_000, 4)) + np.arange(4)
    found = one(values, ["random", "a", "b", "c"])
    assert found.verdict == "tells methods apart"
    assert found.agreement.high - found.agreement.low < 0.02


def test_what_cannot_be_compared() -> None:
    values = np.tile(np.arange(2.0), (3, 1))
    with pytest.raises(UnknownName, match="insertoin"):
        metric_reliability(table_of(values, ["random", "a"]), "insertoin")
    with pytest.raises(BadInput, match="1 samples"):
        one(values[:1], ["random", "a"])
    with pytest.raises(BadInput, match="1 methods"):
        one(values[:, :1], ["a"])


def test_where_users_find_it() -> None:
    table = table_of(np.tile(np.arange(2.0), (3, 1)), ["random", "a"])
    assert seewhy.metrics.metric_reliability(table)[0].metric == "m"


def test_too_few_samples_are_told() -> None:
    """Seven samples that agree wholly cannot tell one of ten pairs apart; nine can."""
    few, enough = (one(np.tile(np.arange(5.0), (n, 1)), METHODS) for n in (7, 9))
    assert few.verdict == "tells nothing apart"
    assert few.shortage == "To tell any of 10 pairs apart takes 9 samples at least."
    assert few.shortage in str(few)
    assert (enough.verdict, enough.shortage) == ("tells methods apart", "")


def test_a_printed_table_says_what_its_metrics_are_worth() -> None:
    good, dice = np.tile(np.arange(5.0), (20, 1)), np.random.default_rng(1).normal(size=(20, 5))
    rows = [row for v, m in ((good, "m"), (dice, "k")) for row in table_of(v, METHODS, metric=m)]
    table = Table(tuple(rows), {"m": True, "k": True})
    assert str(table).splitlines()[-2:] == [
        "m tells methods apart on these 20 samples.",
        "k tells nothing apart on these 20 samples.",
    ]
    assert "k tells nothing apart" in table._repr_html_()
    assert "apart" not in str(table_of(good[:1], METHODS))
    assert "apart" not in str(table_of(good[:, :1], METHODS[:1]))
