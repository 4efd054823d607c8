"""`seewhy concepts gallery`: files, going on, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from safetensors import safe_open

from seewhy.cli.loading import load_model
from seewhy.concepts.collected import read_collected
from seewhy.concepts.store import FeatureStore, digest_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures on colours, one of them in a folder of its own, beside a file that is none."""
    draw = np.random.default_rng(0)
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for i in range(6):
        pixels = (draw.integers(0, 99, (24, 20, 3)) + draw.integers(0, 156, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / ("more" if i == 5 else ".") / f"{i}.png")
    (tmp_path / "photos" / "readme.txt").write_text("no photo")
    return tmp_path / "photos"


def test_gallery(run: Callable[..., Any], models: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes(b"no")
    out, store = tmp_path / "out", tmp_path / "store"
    given = ("concepts", "gallery", folder, "--model", f"{models}:tiny", "--layers", "3", "--out", out)
    said = run(*given, "--show", 2, "--count", 3, "--features", store, "--parquet", "--json")
    assert said.code == 0, said.err
    assert "broken.png" in said.err
    found = json.loads(said.out)
    assert found["photos"] == 6
    assert len(found["failures"]) == 1
    collected = read_collected(out)
    assert collected is not None
    assert collected.finished
    assert [c["channel"] for c in found["channels"]] == collected.leading("3", 2)
    for card in found["channels"]:
        table = collected.tables["relevance", "3"].of(card["channel"])
        assert [(r["value"], r["photo"]) for r in card["relevance"]] == [
            (v, collected.names[i]) for v, i, _ in table if v > 0
        ]
    rows = parquet.read_table(out / "references.parquet").to_pylist()
    assert len(rows) == 2 * 8 * 3  # kinds, channels, photos each
    first = next(r for r in rows if (r["channel"], r["kind"], r["rank"]) == (5, "activation", 2))
    value, i, cell = collected.tables["activation", "3"].of(5)[1]
    assert (first["value"], first["photo"], first["cell"]) == (value, collected.names[i], cell)
    assert first["target"] == int(collected.targets[i])
    assert json.loads((out / "gallery.json").read_text()) == found
    page = (out / "gallery.html").read_text()
    assert page.count("<h3>Channel") == 2
    assert "broken.png" in page
    with Image.open(out / "gallery-1.png") as picture:
        assert picture.format == "PNG"
    with safe_open(out / "references.safetensors", "pt") as file:
        assert "targets" in file.keys()  # noqa: SIM118  no mapping
    features = FeatureStore(store).layer(load_model(f"{models}:tiny"), "3")
    assert digest_of(folder / "more" / "5.png") in features


def test_asking_again_makes_only_the_pictures_again(
    run: Callable[..., Any], models: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = ("concepts", "gallery", folder, "--model", f"{models}:tiny", "--layers", "3", "--out", out)
    first = run(*given, "--show", 1)
    assert first.code == 0, first.err
    state = (out / "references.safetensors").read_bytes()
    again = run(*given, "--channels", "4,1", "--json")
    assert [c["channel"] for c in json.loads(again.out)["channels"]] == [4, 1]
    assert (out / "references.safetensors").read_bytes() == state
    other = run(*given, "--pooling", "max")
    assert other.code == 2
    assert "other settings" in other.err


def test_a_class_has_its_own_channels_and_photos(
    run: Callable[..., Any], models: Path, folder: Path, tmp_path: Path
) -> None:
    given = ("concepts", "gallery", folder, "--model", f"{models}:tiny", "--layers", "3", "--show", 1)
    said = run(*given, "--of", "lemon", "--target", "lemon", "--out", tmp_path / "a", "--json")
    assert said.code == 0, said.err
    (card,) = json.loads(said.out)["channels"]
    collected = read_collected(tmp_path / "a")
    assert collected is not None
    assert card["channel"] == collected.leading("3", 1, 3)[0]
    assert {r["target"] for r in card["relevance"]} <= {"lemon"}
    none = run(*given, "--of", "rocket", "--target", "lemon", "--out", tmp_path / "b")
    assert none.code == 2
    assert "--target rocket" in none.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--layers", "9"), "There is no such layer"),
        (("--layers", "1,3", "--channels", "2"), "Name one with --layers"),
        (("--layers", "3", "--channels", "x"), "They are no numbers"),
        (("--layers", "3", "--channels", "8"), "channels 0 to 7"),
        (("--show", "0"), "at least 1"),
        (("--count", "0"), "at least 1"),
    ],
)
def test_bad_requests(
    run: Callable[..., Any],
    models: Path,
    folder: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    message: str,
) -> None:
    said = run("concepts", "gallery", folder, "--model", f"{models}:tiny", "--out", tmp_path / "o", *options)
    assert said.code == 2
    assert message in said.err
    assert not (tmp_path / "o" / "gallery.html").exists()


def test_folders_without_photos_are_refused(run: Callable[..., Any], models: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for where, message in ((tmp_path / "empty", "It holds none"), (tmp_path / "gone", "no such folder")):
        said = run("concepts", "gallery", where, "--model", f"{models}:tiny")
        assert said.code == 2
        assert message in said.err


def test_discover(run: Callable[..., Any], models: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ("concepts", "discover", folder, "--model", f"{models}:tiny", "--layer", "3", "--target", "lemon")
    said = run(*given, "--concepts", 2, "--patch", 0.5, "--count", 3, "--out", out, "--parquet", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["photos"] == 6
    importances = [c["importance"] for c in found["concepts"]]
    assert importances == sorted(importances, reverse=True)
    assert [len(c["patches"]) for c in found["concepts"]] == [3, 3]
    assert json.loads((out / "concepts.json").read_text()) == found
    rows = parquet.read_table(out / "concepts.parquet").to_pylist()
    assert [r["photo"] for r in rows] == [p["photo"] for c in found["concepts"] for p in c["patches"]]
    page = (out / "concepts.html").read_text()
    assert page.count("<img") == 6
    assert f"{100 * found['error']:.2g} %" in page
    with Image.open(out / "concepts.png") as picture:
        assert picture.format == "PNG"
    with safe_open(out / "concepts.safetensors", "pt") as file:
        assert file.get_tensor("directions").shape == (2, 8)
    table = run(*given, "--concepts", 2, "--patch", 0.5, "--out", out)
    assert table.code == 0
    assert f"{importances[0]:.3g}" in table.out
    sae = ("--factors", "sae", "--active", 2, "--steps", 30, "--features", tmp_path / "store")
    said = run(*given, *sae, "--concepts", 4, "--count", 2, "--out", tmp_path / "sae", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert found["factors"] == "sae"
    assert set(found["fits"]) == {"sae", "sae, held out", "nmf, held out"}
    assert found["fits"]["sae"]["active"] <= 2
    page = (tmp_path / "sae" / "concepts.html").read_text()
    assert "There a factorisation of the same size explains" in page
    for wrong, message in ((("--concepts", 99), "for 99 concepts"), (("--patch", 2), "Give parts in (0, 1]")):
        said = run(*given, *wrong, "--out", tmp_path / "none")
        assert said.code == 2
        assert message in said.err
    assert not (tmp_path / "none").exists()
