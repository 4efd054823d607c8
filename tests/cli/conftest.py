"""A tiny classifier in a file of its own, as a user would write one, and a photo to go with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.__main__ import main

TINY = """
import torch
from torch import nn
from seewhy import Model, Preprocessing

LABELS = ["tabby", "tiger cat", "espresso", "lemon", "rocket"]
LOOK = Preprocessing(size=(16, 16), fit="squash")


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).eval()


def tiny():
    return Model(net(), preprocess=LOOK, labels=LABELS, name="tiny")


def blind():
    return Model(net(), preprocess=LOOK, labels=LABELS, name="blind", differentiable=False)


def broken():
    module = net()
    with torch.no_grad():
        module[2].weight[0, 0, 0, 0] = float("nan")
    return Model(module, preprocess=LOOK, labels=LABELS, name="broken")


class Explodes(nn.Module):
    def forward(self, x):
        raise ZeroDivisionError("the network divided by zero")


def explodes():
    return Model(Explodes(), preprocess=LOOK, name="explodes")
"""


@dataclass
class Said:
    """What one command answered."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run the command line in this process."""

    def call(*argv: object) -> Said:
        capsys.readouterr()
        code = main([str(a) for a in argv])
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A file of model functions: `f"{models}:tiny"` is a spec."""
    file = tmp_path / "mine.py"
    file.write_text(TINY)
    return file


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return paint(tmp_path / "cat.png", 0)


def paint(path: Path, seed: int) -> Path:
    """Write a small random picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path
