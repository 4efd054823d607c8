"""`compare` and `evaluate`: the numbers are the library's, the files whole, bad requests refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from scipy.stats import spearmanr

import seewhy
from seewhy.attribution import Attribution
from seewhy.cli.evaluate import inputs_of
from seewhy.cli.faithfulness import beats
from seewhy.cli.loading import load_model
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.table import Row, Table

METHODS = "gradient,occlusion,integrated_gradients"


@pytest.fixture
def answer(run: Callable[..., Any]) -> Callable[..., Any]:
    """Run a command with --json and return what it printed."""

    def call(*argv: object) -> Any:
        said = run(*argv, "--json")
        assert said.code == 0, said.err
        return json.loads(said.out)

    return call


def test_compare(answer: Callable[..., Any], models: Path, photo: Path, tmp_path: Path) -> None:
    found = answer(
        "compare",
        photo,
        "--model",
        f"{models}:tiny",
        "--methods",
        METHODS,
        "--steps",
        6,
        "--out",
        tmp_path / "out",
    )
    names = METHODS.split(",")
    assert [m["name"] for m in found["methods"]] == names
    assert found["skipped"] == []
    for file in (found["sheet"], found["agreement_sheet"]):
        with Image.open(file) as picture:
            assert picture.format == "PNG"
    matrix = found["agreement"]["spearman"]
    model = load_model(f"{models}:tiny")
    maps = [seewhy.explain(model, [photo], name) for name in names]
    for i, a in enumerate(maps):
        for j, b in enumerate(maps):
            assert matrix[i][j] == pytest.approx(
                spearmanr(a.values.flatten(), b.values.flatten())[0], abs=1e-5
            )
    by_name = {m["name"]: m for m in found["faithfulness"]}
    assert {n for n, m in by_name.items() if m["baseline"]} == {"random", "centre", "edges"}
    metrics = [seewhy.metrics.Deletion(steps=6), seewhy.metrics.Insertion(steps=6)]
    for row in evaluate(model, [photo], maps, metrics):
        assert by_name[row.method]["metrics"][row.metric]["mean"] == pytest.approx(row.value, abs=1e-6)


def test_compare_all_leaves_out_what_does_not_fit_and_says_why(
    answer: Callable[..., Any], models: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seewhy.methods import METHODS as KNOWN

    few = [KNOWN["grad_cam"], KNOWN["occlusion"]]
    monkeypatch.setattr("seewhy.cli.compare._asked", lambda names: few)
    found = answer("compare", photo, "--model", f"{models}:blind", "--steps", 4, "--out", tmp_path / "out")
    assert [m["name"] for m in found["methods"]] == ["occlusion"]
    assert found["skipped"][0]["name"] == "grad_cam"
    assert "only runs forward" in found["skipped"][0]["reason"]


def test_compare_for_humans(run: Callable[..., Any], models: Path, photo: Path, tmp_path: Path) -> None:
    spec, out = f"{models}:tiny", tmp_path / "o"
    said = run(
        "compare", photo, "--model", spec, "--methods", "gradient,grad_cam", "--steps", 4, "--out", out
    )
    assert said.code == 0
    for word in ("random (baseline)", "deletion, lower is better", "rank correlation", "cat.compare.png"):
        assert word in said.out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--methods", "gradient,rize"), ("rize", "Did you mean 'rise'")),
        (("--methods", ","), ("None is named", "or all")),
        (("--metrics", "deletio"), ("deletio", "'deletion'")),
        (("--steps", "0"), ("steps", "0")),
        (("--batch-size", "0"), ("batch size",)),
    ],
)
def test_compare_refuses(
    run: Callable[..., Any],
    models: Path,
    photo: Path,
    tmp_path: Path,
    argv: tuple[str, str],
    words: tuple[str, ...],
) -> None:
    said = run("compare", photo, "--model", f"{models}:tiny", "--out", tmp_path / "out", *argv)
    assert said.code == 2
    assert len(said.err.splitlines()) == 1
    assert all(word in said.err for word in words), said.err
    assert not (tmp_path / "out").exists()


def test_compare_refuses_a_named_method_that_does_not_fit(
    run: Callable[..., Any], models: Path, photo: Path, tmp_path: Path
) -> None:
    said = run(
        "compare",
        photo,
        "--model",
        f"{models}:blind",
        "--methods",
        "occlusion,grad_cam",
        "--out",
        tmp_path / "out",
    )
    assert said.code == 2
    assert "only runs forward" in said.err
    assert not (tmp_path / "out").exists()


def test_evaluate_reads_what_explain_wrote(
    answer: Callable[..., Any], models: Path, photo: Path, tmp_path: Path
) -> None:
    spec, out = f"{models}:tiny", tmp_path / "out"
    for method in ("gradient", "occlusion"):
        answer("explain", photo, "--model", spec, "--method", method, "--target", "lemon", "--out", out)
    model, kept = load_model(spec), Attribution.open(out / "cat.occlusion")
    expected = evaluate(model, [photo], kept, seewhy.metrics.Insertion(steps=5), "lemon", baselines=False)
    photo.unlink()  # the maps' files are enough
    found = answer("evaluate", out, "--model", spec, "--steps", 5, "--metrics", "insertion")
    by_name = {m["name"]: m["metrics"]["insertion"] for m in found["methods"]}
    assert set(by_name) == {"gradient", "occlusion", "random", "centre", "edges"}
    assert by_name["occlusion"]["mean"] == pytest.approx(expected.rows[0].value, abs=1e-6)
    assert found["metrics"]["insertion"]["steps"] == 5
    again = answer(
        "evaluate", out / "cat.occlusion.json", "--model", spec, "--steps", 5, "--metrics", "insertion"
    )
    assert [m["name"] for m in again["methods"] if not m["baseline"]] == ["occlusion"]


def test_stored_pixels_are_the_models_input(
    answer: Callable[..., Any], models: Path, photo: Path, tmp_path: Path
) -> None:
    answer("explain", photo, "--model", f"{models}:tiny", "--method", "gradient", "--out", tmp_path / "out")
    model = load_model(f"{models}:tiny")
    rebuilt = inputs_of(Attribution.open(tmp_path / "out" / "cat.gradient"), model)
    assert (rebuilt.tensor - model.prepare([photo]).tensor).abs().max() < 1e-5


def test_evaluate_notes_other_weights(
    run: Callable[..., Any], models: Path, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run("explain", photo, "--model", f"{models}:tiny", "--method", "gradient", "--out", out)
    models.write_text(models.read_text().replace("manual_seed(0)", "manual_seed(1)"))
    said = run("evaluate", out, "--model", f"{models}:tiny", "--steps", 2)
    assert said.code == 0
    assert "other weights" in said.err


def test_evaluate_refuses(run: Callable[..., Any], models: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    (tmp_path / "bad.json").write_text("{}")
    for argv, word in (
        ((), "No file was given"),
        ((empty,), "no .safetensors"),
        ((tmp_path / "nowhere",), "does not exist"),
        ((tmp_path / "bad",), "bad"),
    ):
        said = run("evaluate", *argv, "--model", f"{models}:tiny")
        assert said.code == 2, said.err
        assert said.out == ""
        assert word in said.err
        assert len(said.err.splitlines()) == 1


def test_beating_the_baselines_follows_the_metrics_direction() -> None:
    values = {"good": (0.1, 0.9), "poor": (0.3, 0.4), "random": (0.2, 0.3), "centre": (0.25, 0.5)}
    rows = [
        Row("x", name, metric, value, name in ("random", "centre"))
        for name, pair in values.items()
        for metric, value in zip(("deletion", "insertion"), pair, strict=True)
    ]
    found = beats(Table(tuple(rows), {"deletion": False, "insertion": True}))
    assert found == {"good": ["deletion", "insertion"], "poor": []}
    # With the directions swapped (the planted bug) the answer must change.
    assert beats(Table(tuple(rows), {"deletion": True, "insertion": False})) != found


def test_evaluate_by_parameter_randomisation(
    run: Callable[..., Any], answer: Callable[..., Any], models: Path, photo: Path, tmp_path: Path
) -> None:
    spec, out = f"{models}:tiny", tmp_path / "o"
    assert run("explain", photo, "--model", spec, "--method", "gradient", "--out", out).code == 0
    metric = ("--metrics", "parameter_randomisation", "--steps", 2)
    asked = ("evaluate", *out.glob("*.safetensors"), "--model", spec, *metric)
    found = answer(*asked)
    assert found["metrics"]["parameter_randomisation"]["steps"] == 2
    means = {m["name"]: m["metrics"]["parameter_randomisation"]["mean"] for m in found["methods"]}
    assert means["gradient"] < 0.95
    assert all(means[name] == pytest.approx(1) for name in ("random", "centre", "edges"))
    assert "parameter_randomisation, lower is better" in run(*asked).out
