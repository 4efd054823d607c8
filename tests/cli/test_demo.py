"""`seewhy demo`: everything that it promises is there, twice over; once with the real network."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seewhy.cli import demo
from seewhy.cli.loading import load_model


@pytest.fixture
def small(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Let the demo run on a tiny network and two random pictures."""
    photos = {}
    for seed, name in enumerate(("cat", "coffee")):
        photos[name] = tmp_path / f"{name}.png"
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos[name])
    monkeypatch.setattr(demo, "load_model", lambda spec, run: load_model(f"{models}:tiny", run))
    monkeypatch.setattr("seewhy.inputs.photos.demo_photos", lambda: photos)
    return photos


def test_demo(
    run: Callable[..., Any], small: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(demo, "UNSURE", 1.0)
    said = run("demo", "--quick", "--out", out)
    assert said.code == 0, said.err
    assert said.err == ""
    for word in (
        "best guess",
        "random (baseline)",
        "RISE with 120 masks instead of 4,000",
        "report.html",
        "Try next",
    ):
        assert word in said.out
    ends = ("json", "png", "safetensors")
    expected = sorted(f"{photo}.{m}.{end}" for photo in small for m in demo.METHODS for end in ends)
    assert sorted(p.name for p in (out / "maps").iterdir()) == expected
    page = (out / "report.html").read_text()
    assert page.count("<section") >= 4
    assert "http://" not in page.replace("http://www.w3.org", "")
    with Image.open(out / "contact-sheet.png") as picture:
        assert picture.width > 500
    before = {p.name: p.read_bytes() for p in (out / "maps").glob("*.safetensors")}
    (out / "maps" / "rocket.rise.json").write_text("left by a demo of more photos")
    (out / "maps" / "mine.txt").write_text("somebody's own")
    assert run("demo", "--quick", "--out", out).code == 0
    assert {p.name: p.read_bytes() for p in (out / "maps").glob("*.safetensors")} == before
    assert not (out / "maps" / "rocket.rise.json").exists()
    assert (out / "maps" / "mine.txt").exists()
    assert sorted(p.name for p in out.iterdir()) == ["contact-sheet.png", "maps", "report.html"]


def test_demos_advice_works(run: Callable[..., Any], small: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "o"
    said = run("demo", "--quick", "--out", out)
    advice = [line.strip() for line in said.out.partition("Try next")[2].splitlines() if line.strip()]
    assert len(advice) == 4
    known = {"explain", "compare", "evaluate", "methods"}
    for line in advice:
        program, command, *rest = shlex.split(line)
        assert program == "seewhy"
        assert command in known
        if command == "explain":
            assert run(command, *rest, "--help").code == 0


def test_demo_keeps_what_is_finished(
    run: Callable[..., Any], small: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seewhy.methods import METHODS

    def interrupted(self: Any, question: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(METHODS["occlusion"], "estimate", interrupted)
    said = run("demo", "--quick", "--out", tmp_path / "out")
    assert said.code == 130
    assert "3 maps are finished and kept" in said.err
    assert len(list((tmp_path / "out" / "maps").glob("*.safetensors"))) == 3


def test_demo_refuses_a_file_as_folder(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    said = run("demo", "--out", tmp_path / "taken")
    assert said.code == 2
    assert "not a folder" in said.err


@pytest.mark.slow
@pytest.mark.real
def test_demo_on_the_real_network(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "QUICK_PHOTOS", ("cat",))
    said = run("demo", "--quick", "--json", "--out", tmp_path / "out")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    cat = next(entry for entry in found["maps"] if entry["photo"] == "cat")
    assert cat["predictions"][0]["index"] in range(281, 286)
    means = {m["name"]: m["metrics"]["insertion"]["mean"] for m in found["faithfulness"]}
    assert means["occlusion"] > means["random"]
