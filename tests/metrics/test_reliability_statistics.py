"""Krippendorff's alpha, paired tests and Friedman's: against enumeration, published examples and SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from seewhy.metrics.meta import (
    Outcomes,
    comparisons,
    critical_difference,
    friedman,
    holm,
    krippendorff_alpha,
    paired,
    sign_flip,
    wilcoxon,
)
from seewhy.metrics.meta.friedman import range_quantile
from seewhy.metrics.meta.krippendorff import Level

NAN = math.nan
PUBLISHED = torch.tensor(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)
"""Four observers, twelve units: the example of Krippendorff 2011, with its answers below."""


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_own_example(level: Level, alpha: float) -> None:
    assert krippendorff_alpha(PUBLISHED, level) == pytest.approx(alpha, abs=5e-4)


def enumerated(ratings: np.ndarray, level: str) -> float:
    """Return alpha from the definition: every pair of numbers, one after the other."""
    units = [[v for v in column if not math.isnan(v)] for column in ratings.T]
    units = [u for u in units if len(u) > 1]
    pool = [v for u in units for v in u]
    count = {v: pool.count(v) for v in pool}

    def squared(a: float, b: float) -> float:
        if level == "nominal":
            return float(a != b)
        if level == "interval":
            return (a - b) ** 2
        low, high = min(a, b), max(a, b)
        between = sum(n for v, n in count.items() if low <= v <= high)
        return (between - (count[a] + count[b]) / 2) ** 2

    n = len(pool)
    observed = sum(sum(squared(a, b) for a, b in itertools.permutations(u, 2)) / (len(u) - 1) for u in units)
    expected = sum(squared(a, b) for a, b in itertools.permutations(pool, 2)) / (n - 1)
    return 1 - observed / expected


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(3))
def test_krippendorff_by_enumeration(seed: int, level: Level) -> None:
    generator = np.random.default_rng(seed)
    ratings = generator.integers(0, 4, size=(5, 7)).astype(float)
    ratings[generator.random(ratings.shape) < 0.25] = NAN
    found = krippendorff_alpha(torch.tensor(ratings), level)
    assert found == pytest.approx(enumerated(ratings, level), abs=1e-12)


def test_krippendorff_without_an_answer() -> None:
    assert math.isnan(krippendorff_alpha(torch.full((3, 4), 2.0)))
    assert math.isnan(krippendorff_alpha(torch.tensor([[1.0, NAN], [NAN, 2.0]])))


def signs_of(d: np.ndarray) -> np.ndarray:
    return np.array(list(itertools.product([1, -1], repeat=len(d))))


@pytest.mark.parametrize("seed", range(5))
def test_wilcoxon_by_all_signs(seed: int) -> None:
    """With ties and zeros, where tables of the distribution do not hold."""
    d = np.random.default_rng(seed).integers(-3, 5, size=9).astype(float)
    kept = d[d != 0]
    order = stats.rankdata(abs(kept))
    sums = (signs_of(kept) > 0) @ order
    up, middle = order[kept > 0].sum(), order.sum() / 2
    p = np.mean(abs(sums - middle) >= abs(up - middle) - 1e-9)
    assert wilcoxon(torch.tensor(d)) == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize("n", [6, 30, 50])
def test_wilcoxon_as_scipy_exactly(n: int) -> None:
    d = np.random.default_rng(n).normal(0.3, 1, size=n)
    assert wilcoxon(torch.tensor(d)) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, rel=1e-9)


@pytest.mark.parametrize("rounded", [True, False])
def test_wilcoxon_as_scipy_for_many(rounded: bool) -> None:
    d = np.random.default_rng(0).normal(0.2, 1, size=200)
    d = d.round(1) if rounded else d
    expected = stats.wilcoxon(d, method="asymptotic", correction=False).pvalue
    assert wilcoxon(torch.tensor(d)) == pytest.approx(expected, rel=1e-9)


def test_the_exact_and_the_normal_distribution_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    d = torch.linspace(-1, 1.4, 50, dtype=torch.float64) + 1e-3
    exact = wilcoxon(d)
    monkeypatch.setattr(paired, "EXACT", 10)
    assert wilcoxon(d) == pytest.approx(exact, abs=0.003)
    assert wilcoxon(d) != exact


@pytest.mark.parametrize("n", [3, 11, 16])
def test_sign_flips_as_scipy(n: int) -> None:
    d = np.random.default_rng(n).normal(0.5, 1, size=n)
    expected = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip(torch.tensor(d)) == pytest.approx(expected, abs=1e-12)


def test_drawn_sign_flips_are_near_the_enumerated_ones() -> None:
    d = torch.from_numpy(np.random.default_rng(5).normal(0.35, 1, size=20))
    sums = np.abs(signs_of(d.numpy()) @ d.numpy())
    p = float(np.mean(sums >= abs(float(d.sum())) - 1e-12))
    assert sign_flip(d) == pytest.approx(p, abs=0.01)
    assert sign_flip(d) == sign_flip(d)
    assert sign_flip(torch.full((40,), 1.0)) == 1 / 20_001


def test_no_difference_is_no_difference() -> None:
    zeros = torch.zeros(5)
    assert (wilcoxon(zeros), sign_flip(zeros)) == (1, 1)


@pytest.mark.parametrize("test", [wilcoxon, sign_flip])
def test_a_true_null_is_rejected_as_rarely_as_promised(test: object) -> None:
    generator = np.random.default_rng(0)
    p = [test(torch.from_numpy(generator.normal(size=10))) for _ in range(2000)]  # type: ignore[operator]
    assert 0.03 < np.mean(np.array(p) <= 0.05) < 0.07
    # The planted bug: one tail alone.
    assert np.mean(np.array(p) / 2 <= 0.05) > 0.08


def test_holms_steps() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([]) == []


def outcome(values: np.ndarray, *, higher: bool = True) -> Outcomes:
    names = tuple("abcdefgh"[: values.shape[1]])
    samples = tuple(map(str, range(len(values))))
    return Outcomes("m", higher, names, frozenset(), samples, torch.tensor(values), 0, ())


@pytest.mark.parametrize("rounded", [True, False])
def test_friedman_as_scipy(rounded: bool) -> None:
    values = np.random.default_rng(2).normal(size=(25, 5)) + np.arange(5) * 0.3
    values = values.round(0) if rounded else values
    found, expected = friedman(outcome(values)), stats.friedmanchisquare(*values.T)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    ranked = np.apply_along_axis(stats.rankdata, 1, -values).mean(0)
    assert list(found.mean_places.values()) == pytest.approx(ranked.tolist())
    turned = friedman(outcome(-values, higher=False))
    assert turned == found


def test_friedman_of_ties_alone() -> None:
    found = friedman(outcome(np.ones((4, 3))))
    assert (found.statistic, found.p) == (0, 1)


@pytest.mark.parametrize("count", [2, 5, 20])
def test_the_range_of_normal_numbers_as_scipy(count: int) -> None:
    expected = stats.studentized_range.ppf(0.95, count, np.inf)
    assert range_quantile(count, 0.95) == pytest.approx(expected, rel=1e-5)


def test_critical_differences_of_the_published_example() -> None:
    """Demsar 2006: four classifiers, fourteen data sets, 1.25; two methods are a sign test's 1.96."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    assert critical_difference(2, 100) == pytest.approx(1.959964 * math.sqrt(6 / 600), rel=1e-5)


def test_bars_join_what_lies_together() -> None:
    found = friedman(outcome(np.tile([4.0, 3, 2, 1], (3, 1))))
    assert found.critical_difference > 2
    assert found.bars() == [("a", "b", "c"), ("b", "c", "d")]
    assert friedman(outcome(np.tile([4.0, 3, 2, 1], (90, 1)))).bars() == []


@pytest.mark.parametrize("higher", [True, False])
def test_every_pair_is_compared_and_adjusted(higher: bool) -> None:
    sign = 1 if higher else -1
    values = sign * (np.random.default_rng(0).normal(size=(30, 3)) * 0.5 + [0, 0, 1])
    found = comparisons(outcome(values, higher=higher))
    assert [{c.better, c.worse} for c in found] == [{"a", "b"}, {"a", "c"}, {"b", "c"}]
    assert [c.better for c in found][1:] == ["c", "c"]
    assert [c.told_apart for c in found] == [False, True, True]
    assert [c.adjusted for c in found] == holm([c.p for c in found])
    assert found[1].difference == pytest.approx(sign * (values[:, 2] - values[:, 0]).mean())
    assert [c.told_apart for c in comparisons(outcome(values, higher=higher), "sign_flip")] == [
        False,
        True,
        True,
    ]
