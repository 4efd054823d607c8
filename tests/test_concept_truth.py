"""The controlled experiment: its pictures, measures and page, without training anything."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from benchmarks.concept_truth import nets, study
from benchmarks.concept_truth.page import measures, page
from benchmarks.concept_truth.pictures import (
    CLASSES,
    CONTROLS,
    LETTERS,
    TAG,
    correlated,
    other,
    plain,
    tagged,
)

from seewhy.concepts.visual_result import GlobalRow
from seewhy.execution import Execution
from seewhy.models.model import Model


def test_twins_differ_in_the_tag_alone() -> None:
    bare = plain(5, 12, training=False)
    marked = tagged(bare, [LETTERS[i % 3] for i in range(12)], 5)
    changed = (bare.pixels != marked.pixels).any(-1)
    assert not (changed & ~marked.masks).any()
    assert (changed.sum((1, 2)) > 0.8 * marked.masks.sum((1, 2))).all()
    assert set(marked.masks.sum((1, 2)).tolist()) <= {s * s for s in range(*TAG)}
    again = tagged(plain(5, 12, training=False), [LETTERS[i % 3] for i in range(12)], 5)
    assert np.array_equal(again.pixels, marked.pixels)
    control = tagged(bare, [CONTROLS[0]] * 12, 5)
    assert np.array_equal(control.masks, marked.masks)  # another letter on the same plate
    letter = (control.pixels != marked.pixels).any(-1)
    assert 0 < letter.sum() < 0.7 * marked.masks.sum()


def test_the_first_pictures_do_not_depend_on_how_many() -> None:
    assert np.array_equal(other(3, 4).pixels, other(3, 9).pixels[:4])


def test_rates_are_kept() -> None:
    bare = plain(6, 300, training=True)
    for rate in (0.0, 0.5, 1.0):
        counts = correlated(bare, rate, 6).masks.sum((1, 2)) / np.mean([s * s for s in range(*TAG)])
        expected = rate + (1 - rate) / 3 + 2 / 3  # the tag of a class, and that of a control beside it
        assert counts.mean() == pytest.approx(expected, abs=0.12)
        assert (counts > 0).mean() == pytest.approx(1 - (1 - rate) * 2 / 9, abs=0.08)


def test_second_tags_keep_off_the_first() -> None:
    bare = plain(7, 40, training=True)
    one = tagged(bare, ["A"] * 40, 7)
    two = tagged(one, ["H"] * 40, 8)
    assert not ((one.pixels != two.pixels).any(-1) & one.masks).any()
    assert (two.masks.sum((1, 2)) > one.masks.sum((1, 2))).all()


def test_excess_over_controls_by_hand() -> None:
    row = GlobalRow(
        "tag", "9", "brick", 0, 0.5, 0.46, 0.54, 0.0, 0.5, 0.4, 0.6, 0.1, 1.0, 1.0, separable=True, images=9
    )
    excess, low, high = study.over_controls(row, [0.1, 0.2, 0.3])
    half = scipy.stats.t.ppf(0.975, 2) * math.sqrt(0.02**2 + 0.01 * 4 / 3)
    assert excess == pytest.approx(0.3)
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half))


def test_controls_that_are_like_the_tag_leave_nothing() -> None:
    """Of things drawn alike, one is outside the interval of the rest about 5 % of the time."""
    rng = np.random.default_rng(0)
    outside = 0
    for values in rng.normal(0.2, 0.05, (1000, 7)):
        v = float(values[0])
        row = GlobalRow(
            "tag", "9", "brick", 0, v, v, v, 0.0, v, v, v, 0.1, 1.0, 1.0, separable=True, images=9
        )
        _, low, high = study.over_controls(row, values[1:].tolist())
        outside += not low <= 0 <= high
    assert 30 <= outside <= 70


def test_measures_of_place() -> None:
    masks = np.zeros((2, 4, 4), bool)
    masks[:, :2, :2] = True
    maps = np.zeros((2, 4, 4))
    maps[0, 0, 0], maps[0, 3, 3] = 0.9, 0.3  # the second has no map: nothing found
    found = study.located(maps, masks)
    assert found["energy"] == pytest.approx(0.75 / 2)
    assert found["area"] == 0.25
    assert found["iou"] == pytest.approx(0.25 / 2)
    assert found["pointing"] == 0.5
    assert found["shown"] == 0.5


def test_rank_correlation_against_scipy() -> None:
    a, b = [0.1, 0.5, 0.5, 0.9, 0.2], [3.0, 1.0, 4.0, 4.0, 2.0]
    assert study.rank_correlation(a, b) == pytest.approx(float(scipy.stats.spearmanr(a, b).statistic))
    assert math.isnan(study.rank_correlation(a, [1.0] * 5))


def test_untrained_networks_make_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "EXAMPLES", 9)
    monkeypatch.setattr(study, "RANDOM", 20)
    monkeypatch.setattr(study, "TWINS", 2)
    findings = []
    for i, rate in enumerate(nets.RATES[:2]):
        torch.manual_seed(i)
        net = nets.network().eval()
        model = Model(net, preprocess=nets.LOOK, labels=CLASSES, name=f"rate {rate:g}", kind="classes")
        found, result = study.examined(model, rate, 15, 3, Execution())
        assert set(found) == set(nets.LAYERS)
        assert len(result) == 15
        findings.append(found)
        for f in found.values():
            assert all(low <= v <= high for v, low, high in zip(f.drop, f.drop_low, f.drop_high, strict=True))
            assert len(f.values["fall"]) == 15
    third = [f["9"] for f in findings]
    assert measures(third)["visual energy"] == pytest.approx(third[1].energy / third[1].area)
    text = page([findings], "the command", 60, "processor")
    assert "### At the third convolution" in text
    assert text.count(f"\n| {nets.RATES[1]:g} |") == 2
    assert text.count(f"| {nets.RATES[1]:g} | ") == 4
