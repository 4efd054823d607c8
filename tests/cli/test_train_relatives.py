"""`seewhy train` with L-CAM and real-time saliency, then `explain` and `watch` with what it wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

AUXILIARY = "timm:test_resnet?pretrained=false&size=32&seed=1"


@pytest.mark.parametrize(
    ("method", "flags"),
    [
        ("tame", ("--ce", 1.0)),
        ("lcam", ("--hide", "features", "--layer", "2")),
        ("realtime_saliency", ("--auxiliary", AUXILIARY, "--objective", "probability", "--selector", 0.5)),
    ],
)
def test_train_then_explain_then_watch(
    run: Callable[..., Any], models: Path, tmp_path: Path, method: str, flags: tuple[object, ...]
) -> None:
    data = tmp_path / "photos"
    data.mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (24, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / f"{i}.png")
    out, model = tmp_path / "e.safetensors", ("--model", f"{models}:tiny")
    plan = ("--data", data, "--out", out, "--steps", 4, "--batch", 4, "--precision", "fp32", "--json")
    said = run("train", method, *model, *flags, *plan)
    assert said.code == 0, said.err
    answer = json.loads(said.out)
    assert answer["method"] == method
    assert answer["settings"][str(flags[0]).removeprefix("--")] == flags[1]
    assert answer["coverage"]["images"] <= 16
    asked = ("--method", method, "--explainer", out, *model)
    said = run("explain", data / "0.png", *asked, "--out", tmp_path / "maps", "--json")
    assert said.code == 0, said.err
    assert "trained this explainer" in said.err
    said = run("watch", data, *asked, "--frames", 2, "--out", tmp_path / "frames", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["frames"] == 2
