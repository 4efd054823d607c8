"""After the table the command line says which metrics can be believed, in words and in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from seewhy.cli.faithfulness import print_scores, reliability_json
from seewhy.metrics.table import Row, Table


@pytest.fixture
def explained(run: Callable[..., Any], models: Path, photo: Path, tmp_path: Path) -> Path:
    out = tmp_path / "out"
    for i in range(3):
        other = tmp_path / f"photo-{i}.png"
        Image.open(photo).rotate(90 * i).save(other)
        said = run("explain", other, "--model", f"{models}:tiny", "--method", "gradient", "--out", out)
        assert said.code == 0, said.err
    return out


def test_evaluate_says_which_metrics_to_believe(
    run: Callable[..., Any], models: Path, explained: Path
) -> None:
    asked = (
        "evaluate",
        explained,
        "--model",
        f"{models}:tiny",
        "--steps",
        4,
        "--metrics",
        "insertion,deletion",
    )
    said = run(*asked)
    assert said.code == 0, said.err
    for metric in ("insertion", "deletion"):
        assert f"{metric} tells nothing apart on these 3 samples." in said.out
    assert "To tell any of 6 pairs apart takes 8 samples at least." in said.out
    found = json.loads(run(*asked, "--json").out)["reliability"]
    assert [f["metric"] for f in found] == ["insertion", "deletion"]
    assert {f["verdict"] for f in found} == {"tells nothing apart"}
    assert set(found[0]["places"]) == {"gradient", "random", "centre", "edges"}
    assert found[0]["not_above_random"] == ["gradient"]


def test_one_photo_is_no_jury(capsys: pytest.CaptureFixture[str]) -> None:
    rows = tuple(Row("a", m, "insertion", 0.5, m == "random") for m in ("gradient", "random"))
    table = Table(rows, {"insertion": True})
    print_scores(table)
    assert "apart" not in capsys.readouterr().out
    assert reliability_json(table) == []


def test_samples_that_all_tie_are_null_and_not_nan() -> None:
    rows = tuple(Row(s, m, "insertion", 0.5, m == "random") for s in "abc" for m in ("gradient", "random"))
    found = reliability_json(Table(rows, {"insertion": True}))
    assert json.loads(json.dumps(found, allow_nan=False))[0]["agreement"] is None
    assert found[0]["verdict"] == "tells nothing apart"
