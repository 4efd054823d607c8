"""The recipe of TAME, L-CAM and real-time saliency, on a tiny network and a few squares."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from benchmarks.learned.material import save
from benchmarks.learned.relatives import main
from PIL import Image

NETWORK = "timm:test_resnet?pretrained=false&size=32"


def test_the_recipe_trains_scores_draws_and_keeps_what_it_made(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0)
    found = {
        "photos": numbers.integers(0, 256, (16, 3, 256, 256), dtype=np.uint8),
        "objects": numbers.integers(0, 256, (6, 4, 144, 144), dtype=np.uint8),
        "origin": np.arange(16),
    }
    save(found, tmp_path / "m.npz")
    flags = ["--material", str(tmp_path / "m.npz"), "--model", NETWORK, "--auxiliary", f"{NETWORK}&seed=1"]
    sizes = [
        "--steps",
        "3",
        "--batch",
        "2",
        "--choice",
        "2",
        "--objects",
        "3",
        "--pictures",
        "1",
        "--sure",
        "0",
    ]
    asked = [*flags, *sizes, "--methods", "realtime_saliency", "--out", str(tmp_path)]
    main(asked)
    (written,) = tmp_path.glob("*-relatives.json")
    told = json.loads(written.read_text())
    assert set(told) == {"realtime_saliency"}
    assert told["realtime_saliency"]["held out"]["step"] == 3
    (picture,) = tmp_path.glob("*-relatives.png")
    with Image.open(picture) as drawn:
        assert drawn.width > 400
    files = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.safetensors")}
    assert len(files) == 1
    main(asked)
    assert {p: p.stat().st_mtime_ns for p in files} == files
