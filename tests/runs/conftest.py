"""A tiny network in a file, a folder of small photos, and a plan for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.runs import Plan
from seewhy.runs.here_engine import Here
from seewhy.runs.run import benchmark
from seewhy.runs.study import Study

NETWORK = """
import torch
from torch import nn
from seewhy import Model, Preprocessing


def tiny():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )
    net.train()
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(16, 3, 16, 16) * 2 + 0.3)
    labels = ["tabby", "tiger cat", "espresso", "lemon", "rocket"]
    look = Preprocessing(size=(16, 16), fit="squash")
    return Model(net.eval(), preprocess=look, labels=labels, name="tiny")
"""


def furnish(folder: Path) -> None:
    """Write the network and five photos into a folder."""
    (folder / "net.py").write_text(NETWORK)
    (folder / "photos").mkdir()
    for i in range(5):
        paint(folder / "photos" / f"{i}.png", i)


def paint(path: Path, seed: int) -> Path:
    """Write a small random picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def plan_in(folder: Path, **keys: object) -> Plan:
    """Return the plan of a folder; keywords replace its keys."""
    usual = {
        "model": f"{folder / 'net.py'}:tiny",
        "data": str(folder / "photos"),
        "methods": "gradient,grad_cam",
        "metrics": "deletion?steps=40,insertion?steps=10,adcc",
        "chunk": 2,
    }
    return Plan.make(**{**usual, **keys})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The folder of photos."""
    return tmp_path / "photos"


@pytest.fixture
def plan(tmp_path: Path) -> Callable[..., Plan]:
    """Make a plan; keywords replace its keys."""
    furnish(tmp_path)
    return partial(plan_in, tmp_path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study of the plan, run in peace."""
    folder = tmp_path_factory.mktemp("whole")
    furnish(folder)
    return benchmark(plan_in(folder), folder / "out", engine=Here(), allow_code=True)
