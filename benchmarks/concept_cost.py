"""What Visual-TCAV costs against the passes that it cannot do without: `python -m benchmarks.concept_cost`.

    python -m benchmarks.concept_cost                    # a small network on this processor
    python -m benchmarks.concept_cost --device cuda      # ResNet-50, 500 images, 3 classes, 2 layers

The floor is written with the network's own modules: one forward pass for each image, then, behind each layer,
51 steps of the integration forward and back for every image and class. Both take turns; medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from seewhy.concepts import VisualTCAV
from seewhy.errors import SeeWhyError
from seewhy.execution import Execution
from seewhy.models.model import Model

STEPS, CONCEPTS, CLASSES = 50, 5, (1, 2, 3)


def small() -> tuple[nn.Module, dict[str, nn.Module], int]:
    """Return a network of five convolutions, what follows two of its layers, and its input's side."""

    def stage(before: int, after: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]

    net = nn.Sequential(
        *stage(3, 16, 1), *stage(16, 32, 2), *stage(32, 48, 2), *stage(48, 64, 1), *stage(64, 64, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    return net.eval(), {"8": net[9:], "11": net[12:]}, 64


def resnet50() -> tuple[nn.Module, dict[str, nn.Module], int]:
    """Return torchvision's ResNet-50 without training, what follows its last two stages but one, and 224."""
    from torchvision.models import resnet50 as build

    net = build(weights=None).eval()
    end = nn.Sequential(net.avgpool, nn.Flatten(), net.fc)
    late = nn.Sequential(net.layer4[2], end)
    return net, {"layer3.4": nn.Sequential(net.layer3[5], net.layer4, end), "layer4.1": late}, 224


def floor(
    net: nn.Module,
    heads: dict[str, nn.Module],
    sets: list[Tensor],
    images: Tensor,
    batch: int,
    head_batch: int,
) -> None:
    """Do the bare passes."""
    kept: dict[str, Tensor] = {}
    hooks = [
        net.get_submodule(name).register_forward_hook(lambda _m, _i, o, name=name: kept.__setitem__(name, o))
        for name in heads
    ]
    device = next(net.parameters()).device
    try:
        with torch.no_grad():
            for part in torch.cat(sets).split(batch):
                net(part.to(device))
        for part in images.split(head_batch):
            with torch.no_grad():
                net(part.to(device))
            for name, head in heads.items():
                a = kept[name].detach()
                for step in range(STEPS + 1):
                    point = (a * (step / STEPS)).requires_grad_()
                    logits = head(point)
                    for k in CLASSES:
                        torch.autograd.grad(logits[:, k].sum(), point, retain_graph=k != CLASSES[-1])
    finally:
        for hook in hooks:
            hook.remove()
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object]) -> float:
    """Return how long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.concept_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, help="500 on accelerators, else 48")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cuda = options.device.startswith("cuda")
    torch.manual_seed(0)
    net, heads, side = resnet50() if cuda else small()
    net.to(options.device)
    for p in net.parameters():
        p.requires_grad_(False)
    count = options.images or (500 if cuda else 48)
    drawn = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, side, side, generator=drawn)
    concepts = {
        f"concept {i}": torch.randn(50, 3, side, side, generator=drawn) + i / 4 for i in range(CONCEPTS)
    }
    random = torch.randn(100, 3, side, side, generator=drawn)
    execution = Execution(batch_size=64)
    model = Model(net, kind="classes")
    method = VisualTCAV(layers=tuple(heads), steps=STEPS, accuracy_gate=0)
    try:
        taken: dict[str, list[float]] = {"floor": [], "one concept": [], "five concepts": []}
        one = {"concept 0": concepts["concept 0"]}
        sets = [*concepts.values(), random]
        for repeat in range(options.repeats + 1):
            bare = seconds(lambda: floor(net, heads, sets, images, 64, 64))
            whole = seconds(lambda: method(model, concepts, random, images, list(CLASSES), execution))
            alone = seconds(lambda: method(model, one, random, images, list(CLASSES), execution))
            if repeat:  # the first warms up
                for name, value in zip(taken, (bare, alone, whole), strict=True):
                    taken[name].append(value)
    except SeeWhyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    where = torch.cuda.get_device_name() if cuda else f"processor, {torch.get_num_threads()} threads"
    medians = {name: statistics.median(values) for name, values in taken.items()}
    print(f"{where}; {count} images x {CONCEPTS} concepts x {len(CLASSES)} classes x 2 layers")
    print("| | seconds | of the floor |\n|---|---|---|")
    for name, value in medians.items():
        print(f"| {name} | {value:.2f} | {value / medians['floor']:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
