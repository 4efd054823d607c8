"""Folders for the run and concept views: photos, a small benchmark, concepts. `python material.py OUT`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from seewhy.inputs.photos import demo_photos


def photos(folder: Path) -> None:
    """Write the demo's photos, and a part of each."""
    folder.mkdir(parents=True)
    for name, path in demo_photos().items():
        with Image.open(path) as opened:
            photo = opened.convert("RGB")
        width, height = photo.size
        photo.resize((320, 240)).save(folder / f"{name}.jpg")
        photo.crop((width // 5, 0, width, height)).resize((240, 320)).save(folder / f"{name}-part.jpg")


def textures(folder: Path) -> None:
    """Write stripes and dots, and images of nothing in particular."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    for i in range(8):
        period, colours = rng.uniform(6, 14), rng.integers(0, 255, (2, 3))
        waves = np.sin(2 * np.pi * x / period), np.sin(2 * np.pi * y / period)
        turned = np.sin(2 * np.pi * (x * np.cos(i) + y * np.sin(i)) / period)
        for name, where in (("stripes", turned > 0), ("dots", waves[0] * waves[1] > 0.2)):
            (folder / "concepts" / name).mkdir(parents=True, exist_ok=True)
            picture = np.where(where[..., None], colours[0], colours[1]).astype(np.uint8)
            Image.fromarray(picture).save(folder / "concepts" / name / f"{i}.png")
    (folder / "random").mkdir()
    for i in range(16):
        noise = Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8))
        noise.resize((96, 96), Image.Resampling.BICUBIC).save(folder / "random" / f"{i}.png")


def make(folder: Path) -> Path:
    """Fill a folder and return it."""
    photos(folder / "photos")
    textures(folder)
    for words in (
        "benchmark --data photos --methods grad_cam,eigen_cam --metrics deletion?steps=4,insertion?steps=4 "
        "--engine here --out run",
        "concepts visual-tcav photos --concepts concepts --random random --steps 3 --out found",
    ):
        told = subprocess.run(
            [sys.executable, "-m", "seewhy", *words.split()],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
    return folder


if __name__ == "__main__":
    make(Path(sys.argv[1]))
