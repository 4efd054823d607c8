"""`seewhy concepts cav`, `tcav`, `visual-tcav`: folders in; tables, pictures, pages and numbers out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from seewhy.cli import concepts_options as options
from seewhy.concepts import ConceptVectors, TcavResult, VisualTcavResult
from seewhy.concepts.significance import CORRECTIONS
from seewhy.concepts.vectors import SOLVERS


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make red and bright examples, noise, and photos of two classes."""
    home = tmp_path_factory.mktemp("concepts")
    rng = np.random.default_rng(0)

    def save(folder: str, count: int, lift: tuple[int, int, int]) -> None:
        (home / folder).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(rng.integers(0, 100, (16, 16, 3)) + lift, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(home / folder / f"{i}.png")

    save("sets/red", 8, (150, 0, 0))
    save("sets/bright", 8, (150, 150, 150))
    save("random", 24, (0, 0, 0))
    save("classes/tabby", 4, (60, 0, 0))
    save("classes/4", 3, (0, 60, 60))
    return home


@pytest.fixture
def spec(models: Path) -> str:
    return f"{models}:tiny"


@pytest.fixture
def say(run: Callable[..., Any]) -> Callable[..., Any]:
    def call(*argv: object) -> Any:
        said = run(*argv)
        assert said.code == 0, said.err
        return said

    return call


@pytest.fixture
def fails(run: Callable[..., Any]) -> Callable[..., str]:
    def call(*argv: object) -> str:
        said = run(*argv)
        assert (said.code, said.out) == (2, "")
        return str(said.err)

    return call


@pytest.fixture
def asked(folders: Path) -> list[str]:
    return ["--concepts", str(folders / "sets"), "--random", str(folders / "random"), "--layers", "1,3"]


def test_cav(say: Callable[..., Any], asked: list[str], tmp_path: Path, spec: str) -> None:
    said = say("concepts", "cav", *asked, "--model", spec, "--out", str(tmp_path), "--json")
    answer = json.loads(said.out)
    assert [(r["layer"], r["concept"]) for r in answer["rows"]] == [
        ("1", "bright"),
        ("1", "red"),
        ("3", "bright"),
        ("3", "red"),
    ]
    assert all(r["low"] <= r["accuracy"] <= r["high"] for r in answer["rows"])
    vectors = ConceptVectors.open(tmp_path / "cav")
    assert [tuple(d.vector.shape) for d in vectors.directions] == [(6,), (6,), (8,), (8,)]


def test_tcav(say: Callable[..., Any], asked: list[str], folders: Path, tmp_path: Path, spec: str) -> None:
    where = ["--images", str(folders / "classes"), "--model", spec, "--out", str(tmp_path)]
    said = say("concepts", "tcav", *asked, *where)
    assert "significant" in said.out
    result = TcavResult.open(tmp_path / "tcav")
    assert {(r.target, r.index) for r in result.rows} == {("tabby", 0), ("rocket", 4)}
    page = (tmp_path / "tcav.html").read_text()
    assert "tabby" in page
    assert "<script" not in page
    for r in result.rows:
        assert f"{r.accuracy:.2f}" in page
    with Image.open(tmp_path / "tcav.png") as picture:
        assert picture.width > 500


def test_visual_tcav(
    say: Callable[..., Any], asked: list[str], folders: Path, tmp_path: Path, spec: str
) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    where = [str(folders / "classes"), "--model", spec, "--out", str(tmp_path), "--steps", "8"]
    said = say("concepts", "visual-tcav", *where, *asked, "--parquet", "--json")
    answer = json.loads(said.out)
    assert len(answer["global"]) == 2 * 2 * 2
    assert len(answer["local"]) == 7 * 2 * 2
    assert {Path(f).name for f in answer["files"]} == {
        "visual-tcav.safetensors",
        "visual-tcav.json",
        "visual-tcav.png",
        "visual-tcav.1.png",
        "visual-tcav.3.png",
        "visual-tcav.html",
        "visual-tcav.parquet",
    }
    assert all(Path(f).is_file() for f in answer["files"])
    assert parquet.read_table(tmp_path / "visual-tcav.parquet").to_pylist() == answer["local"]
    found = VisualTcavResult.open(tmp_path / "visual-tcav")
    assert found.concepts == ("bright", "red")
    assert found.classes[:, 0].tolist() == [4, 4, 4, 0, 0, 0, 0]


def test_photos_are_explained_for_their_own_class_or_the_named_ones(
    say: Callable[..., Any], asked: list[str], folders: Path, tmp_path: Path, spec: str
) -> None:
    photo = str(folders / "classes" / "tabby" / "0.png")
    more = [*asked[:-1], "3", "--model", spec, "--out", str(tmp_path), "--targets", "lemon,0", "--json"]
    answer = json.loads(say("concepts", "visual-tcav", photo, *more).out)
    assert [(r["target"], r["image"]) for r in answer["local"]] == [("lemon", photo)] * 2 + [
        ("tabby", photo)
    ] * 2


def test_wrong_folders_are_said_before_any_work(
    fails: Callable[..., str], asked: list[str], folders: Path, tmp_path: Path, spec: str
) -> None:
    out = ["--model", spec, "--out", str(tmp_path / "new")]
    (folders / "damaged").mkdir(exist_ok=True)
    (folders / "damaged" / "x.png").write_bytes(b"no photo")
    images = ["--images", str(folders / "damaged")]
    assert "Its content is no photo" in fails("concepts", "tcav", *asked, *images, *out)
    missing = ["--concepts", str(folders / "set"), "--random", str(folders / "random")]
    assert "Did you mean 'sets'" in fails("concepts", "cav", *missing, *out)
    assert "No file was given" in fails("concepts", "visual-tcav", *asked, *out)
    assert not (tmp_path / "new").exists()


COLOURS = """
import numpy as np
import torch
from seewhy.models.dual_encoder import DualEncoder

def colours():
    print("loading")
    def images(photos):
        return 1 + torch.stack([torch.tensor(np.asarray(p) / 255).float().mean((0, 1)) for p in photos])
    def texts(lines):
        return 5 + torch.tensor([[float(c in line) for c in ("red", "green", "blue")] for line in lines])
    return DualEncoder("colours", images, texts)
"""


@pytest.fixture
def by_text(tmp_path: Path) -> list[str]:
    (tmp_path / "colours.py").write_text(COLOURS)
    (tmp_path / "others.txt").write_text("green\nblue\n\ngrey\n")
    rng = np.random.default_rng(1)
    for i in range(66):
        pixels = np.clip(rng.integers(0, 60, (16, 16, 3)) + rng.integers(0, 200, 3), 0, 255).astype(np.uint8)
        (tmp_path / "photos" / str(i % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / str(i % 2) / f"{i}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no")
    more = ["--photos", str(tmp_path / "photos"), "--others", str(tmp_path / "others.txt"), "--layers", "1"]
    return ["--text", "red", "--text", "green", "--encoder", f"{tmp_path}/colours.py:colours", *more]


def test_concepts_from_texts(
    say: Callable[..., Any], by_text: list[str], folders: Path, tmp_path: Path, spec: str
) -> None:
    where = ["--model", spec, "--out", str(tmp_path / "out")]
    more = [*by_text, *where, "--template", "a {} thing"]
    said = say("concepts", "visual-tcav", str(folders / "classes"), *more, "--steps", "4", "--json")
    assert "broken.png" in said.err
    assert "loading" in said.err
    answer = json.loads(said.out)
    assert [r["concept"] for r in answer["global"]] == ["red", "green"] * 2
    assert {"visual-tcav.texts.png", "visual-tcav.html"} <= {Path(f).name for f in answer["files"]}
    found = VisualTcavResult.open(tmp_path / "out" / "visual-tcav")
    about = found.provenance["texts"]
    assert (about["photos"], about["others"], about["template"], about["top"]) == (66, 3, "a {} thing", 16)
    assert about["fits"]["1"]["low"] > 0.1
    page = (tmp_path / "out" / "visual-tcav.html").read_text()
    assert "2 concepts from texts · 66 photos" in page
    assert "broken.png" in page
    shown = ["--images", str(folders / "classes")]
    table = say("concepts", "tcav", *by_text, *where, *shown)
    assert "green" in table.out
    assert TcavResult.open(tmp_path / "out" / "tcav").nearest is not None
    with Image.open(tmp_path / "out" / "tcav.texts.png") as picture:
        assert picture.width > 300


def test_texts_and_folders_are_not_mixed(
    fails: Callable[..., str], asked: list[str], by_text: list[str], folders: Path, tmp_path: Path, spec: str
) -> None:
    out = ["--model", spec, "--out", str(tmp_path / "new")]
    photo = str(folders / "classes" / "tabby" / "0.png")
    for given, found in (
        ([*asked[:2], *by_text], "Found --concepts, --text, --encoder, --photos, --others"),
        (by_text[:-8], "Found --text"),
        (asked[:2], "Found --concepts"),
        ([*asked[:4], *by_text[-4:-2]], "Found --concepts, --random, --others"),
        ([], "Found none"),
    ):
        said = " ".join(fails("concepts", "visual-tcav", photo, *given, *out).split())
        assert found in said
        assert "--text WORDS, --encoder SPEC and --photos DIR" in said
    clueless = [*by_text[:5], "clip", *by_text[6:]]
    assert "no such encoder" in fails("concepts", "visual-tcav", photo, *clueless, *out)
    assert not (tmp_path / "new").exists()


def test_the_command_line_knows_what_the_library_knows() -> None:
    assert get_args(options.Solver) == tuple(SOLVERS)
    assert get_args(options.Correction) == CORRECTIONS
