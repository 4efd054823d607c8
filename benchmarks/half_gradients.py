"""Why integrated gradients stay in single precision: `python -m benchmarks.half_gradients`.

Integrated gradients of real photos for the model's answer, from the network itself, from its folded copy in
single precision, and from that copy in half precision: rank correlation with the network's own map, and the
distance in parts of its length. Half precision is quicker on processors that multiply it natively; this says
what it would cost.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

import seewhy
from seewhy.agreement import Agreement
from seewhy.inputs.photos import demo_photos
from seewhy.methods.gradient.integrated_gradients import RULES
from seewhy.models.replica import replicate


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
    parser.add_argument("--models", nargs="*", default=["efficientnet-lite0", "mobilenet-v2"])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    print("| model | arithmetic | photos | rank correlation, median | lowest | distance, median |")
    print("|---|---|---|---|---|---|")
    for name in arguments.models:
        model = seewhy.load(name, device=arguments.device)
        x = model.prepare(list(demo_photos().values())).tensor.to(arguments.device)
        with model.untouched():
            classes = model.answer(x).output.argmax(1).tolist()
            own = [one(model.module, x, i, c, arguments.steps, torch.float32) for i, c in enumerate(classes)]
            for dtype in (torch.float32, torch.bfloat16):
                copy = replicate(model.module, x, dtype, fold=True).module
                maps = [one(copy, x, i, c, arguments.steps, dtype) for i, c in enumerate(classes)]
                ranks = [float(Agreement.of(a, b).spearman) for a, b in zip(own, maps, strict=True)]
                gaps = [float((b - a).norm() / a.norm()) for a, b in zip(own, maps, strict=True)]
                kind = str(dtype).removeprefix("torch.")
                print(
                    f"| {name} | {kind}, folded | {len(x)} | {median(ranks):.4f} | {min(ranks):.4f} | "
                    f"{median(gaps):.4f} |",
                    flush=True,
                )


def one(
    net: Callable[[Tensor], Tensor], x: Tensor, i: int, of: int, steps: int, dtype: torch.dtype
) -> Tensor:
    """Return the map of one of many inputs."""
    return integrated(net, x[i : i + 1], of, steps, dtype)


if __name__ == "__main__":
    main()
