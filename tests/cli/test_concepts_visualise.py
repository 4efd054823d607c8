"""`seewhy concepts visualise`: files, every kind of target, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from seewhy.cli import concepts_visualise
from seewhy.cli.loading import load_model
from seewhy.concepts import CAV, ConceptVectors, FeatureVisualisation
from seewhy.targets import Neuron


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven pictures of noise on colours."""
    draw = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(7):
        pixels = (draw.integers(0, 99, (24, 20, 3)) + draw.integers(0, 156, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


def test_visualise(run: Callable[..., Any], models: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "broken.png").write_bytes(b"no")
    out = tmp_path / "out"
    given = ("concepts", "visualise", folder, "--model", f"{models}:tiny", "--steps", 4, "--out", out)
    said = run(*given, "--layer", "3", "--channels", "4,1", "--target", "lemon", "--images", 2, "--json")
    assert said.code == 0, said.err
    assert "broken.png" in said.err
    found = json.loads(said.out)
    labels = [v["target"]["label"] for v in found["visualisations"]]
    assert labels == ["3 channel 4", "3 channel 1", "lemon"]
    assert found["photos"] == 7
    assert json.loads((out / "visualise.json").read_text()) == found
    model = load_model(f"{models}:tiny")
    own = FeatureVisualisation(images=2, steps=4)(model, Neuron("3", 1)).visualisations[0]
    assert found["visualisations"][1]["reached"] == list(own.reached)
    for j, image in enumerate(own.images):
        with Image.open(found["files"][f"visualise-2-{j + 1}"]) as drawn:
            assert drawn.mode == "RGB"
            assert torch.equal(torch.from_numpy(np.array(drawn)).permute(2, 0, 1) / 255, image)
    page = (out / "visualise.html").read_text()
    assert page.count("<h2") == 4
    assert "broken.png" in page
    assert "seewhy" in page
    with Image.open(out / "visualise.png") as picture:
        assert picture.format == "PNG"


def test_maco_is_transparent_and_a_table_is_printed(
    run: Callable[..., Any], models: Path, tmp_path: Path
) -> None:
    given = ("concepts", "visualise", "--model", f"{models}:tiny", "--method", "maco", "--steps", 3)
    said = run(*given, "--views", 2, "--target", "tabby vs lemon", "--target", 2, "--out", tmp_path / "out")
    assert said.code == 0, said.err
    assert "tabby - lemon" in said.out
    assert "espresso" in said.out
    assert "in its crops" in said.out
    found = json.loads((tmp_path / "out" / "visualise.json").read_text())
    assert found["parameters"]["views"] == 2
    assert found["magnitudes"] == "1 / frequency"
    assert found["photos"] is None
    with Image.open(tmp_path / "out" / "visualise-1-1.png") as drawn:
        assert drawn.mode == "RGBA"


def test_the_seed_decides(run: Callable[..., Any], models: Path, tmp_path: Path) -> None:
    given = ("concepts", "visualise", "--model", f"{models}:tiny", "--channels", 1, "--steps", 2)
    pictures = []
    for i, seed in enumerate((5, 5, 6)):
        said = run(*given, "--seed", seed, "--out", tmp_path / str(i))
        assert said.code == 0, said.err
        pictures.append((tmp_path / str(i) / "visualise-1-1.png").read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]


def test_directions_and_cells(run: Callable[..., Any], models: Path, folder: Path, tmp_path: Path) -> None:
    photos = sorted(folder.iterdir())
    found = CAV(layers=("3",), runs=2)(
        load_model(f"{models}:tiny"), {"some": photos[:6], "others": photos[1:]}, photos[:3] * 2
    )
    found.save(tmp_path / "cav")
    assert len(ConceptVectors.open(tmp_path / "cav").directions) == 2
    given = ("concepts", "visualise", "--model", f"{models}:tiny", "--steps", 2, "--out", tmp_path / "out")
    said = run(*given, "--directions", tmp_path / "cav.json", "--channels", 2, "--cell", "3,5", "--json")
    assert said.code == 0, said.err
    labels = [v["target"]["label"] for v in json.loads(said.out)["visualisations"]]
    assert labels == ["3 channel 2 at (3, 5)", "some in 3", "others in 3"]


def test_stopping_writes_nothing(
    run: Callable[..., Any], models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(concepts_visualise, "_method", lambda *_: stopped)
    given = ("concepts", "visualise", "--model", f"{models}:tiny", "--channels", 1)
    said = run(*given, "--out", tmp_path / "out")
    assert said.code == 130
    assert "Nothing was written" in said.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "Nothing is named"),
        (("--layer", "3"), "Nothing is named"),
        (("--layer", "9", "--channels", "1"), "There is no such layer"),
        (("--layer", "3", "--target", "lemon"), "No channel is named"),
        (("--channels", "x"), "They are no numbers"),
        (("--channels", "8"), "It has 8"),
        (("--channels", "1", "--cell", "3"), "Write row,column"),
        (("--channels", "1", "--cell", "30,1"), "Choose one of 8 x 8"),
        (("--target", "top 2"), "there is none"),
        (("--target", "lemonn"), "lemon"),
        (("--target", "lemon", "--steps", "0"), "Give at least 1"),
        (("--target", "lemon", "--images", "0"), "Give at least 1"),
        (("--target", "lemon", "--decay", "-1"), "Give 0 or more"),
        (("--target", "lemon", "--method", "maco", "--views", "0"), "Give at least 1"),
        (("--directions", "nowhere"), "does not exist"),
    ],
)
def test_bad_requests(
    run: Callable[..., Any], models: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    said = run("concepts", "visualise", "--model", f"{models}:tiny", "--out", tmp_path / "o", *options)
    assert said.code == 2, said.err
    assert message in said.err
    assert not (tmp_path / "o").exists()
