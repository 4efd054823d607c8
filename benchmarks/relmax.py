"""Relevance maximisation over 1,000 photos, killed on the way: `python -m benchmarks.relmax`.

Crops scikit-image's photos, collects the reference samples of two layers of EfficientNet-Lite0 in a process
of its own, kills it by signal 9 between two batches after 400 photos, and goes on in another. Counts images
that went forward and backward, prints the memory after 250, 500 and 1,000 photos, and compares the files byte
for byte with those of a run in peace (not with --quick).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

import seewhy
from benchmarks.concept_sets import PHOTOS, crop, data
from seewhy.concepts import Collecting, collect, collecting
from seewhy.concepts.tracing import traced
from seewhy.execution import Execution

LAYERS = ("_blocks.10", "_blocks.15")
MARKS = (250, 500, 1000)


def write_photos(folder: Path, count: int) -> list[Path]:
    """Write crops; return their paths. Those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    photos, paths = [data(name) for name in PHOTOS], []
    for i in range(count):
        paths.append(folder / f"{i:04}.jpg")
        if not paths[-1].exists():
            crop(photos[i % len(photos)], np.random.default_rng((70, i))).save(paths[-1], quality=92)
    return paths


def resident() -> float:
    """Return the memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run(photos: list[Path], folder: Path, killed_after: int) -> None:
    """Collect in this process; print what it took."""
    torch.set_num_threads(1)
    model = seewhy.load("efficientnet-lite0")
    passed, went_back = [0], [0]
    first = next(m for m in model.module.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_hook(lambda _m, inputs, _o: passed.__setitem__(0, passed[0] + len(inputs[0])))

    def counted(*args: Any, **options: Any) -> Any:
        seen = traced(*args, **options)
        seen.trace.answer.output.register_hook(lambda g: went_back.__setitem__(0, went_back[0] + len(g)))
        return seen

    patch.object(collecting, "traced", counted).start()  # until this process ends
    known: list[int] = []

    def progress(done: int, _total: int, _what: str) -> None:
        start = known[-1] if known else 0
        known.append(done)
        for mark in MARKS:
            if start < mark <= done:
                print(f"after {done} photos: {resident():.0f} MiB", flush=True)
        if killed_after and done >= killed_after:
            print(f"killed after {done}: {passed[0]} images forward, {went_back[0]} backward", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    began, worked = time.perf_counter(), time.process_time()
    execution = Execution(batch_size=8, progress=progress)
    collect(model, photos, Collecting(LAYERS, count=16), None, execution, folder, every=5.0)
    took = time.perf_counter() - began, time.process_time() - worked
    times = f"{took[0]:.0f} s, of the processor {took[1]:.0f} s"
    print(f"ended: {passed[0]} images forward, {went_back[0]} backward, {times}")


def main() -> int:
    """Print what was seen; return 1 where tables differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relmax", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/relmax"))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="without the run in peace")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    photos = write_photos(options.out / "photos", options.count)
    if options.child is not None:
        folder, killed_after = options.child
        run(photos, Path(folder), int(killed_after))
        return 0
    broken, whole = options.out / "broken", options.out / "whole"
    runs = [(broken, 400), (broken, 0)] + ([] if options.quick else [(whole, 0)])
    for folder in {f for f, _ in runs}:
        shutil.rmtree(folder, ignore_errors=True)
    for folder, killed_after in runs:
        command = [sys.executable, "-m", "benchmarks.relmax", "--out", str(options.out)]
        more = ["--count", str(options.count), "--child", str(folder), str(killed_after)]
        print(f"{folder.name}:", flush=True)
        subprocess.run([*command, *more], check=not killed_after)
    if options.quick:
        return 0
    names = sorted(p.name for p in whole.iterdir())
    differ = [n for n in names if (broken / n).read_bytes() != (whole / n).read_bytes()]
    print(f"{len(names)} files, {len(differ)} of them other than those of the run in peace {differ or ''}")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
