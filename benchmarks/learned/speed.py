"""What P-TAME costs: `python -m benchmarks.learned.speed --device cuda`. One run, in turn, medians.

A map against one forward pass of the auxiliary network, and against RISE with 4,000 masks, end to end; a step
of training against its floor: a clean forward pass of the explained model and a masked one, forward and
backward to the input, in the same arithmetic.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

import seewhy
from benchmarks.learned.photos import Json, note
from seewhy.execution import Execution
from seewhy.files import write_atomically
from seewhy.methods.learned.explainer import open_explainer
from seewhy.methods.learned.ptame import PTAME, head_of
from seewhy.training.attention import PTAMETraining
from seewhy.training.loop import arithmetic, train
from seewhy.training.schedule import Schedule
from seewhy.training.sources import Source
from seewhy.types import Batch, Size


class Noise(Source):
    """The same random inputs again and again: time does not depend on them."""

    def __init__(self, x: Batch) -> None:
        self.x = x

    @property
    def shape(self) -> Size:
        """See `Source.shape`."""
        return tuple(self.x.shape[1:])

    @property
    def fingerprint(self) -> str:
        """See `Source.fingerprint`."""
        return "noise"

    def batch(self, seed: int, indices: Tensor) -> Batch:
        """See `Source.batch`."""
        return self.x[indices % len(self.x)]

    def held_out(self) -> Batch:
        """See `Source.held_out`."""
        return self.x[:0]


def timed(work: Callable[[], object], device: str, repeats: int) -> float:
    """Return the median seconds of `work`, after one run that does not count."""
    found = []
    for _ in range(repeats + 1):
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def study(arguments: argparse.Namespace) -> Json:
    """Measure and return seconds."""
    device, batch = arguments.device, arguments.batch
    model, auxiliary = (seewhy.load(spec, device=device) for spec in (arguments.model, arguments.auxiliary))
    x = torch.randn(batch, 3, *(model.input_size() or (224, 224)), device=device)
    training, source = PTAMETraining(arguments.auxiliary), Noise(x)
    schedule = Schedule(2, batch, checkpoint=0)
    file = train(training, model, source, schedule, Execution(device=device)).save(arguments.out / "speed")
    method, one = PTAME(explainer=str(file)), x[:1]
    explainer = open_explainer(file)
    found: Json = {"batch": batch, "device": device, "torch": torch.__version__}
    for size, inputs in (("one", one), ("batch", x)):
        head, row = head_of(explainer, x.device)
        classes = row.to(device)[torch.zeros(len(inputs), dtype=torch.long, device=device)]

        def alone(inputs: Tensor = inputs) -> None:
            with torch.inference_mode():
                auxiliary.answer(inputs)

        def map_only(
            inputs: Tensor = inputs, classes: Tensor = classes, head: torch.nn.Module = head
        ) -> None:
            with torch.no_grad():
                head(method._features(explainer, inputs, model.preprocess), classes)

        found[f"auxiliary forward, {size}"] = timed(alone, device, arguments.repeats)
        found[f"features and head, {size}"] = timed(map_only, device, arguments.repeats)
        with model.untouched(), torch.inference_mode():
            found[f"model forward, {size}"] = timed(
                lambda i=inputs: model.answer(i), device, arguments.repeats
            )
        found[f"P-TAME end to end, {size}"] = timed(
            lambda i=inputs: method(model, i, 0), device, arguments.repeats
        )
        note(f"{size}: {found}")
    rise = timed(lambda: seewhy.explain(model, one, "rise", 0, masks=arguments.masks), device, 1)
    found[f"RISE end to end, one, {arguments.masks} masks"] = rise
    found["RISE over P-TAME, one"] = rise / found["P-TAME end to end, one"]
    found["RISE over P-TAME, batch"] = rise * batch / found["P-TAME end to end, batch"]
    kind = arithmetic("auto", torch.device(device))
    half = nullcontext() if kind is None else torch.autocast(torch.device(device).type, kind)

    def floor() -> None:
        with half, torch.no_grad():
            model.answer(x)
        masked = x.detach().clone().requires_grad_()
        with half:
            out = model.answer(masked).output
        torch.autograd.grad(out.float().sum(), masked)

    with model.untouched():
        found["training step, floor"] = timed(floor, device, arguments.repeats)
        with torch.no_grad(), half:
            found["training step, auxiliary forward"] = timed(
                lambda: auxiliary.answer(x), device, arguments.repeats
            )
    steps = arguments.repeats + 3
    seen: list[float] = []

    def progress(done: int, total: int, what: str) -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seen.append(time.perf_counter())

    train(
        training,
        model,
        source,
        Schedule(steps, batch, checkpoint=0),
        Execution(device=device, progress=progress),
    )
    found["training step"] = statistics.median(b - a for a, b in pairwise(seen[2:]))
    found["training step over floor"] = found["training step"] / found["training step, floor"]
    both = found["training step, floor"] + found["training step, auxiliary forward"]
    found["training step over floor and auxiliary forward"] = found["training step"] / both
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learned.speed")
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--auxiliary", default="mobilenet-v2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--masks", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("out/learned"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = study(arguments)
    write_atomically(arguments.out / "speed.json", json.dumps(found, indent=1).encode())
    note(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
