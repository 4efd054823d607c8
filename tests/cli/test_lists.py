"""`methods`, `metrics`, `layers`, `doctor`: arrays of objects with a name, and the reasons beside them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seewhy.cli import doctor


@pytest.fixture
def listed(run: Callable[..., Any]) -> Callable[..., dict[str, dict[str, Any]]]:
    def call(*argv: object) -> dict[str, dict[str, Any]]:
        said = run(*argv, "--json")
        assert said.code == 0, said.err
        assert said.err == ""
        entries = json.loads(said.out)
        assert isinstance(entries, list)
        assert all(isinstance(e["name"], str) for e in entries)
        return {e["name"]: e for e in entries}

    return call


def test_methods(listed: Callable[..., Any], models: Path) -> None:
    plain = listed("methods")
    assert {"gradient", "integrated_gradients", "grad_cam", "occlusion", "rise"} <= set(plain)
    assert plain["integrated_gradients"]["parameters"]["steps"] == 50
    assert plain["integrated_gradients"]["cost"] == {"forward": 52, "backward": 51}
    assert all(m["fits"] for m in plain.values())
    blind = listed("methods", "--model", f"{models}:blind")
    assert not blind["grad_cam"]["fits"]
    assert "only runs forward" in blind["grad_cam"]["reason"]
    assert blind["rise"]["fits"]


def test_metrics(listed: Callable[..., Any]) -> None:
    found = listed("metrics")
    assert found["deletion"]["higher_is_better"] is False
    assert found["insertion"]["higher_is_better"] is True
    assert found["insertion"]["bounds"] == [0, 1]
    assert found["nss"]["bounds"] == [None, None]


def test_layers_mark_the_default_and_say_why_not(listed: Callable[..., Any], models: Path) -> None:
    found = listed("layers", "--model", f"{models}:tiny")
    assert found["2"]["grid"] == [8, 8]
    assert found["2"]["shape"] == [8, 8, 8]
    assert [name for name, layer in found.items() if layer["default"]] == ["3"]
    assert found["6"]["grid"] is None
    assert not found["6"]["fits"]
    assert found["6"]["reason"]
    wide = listed("layers", "--model", f"{models}:tiny", "--size", "16x32")
    assert wide["2"]["grid"] == [8, 16]


@pytest.mark.parametrize("argv", [("methods",), ("metrics",), ("layers",), ("doctor",)])
def test_tables_for_humans(run: Callable[..., Any], models: Path, argv: tuple[str, ...]) -> None:
    extra = ("--model", f"{models}:tiny") if argv[0] in ("methods", "layers") else ()
    said = run(*argv, *extra)
    assert said.code == 0
    assert "Traceback" not in said.err
    assert {"methods": "grad_cam", "metrics": "deletion", "layers": "default: 3", "doctor": "torch"}[
        argv[0]
    ] in said.out


def test_doctor(listed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = listed("doctor")
    assert found["cpu"]["ok"]
    assert found["torch"]["found"].startswith("2.")
    monkeypatch.setattr(doctor, "_version", lambda package: None if package == "timm" else "1.0")
    found = listed("doctor")
    missing = found["models"]
    assert (missing["group"], missing["found"], missing["ok"]) == ("extras", "timm", False)
    assert missing["do"] == "pip install 'seewhy[models]'"
    assert found["onnx"]["ok"]


def test_doctor_knows_the_packages_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> tuple[str, ...]:
        return tuple(re.split(r"[<>=\[ ;]", r)[0] for r in requirements)

    assert names(project["dependencies"]) == doctor.CORE
    for extra, packages in doctor.EXTRAS.items():
        assert names(project["optional-dependencies"][extra]) == packages
