"""How far maps are from single precision on an accelerator: `python -m benchmarks.tensor_float`.

torch lets convolutions there work in TensorFloat-32, which has three decimal digits. Maps of the network as
it runs, and of the copy that SeeWhy asks for them, are compared with the network's own in true single
precision.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from torch import Tensor

import seewhy
from benchmarks.networks import network
from seewhy.agreement import Agreement
from seewhy.inputs.photos import demo_photos
from seewhy.models.model import Model
from seewhy.models.tensor_float import without_tensor_float

METHODS = ("grad_cam", "integrated_gradients", "ablation_cam")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensor_float")
    parser.add_argument("--models", nargs="*", default=["resnet50", "efficientnet-lite0"])
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    print("| model | method | who | rank correlation, lowest of the photos | distance |")
    print("|---|---|---|---|---|")
    for name in arguments.models:
        model = network(name, arguments.device)
        usual = network("efficientnet-lite0", "cpu") if model.preprocess is None else model
        x = usual.prepare(list(demo_photos().values())).tensor.to(arguments.device)
        with model.untouched(), torch.no_grad():
            classes = model.answer(x).output.argmax(1).tolist()
        for method in METHODS:
            made = partial(maps, model, x, method, classes)
            with without_tensor_float():
                exact, copied = made("fp32"), made("auto")
            report(name, method, "the copy, single precision", exact, copied)
            report(name, method, "the network, TensorFloat-32", exact, made("fp32"))
            report(name, method, "the copy, TensorFloat-32", exact, made("auto"))


def maps(model: Model, x: Tensor, method: str, classes: list[int], precision: str) -> Tensor:
    """Return `(n, *cells)` maps."""
    return seewhy.explain(model, x, method, classes, precision=precision).native


def report(name: str, method: str, who: str, exact: Tensor, found: Tensor) -> None:
    """Print how far maps are off."""
    rank = float(Agreement.of(exact, found).spearman.min())
    gap = float((found - exact).norm() / exact.norm())
    print(f"| {name} | {method} | {who} | {rank:.5f} | {gap:.1e} |", flush=True)


if __name__ == "__main__":
    main()
