"""How much precision gradients need: `python -m benchmarks.half_gradients`.

Integrated gradients of real photos for the model's answer, from the network itself, from its packed copy in
single precision, from one whose gradients go back in half precision, and from one all in half precision: rank
correlation with the network's own map, and the distance in parts of its length. Half precision is quicker on
processors that multiply it natively; this says what it costs. Class activation maps follow, with all in half
precision, which who asks for it gets.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

import seewhy
from benchmarks.networks import network
from seewhy.agreement import Agreement
from seewhy.inputs.photos import demo_photos
from seewhy.methods.gradient.integrated_gradients import RULES
from seewhy.models.replica import packs, replicate
from seewhy.perturb.differentiation import HalfGradients

KINDS = (
    ("fp32", torch.float32, False),
    ("forward fp32, back bf16", torch.float32, True),
    ("bf16", torch.bfloat16, False),
)
"""What is compared: its name, the type of the copy, and whether its gradients go back in bf16."""


def integrated(
    answer: Callable[[Tensor], Tensor], x: Tensor, of: int, steps: int, dtype: torch.dtype
) -> Tensor:
    """Return the `(1, h, w)` map of class `of` for a `(1, c, h, w)` input; it starts at the mean colour."""
    total = torch.zeros_like(x)
    for node, weight in zip(*RULES["gauss_legendre"](steps), strict=True):
        at = (x * float(node)).to(dtype).requires_grad_()
        (slope,) = torch.autograd.grad(answer(at)[0, of].float(), at)
        total += float(weight) * slope.float()
    return (total * x).sum(1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.half_gradients")
    parser.add_argument("--models", nargs="*", default=["efficientnet-lite0", "mobilenet-v2", "resnet50"])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    print("| model | map and arithmetic | photos | rank correlation, median | lowest | distance, median |")
    print("|---|---|---|---|---|---|")
    for name in arguments.models:
        model = network(name, arguments.device)
        usual = network("efficientnet-lite0", "cpu") if model.preprocess is None else model
        x = usual.prepare(list(demo_photos().values())).tensor.to(arguments.device)
        with model.untouched():
            classes = model.answer(x).output.argmax(1).tolist()
            own = [one(model.module, x, i, c, arguments.steps, torch.float32) for i, c in enumerate(classes)]
            for kind, dtype, half in KINDS:
                copy = replicate(model.module, x, dtype, fold=True, fuse=packs(x.device)).module
                copy = HalfGradients(copy, every=True) if half else copy
                maps = [one(copy, x, i, c, arguments.steps, dtype) for i, c in enumerate(classes)]
                report(name, f"integrated gradients, {kind}", own, maps)
        for method in ("grad_cam", "hires_cam", "layer_cam"):
            pair = [
                seewhy.explain(model, x, method=method, target=classes, precision=p) for p in ("fp32", "bf16")
            ]
            report(name, f"{method}, bf16", *(list(found.native.split(1)) for found in pair))


def report(name: str, kind: str, own: list[Tensor], maps: list[Tensor]) -> None:
    """Print how far maps are off."""
    ranks = [float(Agreement.of(a, b).spearman) for a, b in zip(own, maps, strict=True)]
    gaps = [float((b - a).norm() / a.norm()) for a, b in zip(own, maps, strict=True)]
    print(
        f"| {name} | {kind} | {len(own)} | {median(ranks):.4f} | {min(ranks):.4f} | {median(gaps):.4f} |",
        flush=True,
    )


def one(
    net: Callable[[Tensor], Tensor], x: Tensor, i: int, of: int, steps: int, dtype: torch.dtype
) -> Tensor:
    """Return the map of one of many inputs."""
    return integrated(net, x[i : i + 1], of, steps, dtype)


if __name__ == "__main__":
    main()
