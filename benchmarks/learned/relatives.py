"""TAME, L-CAM and real-time saliency on compositions of real photos, beside P-TAME and Grad-CAM.

`python -m benchmarks.learned.relatives --material FILE` trains each for the same number of steps on the
same images (`benchmarks.learned.material` makes the file), and writes explainers, their scores on held-out
compositions (average drop and increase in confidence at 100, 50 and 15 per cent), and a sheet of maps of
compositions that nobody was trained on. With `--model` a transformer, `--methods ttame lcam`. Finished
explainers are kept: the same call goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import seewhy
from benchmarks.learned.compositions import Compositions
from benchmarks.learned.material import Split, split
from seewhy.attribution import Attribution
from seewhy.cli.compare import sheet
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.files import write_atomically
from seewhy.inputs.batch import Inputs
from seewhy.methods import METHODS
from seewhy.methods.learned.explainer import Explainer, open_explainer
from seewhy.models.model import Model
from seewhy.training import TRAININGS
from seewhy.training.coverage import table
from seewhy.training.loop import train
from seewhy.training.schedule import Schedule

TEST, CHOICE, TRAIN = 11, 7, 0
"""Seeds of the compositions, as in `benchmarks.learned.photos`."""
WITH_AUXILIARY = {"ptame", "realtime_saliency"}


def note(text: str) -> None:
    """Say where the work is."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def explainer(name: str, model: Model, parts: Split, arguments: argparse.Namespace) -> tuple[Path, Explainer]:
    """Return a trained explainer, made once."""
    file = arguments.out / f"{model.name}-{name}.safetensors"
    if file.exists():
        return file, open_explainer(file)
    look, device = model.preprocess, arguments.device
    assert look is not None
    chosen = Compositions(parts.choice.to(device), look, objects=1).batch(
        CHOICE, torch.arange(arguments.choice, device=device)
    )
    source = Compositions(parts.train.to(device), look, parts.fingerprint, chosen)
    steps = arguments.steps
    schedule = Schedule(
        steps, arguments.batch, arguments.rate, look=steps, held_out=arguments.choice, checkpoint=100
    )

    def progress(done: int, total: int, what: str) -> None:
        if done % max(1, steps // 10) == 0:
            note(f"{name}: {done} of {total}, {what}")

    parameters: dict[str, Any] = {"auxiliary": arguments.auxiliary} if name in WITH_AUXILIARY else {}
    training = TRAININGS[name](**parameters)
    made = train(
        training, model, source, schedule, Execution(TRAIN, device=device, progress=progress), out=file
    )
    made.save(file)
    file.with_name(file.name + ".checkpoint").unlink(missing_ok=True)
    return file, made


def asked(model: Model, parts: Split, arguments: argparse.Namespace) -> Inputs:
    """Return compositions of test photos whose answers are sure, each of another class."""
    look = model.preprocess
    assert look is not None
    source = Compositions(parts.test.to(arguments.device), look, objects=1)
    kept: dict[int, torch.Tensor] = {}
    with model.untouched(arguments.device), torch.no_grad():
        for start in range(0, 512, 16):
            x = source.batch(TEST, torch.arange(start, start + 16, device=arguments.device))
            best, answer = model.probabilities(model.answer(x).output).max(1)
            for i in (best >= arguments.sure).nonzero()[:, 0].tolist():
                kept.setdefault(int(answer[i]), x[i].cpu())
            if len(kept) >= arguments.pictures:
                break
    chosen = list(kept.items())[: arguments.pictures]
    if not chosen:
        raise BadInput("Asked to draw maps of sure answers", f"None reaches {arguments.sure}", "Lower --sure")
    return Inputs(torch.stack([x for _, x in chosen]), tuple(model.label(c) for c, _ in chosen))


def study(arguments: argparse.Namespace) -> None:
    """Train all, write numbers and the sheet."""
    parts = split(arguments.material)
    if arguments.objects:
        few = parts.train.objects[:: max(1, len(parts.train.objects) // arguments.objects)]
        same = {
            part: replace(getattr(parts, part), objects=few[: arguments.objects])
            for part in ("train", "choice", "test")
        }
        parts = replace(parts, fingerprint=f"{parts.fingerprint}-{arguments.objects}", **same)
    model = seewhy.load(arguments.model, device=arguments.device)
    trained = {name: explainer(name, model, parts, arguments) for name in arguments.methods}
    numbers = {
        name: {
            "bytes": file.stat().st_size,
            "seconds": made.record["seconds"],
            "loss": made.record["loss"],
            "held out": made.record["looks"][-1],
            "coverage": table(made.coverage),
        }
        for name, (file, made) in trained.items()
    }
    write_atomically(arguments.out / f"{model.name}-relatives.json", json.dumps(numbers, indent=1).encode())
    note(json.dumps(numbers, indent=1))
    inputs = asked(model, parts, arguments)
    columns: dict[str, Attribution] = {"grad_cam": seewhy.explain(model, inputs, method="grad_cam")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of coverage: that is what the numbers say
        for name, (file, _) in trained.items():
            columns[name] = METHODS[name].make(explainer=str(file))(model, inputs)
    rows = {
        name: {column: maps[i] for column, maps in columns.items()} for i, name in enumerate(inputs.names)
    }
    picture = arguments.out / f"{model.name}-relatives.png"
    sheet(rows, model.name).save(picture)
    note(f"drawn: {picture}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learned.relatives")
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--auxiliary", default="mobilenet-v2")
    parser.add_argument("--methods", nargs="*", default=["ptame", "tame", "lcam", "realtime_saliency"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--choice", type=int, default=16, help="compositions held out for scores")
    parser.add_argument("--objects", type=int, default=0, help="cut-outs to use; 0 for all")
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--sure", type=float, default=0.3, help="probability of the answers that are drawn")
    parser.add_argument("--out", type=Path, default=Path("out/learned"))
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    study(arguments)


if __name__ == "__main__":
    main()
