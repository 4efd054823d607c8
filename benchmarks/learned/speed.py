"""What P-TAME costs: `python -m benchmarks.learned.speed`. One run; what is compared takes turns; medians.

A map against one forward pass of the auxiliary network, and against RISE with 4,000 masks, end to end; a step
of training against its floor: a clean forward pass of the explained model and a masked one, forward and
backward to the input, in the same arithmetic. Ratios are medians over rounds. On one thread of a processor
(--threads 1), seconds are of its own time, so that waiting for what else the machine does is not counted; on
several threads they are the clock's, and want a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import seewhy
from benchmarks.learned.comparison import Json, note
from benchmarks.learned.photos import EVIDENCE
from seewhy.execution import Execution
from seewhy.files import write_atomically
from seewhy.methods.learned.auxiliary import auxiliary_features
from seewhy.methods.learned.explainer import open_explainer
from seewhy.methods.learned.ptame import PTAME, head_of
from seewhy.methods.learned.stages import translated
from seewhy.models.model import Model
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


WITH = f", evidence in {EVIDENCE} layers"
"""What is measured beside the plain head."""
WARM = 3
"""Steps of training that do not count."""


def now(device: str) -> float:
    """Return seconds of a clock: of an accelerator that has finished, or of one thread's own time."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def interleaved(
    works: dict[str, Callable[[], object]], device: str, repeats: int, *, warm: bool = True
) -> dict[str, list[float]]:
    """Return the seconds of each work in each round: all in turn; a warm-up round does not count."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(0 if warm else 1, repeats + 1):
        for name, work in works.items():
            started = now(device)
            work()
            if turn:
                found[name].append(now(device) - started)
    return found


def ratio(seconds: dict[str, list[float]], above: str, *below: str) -> float:
    """Return the median over rounds of one work's seconds over the sum of others' in the same round."""
    rounds = zip(seconds[above], *(seconds[name] for name in below), strict=True)
    found: float = statistics.median(one / sum(others) for one, *others in rounds)
    return found


def training_steps(
    training: PTAMETraining,
    model: Model,
    source: Source,
    batch: int,
    works: dict[str, Callable[[], object]],
    device: str,
    repeats: int,
) -> dict[str, list[float]]:
    """Return the seconds of steps of training, and of other works, done in turn between the steps."""
    found: dict[str, list[float]] = {"training step": []}
    last = [0.0]

    def between(done: int, total: int, what: str) -> None:
        if done > WARM:
            found["training step"].append(now(device) - last[0])
        if done >= WARM:
            for name, seconds in interleaved(works, device, 1, warm=done == WARM).items():
                found.setdefault(name, []).extend(seconds)
        last[0] = now(device)

    execution = Execution(device=device, progress=between)
    train(training, model, source, Schedule(WARM + repeats + 1, batch, checkpoint=0), execution)
    return {name: seconds[:repeats] for name, seconds in found.items()}


def study(arguments: argparse.Namespace) -> Json:
    """Measure and return seconds."""
    device = arguments.device
    model, auxiliary = (seewhy.load(spec, device=device) for spec in (arguments.model, arguments.auxiliary))
    shape = (3, *(model.input_size() or (224, 224)))
    x = torch.randn(arguments.batch, *shape, device=device)
    training, source = PTAMETraining(arguments.auxiliary), Noise(x)
    schedule = Schedule(2, 2, checkpoint=0)
    files = {}
    for kind, layers in (("", 0), (WITH, EVIDENCE)):
        made = train(replace(training, evidence=layers), model, source, schedule, Execution(device=device))
        files[kind] = made.save(arguments.out / f"speed-{layers}")
    found: Json = {
        "batch": arguments.batch,
        "device": torch.cuda.get_device_name() if device.startswith("cuda") else "processor",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of coverage
        for size, inputs in (("one", x[:1]), ("batch", x)):
            maps(found, size, inputs, files, model, auxiliary, arguments)
            note(json.dumps(found))
    steps(found, x, training, source, model, auxiliary, arguments)
    return found


def maps(
    found: Json,
    size: str,
    x: Batch,
    files: dict[str, Path],
    model: Model,
    auxiliary: Model,
    arguments: argparse.Namespace,
) -> None:
    """Measure explanations, in turn with what they are compared with."""
    rise = f"RISE end to end, one, {arguments.masks} masks"
    seen = translated(x, model.preprocess, auxiliary)
    forward = f"auxiliary forward, {size}"
    works: dict[str, Callable[[], object]] = {
        forward: lambda: auxiliary.answer(seen),
        f"model forward, {size}": lambda: model.answer(x),
    }
    for kind, file in files.items():
        parts = asked_parts(x, file, model)
        works |= {f"{name}, {size}{kind}": part for name, part in parts.items()}
    with model.untouched(), auxiliary.untouched(), torch.no_grad():
        seconds = interleaved(works, arguments.device, arguments.repeats)
        if size == "one":
            rounds = {**works, rise: lambda: seewhy.explain(model, x, "rise", 0, masks=arguments.masks)}
            once = interleaved(rounds, arguments.device, 1, warm=False)
            found[rise] = once[rise][0]
    found |= {name: statistics.median(values) for name, values in seconds.items()}
    for kind in files:
        found[f"features and head over auxiliary forward and head, {size}{kind}"] = ratio(
            seconds, f"features and head, {size}{kind}", forward, f"head, {size}{kind}"
        )
        found[f"RISE over P-TAME, {size}{kind}"] = (
            found[rise] * len(x) / found[f"P-TAME end to end, {size}{kind}"]
        )


def asked_parts(x: Batch, file: Path, model: Model) -> dict[str, Callable[[], object]]:
    """Return the head alone, features with the head, and a whole call, by name."""
    method, explainer = PTAME(explainer=str(file)), open_explainer(file)
    head, row = head_of(explainer, x.device)
    asked = torch.zeros(len(x), 1, dtype=torch.long, device=x.device)
    classes = row.to(x.device)[asked[:, 0]]
    features = auxiliary_features(explainer, x, model.preprocess, asked)
    return {
        "head": lambda: head(features, classes),
        "features and head": lambda: head(auxiliary_features(explainer, x, model.preprocess, asked), classes),
        "P-TAME end to end": lambda: method(model, x, 0),
    }


def steps(
    found: Json,
    x: Batch,
    training: PTAMETraining,
    source: Source,
    model: Model,
    auxiliary: Model,
    arguments: argparse.Namespace,
) -> None:
    """Measure steps of training, in turn with their floor."""
    device = torch.device(arguments.device)
    kind = arithmetic("auto", device)
    seen = translated(x, model.preprocess, auxiliary)

    def half() -> AbstractContextManager[object]:
        return nullcontext() if kind is None else torch.autocast(device.type, kind)

    def floor() -> None:
        with half(), torch.no_grad():
            model.answer(x)
        masked = x.detach().clone().requires_grad_()
        with torch.enable_grad():
            with half():
                out = model.answer(masked).output
            torch.autograd.grad(out.float().sum(), masked)

    def alone() -> None:
        with half(), torch.no_grad():
            auxiliary.answer(seen)

    works: dict[str, Callable[[], object]] = {
        "training step, floor": floor,
        "training step, auxiliary forward": alone,
    }
    with auxiliary.untouched():
        seconds = training_steps(training, model, source, len(x), works, arguments.device, arguments.repeats)
    found |= {name: statistics.median(values) for name, values in seconds.items()}
    floor_, more = works
    found["training step over floor"] = ratio(seconds, "training step", floor_)
    found["training step over floor and auxiliary forward"] = ratio(seconds, "training step", floor_, more)
    found["floor and auxiliary forward over floor"] = 1 + ratio(seconds, more, floor_)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learned.speed")
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--auxiliary", default="mobilenet-v2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--masks", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--threads", type=int, default=0, help="of the processor; 0 leaves them")
    parser.add_argument("--out", type=Path, default=Path("out/learned"))
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = study(arguments)
    write_atomically(arguments.out / "speed.json", json.dumps(found, indent=1).encode())
    note(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
