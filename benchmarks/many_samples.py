"""Does memory grow with the number of samples: `python -m benchmarks.many_samples`.

Runs 3 methods by 3 metrics with a tiny network on 1,000 and on 10,000 synthetic pictures, and prints for each
run the peak memory of the process that hands out work and the largest of its workers, the time, the size of
the run folder, and how long the study takes to open.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from seewhy.runs.study import open_study

NETWORK = """
import torch
from torch import nn
from seewhy import Model, Preprocessing


def tiny():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).eval()
    return Model(net, preprocess=Preprocessing(size=(16, 16), fit="squash"))
"""
RUN = """
import resource, sys
from seewhy.__main__ import main

code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
print("worker", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def paint(folder: Path, count: int) -> None:
    """Write pictures of one bright square each on noise."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for i in range(count):
        pixels = draw.integers(0, 128, (16, 16, 3), dtype=np.uint8)
        y, x = draw.integers(0, 12, 2)
        pixels[y : y + 4, x : x + 4] += 100
        Image.fromarray(pixels).save(folder / f"{i:05d}.png", compress_level=1)


def main() -> int:
    """Run the trial; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_samples", description=__doc__)
    parser.add_argument("--counts", default="1000,10000", help="numbers of samples (1000,10000)")
    parser.add_argument("--out", type=Path, default=Path("out/many-samples"), help="emptied first")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    counts = [int(count) for count in arguments.counts.split(",")]
    paint(out / "pictures", max(counts))
    (out / "net.py").write_text(NETWORK)
    for count in counts:
        flags = ["benchmark", "--model", f"{out}/net.py:tiny", "--data", str(out / "pictures")]
        flags += ["--samples", str(count), "--chunk", "64", "--out", str(out / str(count)), "--json"]
        flags += ["--methods", "gradient,grad_cam,occlusion?window=8&stride=8"]
        flags += ["--metrics", "deletion?steps=8,insertion?steps=8,increase_in_confidence"]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", RUN, *flags], capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return 1
        peaks = dict(line.split() for line in done.stderr.splitlines() if line[:4] in ("peak", "work"))
        size = sum(p.stat().st_size for p in (out / str(count)).rglob("*") if p.is_file()) / 2**20
        page = (out / str(count) / "leaderboard.html").stat().st_size / 2**20
        started = time.perf_counter()
        rows = len(open_study(out / str(count)).table)
        opened = time.perf_counter() - started
        print(
            f"{count} samples: {seconds:.0f} s; peak memory {int(peaks['peak']) / 1024:.0f} MiB, of a worker "
            f"{int(peaks['worker']) / 1024:.0f} MiB; folder {size:.1f} MiB, page {page:.2f} MiB; "
            f"{rows} rows read in {opened:.1f} s"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
