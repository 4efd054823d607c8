"""`seewhy concepts dissect`: files, a store that goes on, and refusals."""

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


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Six photos in two folders, each with a bright square and a mask of it, and a damaged one."""
    draw = np.random.default_rng(0)
    for i in range(6):
        pixels = draw.integers(0, 60, (24, 20, 3)).astype(np.uint8)
        mask = np.zeros((24, 20), np.uint8)
        top, left = (int(v) for v in draw.integers(0, 12, 2))
        pixels[top : top + 8, left : left + 8, i % 2] = 250
        mask[top : top + 8, left : left + 8] = 255
        for kind, array in (("photos", pixels), ("masks", mask)):
            file = tmp_path / kind / ("lime" if i % 2 else "cherry") / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(file)
    (tmp_path / "photos" / "lime" / "broken.png").write_bytes(b"no")
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "masks" / "lime" / "broken.png")
    return f"{tmp_path / 'photos'}?masks={tmp_path / 'masks'}&labels=folders"


def test_dissect(run: Callable[..., Any], models: Path, data: str, tmp_path: Path) -> None:
    out, store = tmp_path / "out", tmp_path / "store"
    given = ("concepts", "dissect", data, "--model", f"{models}:tiny", "--layers", "1,3", "--out", out)
    said = run(*given, "--quantile", 0.1, "--threshold", 0, "--features", store, "--parquet", "--json")
    assert said.code == 0, said.err
    assert "broken.png" in said.err
    found = json.loads(said.out)
    assert found["photos"] == 6
    assert found["concepts"] == {"cherry": 3, "lime": 3}
    assert [u["channel"] for u in found["units"]] == [*range(6), *range(8)]
    assert found["detectors"].keys() == {"1", "3"}
    kept = json.loads((out / "dissection.json").read_text())
    assert {k: kept[k] for k in ("units", "settings", "detectors")} == {
        k: found[k] for k in ("units", "settings", "detectors")
    }
    with safe_open(out / "dissection.safetensors", "pt") as file:
        assert file.get_tensor("iou/3").shape == (8, 2)
        assert file.get_tensor("thresholds/1").shape == (6,)
    assert parquet.read_table(out / "dissection.parquet").to_pylist() == found["units"]
    page = (out / "dissection.html").read_text()
    assert "broken.png" in page
    assert page.count('<h2 id="layer-') == 2
    detectors = sum(n for counts in found["detectors"].values() for n in counts.values())
    assert page.count("<h3>cherry: ") + page.count("<h3>lime: ") == detectors > 1
    table = run(*given, "--quantile", 0.1, "--threshold", 0, "--features", store)
    assert table.code == 0
    assert "of 8 channels of 3 detect" in table.out


def test_nothing_detected_is_told(run: Callable[..., Any], models: Path, data: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = run(
        "concepts", "dissect", data, "--model", f"{models}:tiny", "--layers", "3", "--threshold", 0.99,
        "--out", out,
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "0 of 8 channels of 3 detect 0 of 2 concepts" in said.out
    assert not (out / "dissection.png").exists()
    assert "0 of 8 channels" in (out / "dissection.html").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--layers", "9"), "There is no such layer"),
        (("--quantile", "0"), "Give a quantile"),
        (("--count", "0"), "--count 0"),
        (("--rows", "0"), "Give a quantile"),
    ],
)
def test_bad_requests(
    run: Callable[..., Any], models: Path, data: str, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    said = run("concepts", "dissect", data, "--model", f"{models}:tiny", "--out", tmp_path / "o", *options)
    assert said.code == 2
    assert message in said.err
    assert not (tmp_path / "o").exists()


def test_photos_without_masks_are_refused(
    run: Callable[..., Any], models: Path, data: str, tmp_path: Path
) -> None:
    said = run("concepts", "dissect", tmp_path / "photos", "--model", f"{models}:tiny")
    assert said.code == 2
    assert "Give photos with masks" in said.err
