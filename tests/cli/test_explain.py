"""`seewhy explain`: the contract's JSON, files that are whole, the same bits twice, Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from seewhy.attribution import Attribution


def paint(path: Path, seed: int) -> Path:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (24, 20, 3), generator=generator, dtype=torch.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels.numpy()).save(path)
    return path


@pytest.fixture
def explain(run: Callable[..., Any], models: Path, tmp_path: Path) -> Callable[..., Any]:
    """Explain with the tiny model and return the parsed JSON."""

    def call(*argv: object) -> dict[str, Any]:
        said = run("explain", *argv, "--model", f"{models}:tiny", "--json")
        assert said.code == 0, said.err
        assert said.err == ""
        answer: dict[str, Any] = json.loads(said.out)
        return answer

    return call


def check_contract(answer: dict[str, Any]) -> None:
    assert set(answer) == {"model", "method", "parameters", "inputs"}
    assert isinstance(answer["model"], str)
    assert isinstance(answer["method"], str)
    assert isinstance(answer["parameters"], dict)
    for entry in answer["inputs"]:
        assert set(entry) == {"path", "predictions", "target", "score", "map", "overlay", "seconds", "passes"}
        assert set(entry["target"]) == {"label", "index"}
        assert set(entry["passes"]) == {"forward", "backward"}
        assert entry["seconds"] > 0
        probabilities = [p["probability"] for p in entry["predictions"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert all(set(p) == {"label", "index", "probability"} for p in entry["predictions"])
        with Image.open(entry["overlay"]) as picture:
            assert picture.format == "PNG"
        assert Attribution.open(entry["map"]).provenance["inputs"][0]["path"] == entry["path"]


def test_json_is_the_contract(explain: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    answer = explain(
        photo, "--method", "smooth_grad", "--samples", "3", "--seed", "5", "--out", tmp_path / "out"
    )
    check_contract(answer)
    assert answer["method"] == "smooth_grad"
    assert answer["parameters"]["samples"] == 3
    assert len(answer["inputs"][0]["predictions"]) == 5
    assert answer["inputs"][0]["target"]["label"] == answer["inputs"][0]["predictions"][0]["label"]
    opened = Attribution.open(answer["inputs"][0]["map"])
    assert opened.provenance["execution"]["seed"] == 5
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "cat.smooth_grad.json", "cat.smooth_grad.png", "cat.smooth_grad.safetensors",
    ]  # fmt: skip


def test_same_call_twice_same_bits_other_seed_other_bits(
    explain: Callable[..., Any], photo: Path, tmp_path: Path
) -> None:
    def tensors(folder: str, seed: int) -> bytes:
        answer = explain(
            photo, "--method", "smooth_grad", "--samples", "4", "--seed", seed, "--out", tmp_path / folder
        )
        return Path(answer["inputs"][0]["map"]).read_bytes()

    assert tensors("a", 1) == tensors("b", 1)
    assert tensors("a", 1) != tensors("c", 2)


def test_several_photos_equal_single_calls_and_stems_do_not_collide(
    explain: Callable[..., Any], tmp_path: Path
) -> None:
    photos = [paint(tmp_path / name, i) for i, name in enumerate(["a/cat.png", "b/cat.png", "c/CAT.png"])]
    together = explain(*photos, "--method", "integrated_gradients", "--out", tmp_path / "all")
    check_contract(together)
    assert [Path(e["map"]).name for e in together["inputs"]] == [
        "cat.integrated_gradients.safetensors",
        "cat-2.integrated_gradients.safetensors",
        "CAT-3.integrated_gradients.safetensors",
    ]
    for entry, photo in zip(together["inputs"], photos, strict=True):
        single = explain(photo, "--method", "integrated_gradients", "--out", tmp_path / "one")
        mine, alone = Attribution.open(entry["map"]), Attribution.open(single["inputs"][0]["map"])
        assert (mine.values - alone.values).abs().max() <= 1e-5


@pytest.mark.parametrize("target", ["lemon", "3", "lemon vs tabby", "top 2"])
def test_targets(explain: Callable[..., Any], photo: Path, tmp_path: Path, target: str) -> None:
    answer = explain(photo, "--method", "gradient", "--target", target, "--out", tmp_path / "out")
    found = answer["inputs"][0]
    if target == "top 2":
        assert found["target"]["index"] == found["predictions"][1]["index"]
    elif "vs" in target:
        assert found["target"]["index"] is None
        assert "lemon" in found["target"]["label"]
    else:
        assert found["target"] == {"label": "lemon", "index": 3}


def test_layer_is_a_parameter_of_grad_cam(explain: Callable[..., Any], photo: Path, tmp_path: Path) -> None:
    answer = explain(photo, "--layer", "1", "--no-relu", "--out", tmp_path / "out")
    assert answer["method"] == "grad_cam"
    assert answer["parameters"] == {"layer": "1", "relu": False}


def test_table_for_humans(run: Callable[..., Any], models: Path, photo: Path, tmp_path: Path) -> None:
    said = run("explain", photo, "--model", f"{models}:tiny", "--method", "gradient", "--out", tmp_path / "o")
    assert said.code == 0
    assert said.err == ""  # no progress where nobody looks
    for word in ("Gradient on ", "cat.png", " %", "2 + 1"):
        assert word in said.out


def test_method_help_shows_its_parameters_with_their_text(run: Callable[..., Any]) -> None:
    said = run("explain", "--method", "integrated_gradients", "--help")
    assert said.code == 0
    for word in ("--steps", "Nodes of the quadrature", "[default: 50]", "--baseline", "--batch-size"):
        assert word in said.out
    assert "--relu" not in said.out


def test_what_a_models_own_code_prints_stays_out_of_the_json(
    explain: Callable[..., Any], run: Callable[..., Any], models: Path, photo: Path, tmp_path: Path
) -> None:
    models.write_text(models.read_text() + "\nprint('hello from the file')\n")
    said = run(
        "explain", photo, "--model", f"{models}:tiny", "--method", "gradient", "--json", "--out", tmp_path
    )
    assert said.code == 0
    check_contract(json.loads(said.out))


def test_ctrl_c_keeps_what_is_finished(
    run: Callable[..., Any], models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seewhy.methods import METHODS

    cls = METHODS["gradient"]
    original, calls = cls.estimate, []

    def interrupted(self: Any, question: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, question)

    monkeypatch.setattr(cls, "estimate", interrupted)
    photos = [paint(tmp_path / f"p{i}.png", i) for i in range(4)]
    out = tmp_path / "out"
    said = run(
        "explain", *photos, "--model", f"{models}:tiny", "--method", "gradient", "--out", out, "--json"
    )
    assert said.code == 130
    assert said.out == ""
    assert "2 of 4 photos are finished and kept" in said.err
    assert "Traceback" not in said.err
    ends = ("json", "png", "safetensors")
    assert sorted(p.name for p in out.iterdir()) == [f"p{i}.gradient.{end}" for i in (0, 1) for end in ends]
    for i in (0, 1):
        assert Attribution.open(out / f"p{i}.gradient").values.isfinite().all()


@pytest.mark.parametrize("what", ["seewhy.attribution.Attribution.save", "seewhy.cli.explain.save_png"])
def test_a_failing_disk_leaves_no_half_result(
    run: Callable[..., Any],
    models: Path,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(what, full)
    out = tmp_path / "out"
    said = run("explain", photo, "--model", f"{models}:tiny", "--method", "gradient", "--out", out)
    assert said.code == 1
    assert "No space left" in said.err
    assert not out.exists() or list(out.iterdir()) == []


def test_progress_where_somebody_looks(
    run: Callable[..., Any], models: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    spec, out = f"{models}:tiny", tmp_path / "out"
    argv = ("explain", photo, "--model", spec, "--method", "rise", "--masks", "64", "--json", "--out", out)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run(*argv).err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    said = run(*argv)
    assert said.code == 0
    assert "cat.png" in said.err
    assert "masks" in said.err
    check_contract(json.loads(said.out))


@pytest.mark.real
def test_cat_with_the_real_network(run: Callable[..., Any], tmp_path: Path) -> None:
    from seewhy.inputs.photos import demo_photos

    cat = demo_photos()["cat"]
    maps = []
    for folder in ("a", "b"):
        said = run(
            "explain", cat, "--model", "efficientnet-lite0", "--method", "rise", "--masks", "40", "--json",
            "--out", tmp_path / folder,
        )  # fmt: skip
        assert said.code == 0, said.err
        answer = json.loads(said.out)
        check_contract(answer)
        assert answer["parameters"]["masks"] == 40
        maps.append(Path(answer["inputs"][0]["map"]).read_bytes())
    assert answer["inputs"][0]["predictions"][0]["index"] in range(281, 286)  # the domestic cats of ImageNet
    assert maps[0] == maps[1]
