"""What Visual-TCAV costs against the passes that it cannot do without: `python -m benchmarks.concept_cost`.

    python -m benchmarks.concept_cost                    # EfficientNet-Lite0 on this processor, 24 images
    python -m benchmarks.concept_cost --images 500       # the whole of it: an hour or so on two cores
    python -m benchmarks.concept_cost --device cuda      # ResNet-50, 500 images

5 concepts of 50 images and 100 random ones, 3 classes, 2 late layers, 50 steps; images are crops of
scikit-image's photos (noise for ResNet-50, whose weights are drawn). The floor is written with the network's
own modules: one forward pass for each image, then, behind each layer, 51 steps of the integration forward and
back for every image and class. Both run in one process and take turns batch by batch, with the same batches;
what is left over at the end (vectors, draws, random concepts) is in the first number.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

import seewhy
from seewhy.concepts import VisualTCAV
from seewhy.errors import SeeWhyError
from seewhy.execution import Execution
from seewhy.models.model import Model

Times: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

STEPS, CONCEPTS, EXAMPLES, RANDOM, CLASSES = 50, 5, 50, 100, (281, 340, 967)


@dataclass(frozen=True)
class Case:
    """A network, what follows two of its layers, and a function from a seed to that many inputs."""

    model: Model
    heads: Mapping[str, nn.Module]
    draw: Callable[[int, int], Tensor]


def efficientnet() -> Case:
    """Return EfficientNet-Lite0 and crops of photos."""
    from benchmarks.concept_sets import PHOTOS, crop, data

    model = seewhy.load("efficientnet-lite0")
    parts = dict(model.module.named_children())
    blocks = list(parts["_blocks"].children())
    end = [*(parts[k] for k in ("_conv_head", "_bn1", "_swish", "_avg_pooling")), nn.Flatten(), parts["_fc"]]
    photos = [data(name) for name in PHOTOS]

    def draw(seed: int, count: int) -> Tensor:
        rng = np.random.default_rng(seed)
        crops = [crop(photos[int(rng.integers(len(photos)))], rng) for _ in range(count)]
        return torch.cat([model.prepare(crops[i : i + 16]).tensor for i in range(0, count, 16)])

    heads = {f"_blocks.{i}": nn.Sequential(*blocks[i + 1 :], *end) for i in (13, 15)}
    return Case(model, heads, draw)


def resnet50() -> Case:
    """Return torchvision's ResNet-50 without training, and noise."""
    from torchvision.models import resnet50 as build

    torch.manual_seed(0)
    net = build(weights=None).eval()
    end = nn.Sequential(net.avgpool, nn.Flatten(), net.fc)
    heads = {"layer3.4": nn.Sequential(net.layer3[5], net.layer4, end)}
    heads["layer4.1"] = nn.Sequential(net.layer4[2], end)

    def draw(seed: int, count: int) -> Tensor:
        return torch.randn(count, 3, 224, 224, generator=torch.Generator().manual_seed(seed))

    return Case(Model(net, kind="classes"), heads, draw)


def floor(case: Case, sets: list[Tensor], images: Tensor, batch: int) -> Iterator[None]:
    """Do the bare passes, a batch a step."""
    net = case.model.module
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _module, _inputs, output: kept.__setitem__(name, output)

    def forward(x: Tensor) -> Tensor:
        hooks = [net.get_submodule(name).register_forward_hook(keep(name)) for name in case.heads]
        try:
            with torch.no_grad():
                answer: Tensor = net(x.to(device))
                return answer
        finally:
            for hook in hooks:
                hook.remove()

    device = next(net.parameters()).device
    for each in sets:
        for part in each.split(batch):
            forward(part)
            yield
    for part in images.split(batch):
        forward(part)
        for name, head in case.heads.items():
            a = kept[name].detach()
            for step in range(STEPS + 1):
                with torch.enable_grad():
                    point = (a * (step / STEPS)).requires_grad_()
                    logits = head(point)
                for k in CLASSES:
                    torch.autograd.grad(logits[:, k].sum(), point, retain_graph=k != CLASSES[-1])
        yield


def same(case: Case, x: Tensor) -> None:
    """Make sure that each head answers what the network answers."""
    with case.model.untouched(), torch.no_grad():
        answer = case.model.answer(x.to(case.model.device), tuple(case.heads))
        for name, head in case.heads.items():
            torch.testing.assert_close(head(answer.activations[name]), answer.output, rtol=1e-3, atol=1e-3)


class Turns:
    """Clocks of which one runs: that of the caller, or in each step that of the floor.

    Each is a pair: seconds that passed, and seconds of the processor, which neighbours on a machine take none
    of.
    """

    def __init__(self, bare: Iterator[None], synchronise: Callable[[], object]) -> None:
        self.bare, self.synchronise = bare, synchronise
        self.ours, self.floor = np.zeros(2), np.zeros(2)
        self.since = self.now()

    def now(self) -> Times:
        """Return the times at which all that was asked is done."""
        self.synchronise()
        return np.array([time.perf_counter(), time.process_time()])

    def step(self, done: int, total: int, what: str) -> None:
        """Stop the caller's clock, do a batch of the floor, go on."""
        self.ours += self.now() - self.since
        start = self.now()
        next(self.bare, None)
        self.floor += self.now() - start
        if done % 40 == 0:
            passed, worked = self.ours / self.floor
            print(f"{what} {done} of {total}: {passed:.3f}, {worked:.3f}", file=sys.stderr, flush=True)
        self.since = self.now()

    def end(self) -> None:
        """Stop both; what is left of the floor counts."""
        self.ours += self.now() - self.since
        start = self.now()
        for _ in self.bare:
            pass
        self.floor += self.now() - start


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.concept_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, help="500 on accelerators, else 24")
    parser.add_argument("--batch", type=int, help="64 on accelerators, else 8")
    parser.add_argument("--threads", type=int, default=1, help="of the processor (1)")
    options = parser.parse_args()
    cuda = options.device.startswith("cuda")
    torch.set_num_threads(options.threads)
    count, batch = options.images or (500 if cuda else 24), options.batch or (64 if cuda else 8)
    case = resnet50() if cuda else efficientnet()
    case.model.module.to(options.device)
    for p in case.model.module.parameters():
        p.requires_grad_(False)
    try:
        images = case.draw(0, count)
        concepts = {f"concept {i}": case.draw(1 + i, EXAMPLES) for i in range(CONCEPTS)}
        random = case.draw(99, RANDOM)
        same(case, images[:2])
        method = VisualTCAV(layers=tuple(case.heads), steps=STEPS, accuracy_gate=0)
        synchronise = torch.cuda.synchronize if cuda else lambda: None
        for some, part in ((8, images[:batch]), (len(random), images)):  # the first warms up
            known = {name: examples[:some] for name, examples in concepts.items()}
            turns = Turns(floor(case, [*known.values(), random[:some]], part, batch), synchronise)
            execution = Execution(batch_size=batch, progress=turns.step)
            found = method(case.model, known, random[:some], part, list(CLASSES), execution)
            turns.end()
    except SeeWhyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    where = torch.cuda.get_device_name() if cuda else f"processor, {torch.get_num_threads()} threads"
    print(
        f"{where}; {count} images x {CONCEPTS} concepts x {len(CLASSES)} classes x {len(case.heads)} layers"
    )
    print("| | seconds | of the floor | of the processor | of the floor |\n|---|---|---|---|---|")
    for name, value in (("floor", turns.floor), ("Visual-TCAV", turns.ours)):
        (passed, worked), (p, w) = value, value / turns.floor
        print(f"| {name} | {passed:.2f} | {p:.3f} | {worked:.2f} | {w:.3f} |")
    passes = found.provenance["passes"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"passes {passes}; batches of {batch}; peak memory {peak:.2f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
