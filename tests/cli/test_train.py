"""`seewhy train`, then `explain` and `watch` with what it wrote."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

AUXILIARY = "timm:test_resnet?pretrained=false&size=32&seed=1"


def paint(path: Path, seed: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for i in range(6):
        paint(tmp_path / "photos" / f"{i}.png", i)
    return tmp_path / "photos"


def test_train_then_explain_then_watch(
    run: Callable[..., Any], models: Path, data: Path, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tiny.safetensors"
    flags = ("--auxiliary", AUXILIARY, "--steps", 12, "--batch", 4, "--precision", "fp32", "--balance")
    said = run("train", "ptame", "--model", f"{models}:tiny", "--data", data, "--out", out, *flags, "--json")
    assert said.code == 0, said.err
    answer = json.loads(said.out)
    assert answer["explainer"] == str(out)
    assert answer["bytes"] == out.stat().st_size < 5e6
    assert answer["coverage"]["images"] == 48
    assert "classes have too few photos" in said.err
    assert len((tmp_path / "tiny.safetensors.jsonl").read_text().splitlines()) == 2
    assert not (tmp_path / "tiny.safetensors.checkpoint").exists()

    maps = tmp_path / "maps"
    asked = ("explain", photo, "--method", "ptame", "--explainer", out, "--out", maps)
    said = run(*asked, "--model", f"{models}:tiny", "--json")
    assert said.code == 0, said.err
    assert "trained this explainer" in said.err
    assert json.loads(said.out)["inputs"][0]["passes"] == {"forward": 1, "backward": 0}
    said = run(*asked, "--model", f"{models}:blind")  # the same weights, forward only
    assert said.code == 0, said.err
    said = run(*asked, "--model", "timm:test_resnet?pretrained=false&size=32")
    assert said.code == 2
    assert "not for these weights" in said.err
    out.write_bytes(out.read_bytes()[:-1] + b"?")
    said = run(*asked, "--model", f"{models}:tiny")
    assert said.code == 2
    assert "changed after training" in said.err or "damaged" in said.err


def test_watch_explains_frames(run: Callable[..., Any], models: Path, data: Path, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    asked = ("watch", data, "--model", f"{models}:tiny", "--method", "grad_cam")
    said = run(*asked, "--out", frames, "--every", 2, "--together", 2, "--json")
    assert said.code == 0, said.err
    answer = json.loads(said.out)
    assert answer["frames"] == 3
    assert answer["frames_per_second"] > 0
    assert sorted(p.name for p in frames.iterdir()) == [f"frame-{i:06d}.png" for i in (0, 2, 4)]
    said = run(*asked, "--frames", 1, "--out", tmp_path / "one")
    assert said.code == 0, said.err
    assert len(list((tmp_path / "one").iterdir())) == 1


def test_search_then_train(run: Callable[..., Any], models: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.safetensors"
    flags = ("--auxiliary", AUXILIARY, "--steps", 2, "--batch", 2, "--precision", "fp32", "--search", 2)
    asked = ("train", "ptame", "--model", f"{models}:tiny", "--data", data, "--out", out, *flags)
    said = run(*asked)
    assert said.code == 2
    assert "No look at held-out images" in said.err
    assert not out.exists()
    said = run(*asked, "--look", 2, "--held-out", 2, "--json")
    assert said.code == 0, said.err
    assert "the best of 2 trials" in said.err
    assert (tmp_path / "found.safetensors.search").exists()
    assert json.loads(said.out)["settings"]["area"] > 0


def test_bad_requests_are_refused_before_anything_is_written(
    run: Callable[..., Any], models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, out = ("--model", f"{models}:tiny"), tmp_path / "new" / "e.safetensors"
    (tmp_path / "empty").mkdir()
    clip = tmp_path / "clip.avi"
    clip.write_bytes(b"no video")
    monkeypatch.setitem(sys.modules, "av", None)
    for argv, words in (
        (("train", "tame2", "--data", data, "--out", out), "no such training"),
        (("train", "ptame", *tiny, "--data", tmp_path / "absent", "--out", out), "no such folder"),
        (("train", "ptame", *tiny, "--data", data, "--out", out, "--log", "paper"), "no such logger"),
        (("train", "ptame", *tiny, "--data", data, "--out", out, "--steps", 0), "Found 0"),
        (("train", "ptame", *tiny, "--data", data, "--out", out, "--auxiliary", "a.py:b"), "Code is not run"),
        (("watch", tmp_path / "empty", *tiny, "--method", "gradient"), "no image in it"),
        (("watch", tmp_path / "absent", *tiny, "--method", "gradient"), "no such file or folder"),
        (("watch", clip, *tiny, "--method", "gradient"), "seewhy[video]"),
        (("watch", data, *tiny, "--method", "gradient", "--every", 0), "below 1"),
    ):
        said = run(*argv)
        assert said.code == 2, said.err
        assert words in said.err, said.err
    assert not out.parent.exists()
