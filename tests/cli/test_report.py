"""`seewhy report`: pages of what other commands wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Said
from seewhy import bundle

Run = Callable[..., Said]


@pytest.fixture
def maps(run: Run, models: Path, photo: Path, tmp_path: Path) -> Path:
    """A folder of two methods' maps of one photo."""
    for method in ("gradient", "occlusion"):
        said = run(
            "explain", photo, "--model", f"{models}:tiny", "--method", method, "--out", tmp_path / "maps"
        )
        assert said.code == 0, said.err
    return tmp_path / "maps"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundle" / "report").mkdir(parents=True)
    (tmp_path / "bundle" / "report" / "report.js").write_text("void 0;")
    monkeypatch.setattr(bundle, "BUNDLE", tmp_path / "bundle")


@pytest.fixture
def missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "BUNDLE", tmp_path / "nothing")


@pytest.mark.usefixtures("built")
def test_maps_of_one_photo_stand_beside_each_other(run: Run, maps: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    said = run("report", maps, "--out", out, "--title", "Two <methods>")
    assert (said.code, said.out.strip(), said.err) == (0, str(out), "")
    text = out.read_text()
    assert text.count("data-exhibit") == 1
    assert "<h1>Two &lt;methods&gt;</h1>" in text
    assert f"seewhy report {maps} --out {out}" in text
    assert "Gradient" in text
    assert "Occlusion" in text


@pytest.mark.usefixtures("built")
def test_the_folder_of_a_demo_and_its_json(run: Run, maps: Path, tmp_path: Path) -> None:
    shutil.copytree(maps, tmp_path / "demo" / "maps")
    said = run("report", tmp_path / "demo", "--out", tmp_path / "page.html", "--json")
    assert json.loads(said.out) == {"report": str(tmp_path / "page.html"), "inputs": 1}


@pytest.mark.usefixtures("built")
def test_pictures_only(run: Run, maps: Path, tmp_path: Path) -> None:
    assert run("report", maps, "--out", tmp_path / "page.html", "--static").err == ""
    assert "<script" not in (tmp_path / "page.html").read_text()


@pytest.mark.usefixtures("missing")
def test_without_a_front_end_the_maps_are_pictures(run: Run, maps: Path, tmp_path: Path) -> None:
    said = run("report", maps, "--out", tmp_path / "page.html")
    assert said.code == 0
    assert "The maps will be pictures" in said.err
    assert "<script" not in (tmp_path / "page.html").read_text()


def test_a_benchmark_gives_its_leaderboard(run: Run, models: Path, photo: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(photo, photos)
    said = run(
        "benchmark", "--model", f"{models}:tiny", "--data", photos, "--methods", "gradient",
        "--metrics", "deletion?steps=4", "--engine", "here", "--out", tmp_path / "run",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert run("report", tmp_path / "run", "--out", tmp_path / "page.html").code == 0
    assert "Standings" in (tmp_path / "page.html").read_text()
    assert run("report", tmp_path / "run", photos, "--out", tmp_path / "no.html").code == 2
    assert not (tmp_path / "no.html").exists()


def test_refusals(run: Run, maps: Path, models: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert run("report", "--out", out).code == 2
    (tmp_path / "empty").mkdir()
    said = run("report", tmp_path / "empty", "--out", out)
    assert said.code == 2
    assert "Asked to report the maps in" in said.err
    run("explain", photo, "--model", f"{models}:blind", "--method", "occlusion", "--out", tmp_path / "other")
    said = run("report", maps, tmp_path / "other", "--out", out)
    assert said.code == 2
    assert ":blind, " in said.err
    assert "Give those of one model" in said.err
    assert not out.exists()
