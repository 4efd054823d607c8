"""`seewhy concepts name`: a small random CLIP in, files out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import save_file

from small_clip import WORDS, save_clip


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for i in range(24):
        pixels = np.random.default_rng(i).integers(0, 256, (24, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture
def words(tmp_path: Path) -> Path:
    (tmp_path / "words.txt").write_text("\n".join([*WORDS[3:], "", "dog"]) + "\n")
    return tmp_path / "words.txt"


def test_name(run: Callable[..., Any], models: Path, photos: Path, words: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(b"no")
    out, clip = tmp_path / "out", save_clip(tmp_path / "clip")
    given = ("concepts", "name", photos, "--encoder", f"hf:{clip}", "--words", words, "--out", out)
    given = (*given, "--model", f"{models}:tiny")
    said = run(*given, "--layer", "3", "--parquet", "--json")
    assert said.code == 0, said.err
    assert "broken.png" in said.err
    found = json.loads(said.out)
    assert (found["photos"], found["words"], len(found["names"])) == (24, 4, 8)
    assert json.loads((out / "names.json").read_text()) == found
    assert [r["word"] for r in parquet.read_table(out / "names.parquet").to_pylist()] == [
        n["word"] for n in found["names"]
    ]
    page = (out / "names.html").read_text()
    assert page.count("<h3>") == 8 + 1
    assert ("no better than chance" in page) == (not all(n["named"] for n in found["names"]))
    assert (out / "names.png").is_file()
    save_file({"directions": torch.eye(8)[:3]}, tmp_path / "d.safetensors", {"layer": "3"})
    table = run(*given, "--directions", tmp_path / "d.safetensors", "--show", 2)
    assert table.code == 0, table.err
    assert "3 directions of 3" in " ".join(table.out.split())


def test_bad_requests(
    run: Callable[..., Any], models: Path, photos: Path, words: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine2.py"
    file.write_text("def three():\n    return 3\n")
    (tmp_path / "one.txt").write_text("dog")
    save_file({"directions": torch.eye(8)[:3]}, tmp_path / "d.safetensors", {"layer": "3"})
    for options, message in (
        (("--encoder", f"{file}:three", "--words", words), "It returned int"),
        (("--encoder", "clip", "--words", words), "no such encoder"),
        (("--encoder", f"{file}:three", "--words", tmp_path / "none.txt"), "cannot be read"),
        (("--encoder", f"{file}:three", "--words", words, "--show", -1), "--show -1"),
        (("--encoder", f"{file}:three", "--words", words, "--directions", words), "It holds none"),
        (
            ("--encoder", f"{file}:three", "--words", words, "--layer", "1", "--directions",
             tmp_path / "d.safetensors"),
            "Leave --layer out",
        ),
    ):  # fmt: skip
        said = run("concepts", "name", photos, "--model", f"{models}:tiny", "--out", tmp_path / "o", *options)
        assert said.code == 2, said.err
        assert message in said.err
        assert not (tmp_path / "o").exists()
