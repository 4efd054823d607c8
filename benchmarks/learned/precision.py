"""What half precision does to a training: `python -m benchmarks.learned.precision --material FILE`.

The slope of one step's loss with respect to the head, frozen networks in single precision and in bf16, on the
same pictures: the cosine between the two, and beside it the cosine between steps of different pictures, which
is what any step differs by. Near 1 in the first line says that half precision makes the same step; steps of
other pictures are far further apart, so that the first line alone does not say that the head is worse.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import seewhy
from benchmarks.learned.comparison import note
from benchmarks.learned.compositions import Compositions
from benchmarks.learned.material import split
from benchmarks.learned.photos import TRAIN, variants


def slope(trainee: Any, x: Tensor, kind: torch.dtype | None) -> Tensor:
    """Return the slope of a step's loss with respect to all weights of the head."""
    trainee.arithmetic = nullcontext() if kind is None else torch.autocast(x.device.type, kind)
    trainee.module.zero_grad()
    with torch.enable_grad():
        trainee.step(x).loss.backward()
    parts = [p.grad.flatten() for p in trainee.module.parameters() if p.grad is not None]
    return torch.cat(parts).clone()


def cosine(a: Tensor, b: Tensor) -> float:
    """Return the cosine between two slopes."""
    return float(torch.cosine_similarity(a.double(), b.double(), 0))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learned.precision")
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--model", default="mobilenet-v2")
    parser.add_argument("--auxiliary", default="mobilenet-v2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4)
    arguments = parser.parse_args()
    model = seewhy.load(arguments.model, device=arguments.device)
    parts = split(arguments.material)
    assert model.preprocess is not None
    source = Compositions(parts.train.to(arguments.device), model.preprocess, parts.fingerprint)
    training = variants(arguments.auxiliary, [], [], [], paper=False, ranked=True)["ours, ranked"]
    with model.untouched():
        trainee = training.begin(model, source.shape, len(model.labels or ()), TRAIN)
        trainee.module.to(arguments.device).train()
        found: dict[torch.dtype | None, list[Tensor]] = {None: [], torch.bfloat16: []}
        for step in range(arguments.steps):
            first = step * arguments.batch
            x = source.batch(TRAIN, torch.arange(first, first + arguments.batch, device=arguments.device))
            for kind, slopes in found.items():
                slopes.append(slope(trainee, x, kind))
    single, half = found.values()
    same = [cosine(a, b) for a, b in zip(single, half, strict=True)]
    other = [cosine(a, b) for a, b in pairwise(single)]
    note(f"fp32 and bf16, same pictures: {' '.join(f'{v:.3f}' for v in same)}")
    note(f"fp32, steps of different pictures: {' '.join(f'{v:.3f}' for v in other)}")


if __name__ == "__main__":
    main()
