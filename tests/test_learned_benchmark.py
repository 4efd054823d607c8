"""The recipes of trained explainers: compositions by index, parts that stay apart, the page's best."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.learned import packages
from benchmarks.learned.compositions import Compositions
from benchmarks.learned.fashion import Clothes, Opaque, differences, short
from benchmarks.learned.material import Material, save, split
from benchmarks.learned.packages import PHOTOS, STAMPS, fetched
from benchmarks.learned.page import margins, table, verdict
from benchmarks.learned.speed import interleaved, ratio
from torch import nn

from seewhy.errors import BadInput
from seewhy.models.preprocessing import Preprocessing

LOOK = Preprocessing((32, 32), mean=(0.5,) * 3, std=(0.25,) * 3)


def material(photos: int = 3) -> Material:
    """Grey photos, and objects that are red squares in a transparent frame."""
    objects = torch.zeros(2, 4, 144, 144, dtype=torch.uint8)
    objects[:, 0, 36:108, 36:108] = 255
    objects[:, 3, 36:108, 36:108] = 255
    return Material(torch.full((photos, 3, 256, 256), 100, dtype=torch.uint8), objects)


def test_a_batch_of_compositions_is_its_singles() -> None:
    source = Compositions(material(), LOOK)
    whole = source.batch(2, torch.arange(8))
    assert torch.equal(whole, torch.cat([source.batch(2, torch.tensor([i])) for i in range(8)]))
    assert not torch.equal(whole, source.batch(3, torch.arange(8)))
    assert torch.equal(Compositions(material(), LOOK).batch(2, torch.arange(8)), whole)


def test_an_object_covers_what_its_size_says() -> None:
    pixels = Compositions(material(), LOOK, objects=1).pixels(0, torch.arange(200))
    red = ((pixels[:, 0] > 200) & (pixels[:, 1] < 60)).float().mean((1, 2))
    assert 0.02 < float(red.mean()) < 0.2  # a half of 0.4 to 0.85 of the picture, squared: 0.04 to 0.18
    assert float(red.max()) < 0.2
    assert bool((red > 0.01).all())


def test_parts_of_the_material_stay_apart(tmp_path: Path) -> None:
    marks = np.arange(16, dtype=np.uint8)
    found = {
        "photos": np.broadcast_to(marks[:, None, None, None], (16, 3, 4, 4)).copy(),
        "objects": np.broadcast_to(marks[:, None, None, None], (16, 4, 4, 4)).copy(),
        "origin": np.arange(16) // 2,
    }
    save(found, tmp_path / "m.npz")
    parts = split(tmp_path / "m.npz")
    groups = [set(p.photos[:, 0, 0, 0].tolist()) for p in (parts.train, parts.choice, parts.test)]
    assert sum(map(len, groups)) == 16 == len(set.union(*groups))
    assert groups[2] == {2, 3, 10, 11}  # both squares of a photo go one way
    known, new = (set(p.objects[:, 0, 0, 0].tolist()) for p in (parts.train, parts.new))
    assert known | new == set(range(16))
    assert not known & new
    assert torch.equal(parts.test.objects, parts.train.objects)


def test_packages_that_lie_there_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(BadInput, match="This machine has no apt-get"):
        fetched(tmp_path)
    for name in (STAMPS, PHOTOS, "labelme"):
        (tmp_path / name).mkdir()
    stamps, photos = fetched(tmp_path)
    assert stamps == tmp_path / STAMPS / "usr" / "share" / "tuxpaint" / "stamps"
    assert photos == [tmp_path / "labelme", tmp_path / PHOTOS]


def test_what_a_tool_said_is_told(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--no-index", "labelme"]
    with pytest.raises(BadInput, match=r"m pip download.*No matching distribution.*reach PyPI"):
        packages.ran(pip, tmp_path, "reach PyPI")


def test_clothes_show_each_image_once_an_epoch() -> None:
    images = (
        torch.arange(520, dtype=torch.int64)
        .remainder(8)
        .mul(30)
        .byte()
        .reshape(-1, 1, 1, 1)
        .expand(-1, 1, 28, 28)
    )
    source = Clothes(images, apart=512)
    x = source.batch(0, torch.arange(16))
    levels = ((x[:, 0, 0, 0] * LOOK_STD + LOOK_MEAN) * 255 / 30).round().int().tolist()
    assert sorted(levels[:8]) == sorted(levels[8:]) == list(range(8))
    assert len(source.held_out()) == 512


LOOK_MEAN, LOOK_STD = 0.286, 0.353


def test_an_opaque_network_shows_nothing_but_answers_and_input_gradients() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.LazyLinear(3)).eval()
    x = torch.randn(2, 1, 5, 5, requires_grad=True)
    net(x)
    opaque = Opaque(net).eval()
    torch.testing.assert_close(opaque(x), net(x))
    assert list(opaque.children()) == []
    assert torch.autograd.grad(opaque(x).sum(), x)[0].abs().sum() > 0


def test_the_page_marks_the_best_of_each_column_baselines_aside() -> None:
    numbers = {
        "one": {"AD50": [10.0, 9, 11], "IC50": [50.0, 49, 51]},
        "two": {"AD50": [20.0, 9, 11], "IC50": [60.0, 49, 51]},
        "random": {"AD50": [1.0, 0, 2], "IC50": [99.0, 98, 100]},
    }
    text = table(numbers, {"one": 0.5}).splitlines()
    assert "**10.0**" in text[2]
    assert "**60.0**" in text[3]
    assert "**" not in text[4]


def test_the_verdict_counts_who_is_better_and_no_tie() -> None:
    six = ("AD100", "IC100", "AD50", "IC50", "AD15", "IC15")
    ours = dict(zip(six, ([1.0], [2.0], [3.0], [4.0], [5.0], [6.0]), strict=True))
    other = dict(zip(six, ([2.0], [1.0], [1.0], [9.0], [5.0], [6.0]), strict=True))
    text = verdict({"P-TAME, paper": ours, "Grad-CAM": other, "RISE, 9 masks": ours, "Grad-CAM++": other})
    assert text == "Of the six AD and IC, P-TAME, paper beats Grad-CAM on 2, RISE on 0."


def test_differences_are_of_pairs_and_above_zero_where_ours_is_better() -> None:
    theirs = torch.rand(50, generator=torch.Generator().manual_seed(0))
    values = {
        "P-TAME, ours": {"AD50": (theirs - 0.25).tolist(), "IC50": (theirs - 0.5).tolist()},
        "RISE": {"AD50": theirs.tolist(), "IC50": theirs.tolist()},
    }
    found = differences(values, "P-TAME, ours")["RISE"]
    torch.testing.assert_close(torch.tensor(found["AD50"]), torch.full((3,), 0.25))  # pairs differ by as much
    torch.testing.assert_close(torch.tensor(found["IC50"]), torch.full((3,), -0.5))
    text = margins({"RISE": found}).splitlines()
    assert text[2] == "| RISE | 0.2 [0.2, 0.2] | -0.5 [-0.5, -0.5] |"


def test_metrics_are_called_by_their_letters_and_shares() -> None:
    names = ("average_drop", "increase_in_confidence?keep=15", "average_drop?keep=50", "deletion")
    assert [short(name) for name in names] == ["AD100", "IC15", "AD50", "deletion"]


def test_works_take_turns_and_the_first_round_does_not_count() -> None:
    done: list[str] = []
    works = {name: (lambda name=name: done.append(name)) for name in ("a", "b")}
    found = interleaved(works, "cpu", 2)
    assert done == ["a", "b"] * 3
    assert {name: len(seconds) for name, seconds in found.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_the_median_over_rounds() -> None:
    seconds = {"step": [3.0, 30.0, 8.0], "one": [1.0, 10.0, 1.0], "other": [1.0, 5.0, 1.0]}
    assert ratio(seconds, "step", "one") == 3.0
    assert ratio(seconds, "step", "one", "other") == 2.0
