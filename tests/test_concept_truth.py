"""The controlled experiment: its pictures, measures and page, without training anything."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from benchmarks.concept_truth import nets, study
from benchmarks.concept_truth.page import measures, page
from benchmarks.concept_truth.pictures import CLASSES, correlated, other, plain, tagged

from seewhy.execution import Execution
from seewhy.models.model import Model


def test_twins_differ_in_the_tag_alone() -> None:
    bare = plain(5, 12, training=False)
    marked = tagged(bare, np.arange(12) % 3, 5)
    changed = (bare.pixels != marked.pixels).any(-1)
    assert not (changed & ~marked.masks).any()
    assert (changed.sum((1, 2)) > 0.8 * marked.masks.sum((1, 2))).all()
    assert set(marked.masks.sum((1, 2)).tolist()) <= {s * s for s in range(11, 16)}
    again = tagged(plain(5, 12, training=False), np.arange(12) % 3, 5)
    assert np.array_equal(again.pixels, marked.pixels)


def test_the_first_pictures_do_not_depend_on_how_many() -> None:
    assert np.array_equal(other(3, 4).pixels, other(3, 9).pixels[:4])


def test_rates_are_kept() -> None:
    bare = plain(6, 150, training=True)
    for rate in (0.0, 0.5, 1.0):
        share = float(correlated(bare, rate, 6).masks.any((1, 2)).mean())
        expected = rate + (1 - rate) / 3
        assert abs(share - expected) <= 3 * math.sqrt(max(expected * (1 - expected), 1e-9) / 150)


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


def test_rank_correlation_against_scipy() -> None:
    a, b = [0.1, 0.5, 0.5, 0.9, 0.2], [3.0, 1.0, 4.0, 4.0, 2.0]
    assert study.rank_correlation(a, b) == pytest.approx(float(scipy.stats.spearmanr(a, b).statistic))
    assert math.isnan(study.rank_correlation(a, [1.0] * 5))


def test_untrained_networks_make_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "EXAMPLES", 9)
    monkeypatch.setattr(study, "RANDOM", 20)
    findings = []
    for i, rate in enumerate(nets.RATES[:2]):
        torch.manual_seed(i)
        net = nets.network().eval()
        model = Model(net, preprocess=nets.LOOK, labels=CLASSES, name=f"rate {rate:g}", kind="classes")
        found, result = study.examined(model, rate, 15, Execution())
        assert set(found) == set(nets.LAYERS)
        assert len(result) == 15
        findings.append(found)
        for f in found.values():
            assert all(low <= v <= high for v, low, high in zip(f.drop, f.drop_low, f.drop_high, strict=True))
            assert len(f.values["fall"]) == 15
    third = [f["10"] for f in findings]
    assert measures(third)["energy ratio"] == pytest.approx(third[1].energy / third[1].area)
    text = page([findings], "the command", 60, "processor")
    assert "### At the third convolution" in text
    assert text.count(f"| {nets.RATES[1]:g} |") == 2
