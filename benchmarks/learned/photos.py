"""P-TAME on compositions of real photos: `python -m benchmarks.learned.photos --material FILE --device cuda`.

Trains an explainer by the paper's loss and by ours, chooses between settings of ours on photos set apart for
that, and measures both beside other methods on photos that nobody saw: classes that training covered, new
objects of such classes, and classes that it did not cover. Writes the explainers, the numbers and example
maps to --out. Finished explainers are kept there: the same call goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

import seewhy
from benchmarks.learned.comparison import COVERED, Json, asked, asked_methods, group, note
from benchmarks.learned.compositions import Compositions
from benchmarks.learned.material import Split, split
from seewhy.execution import Execution
from seewhy.files import write_atomically
from seewhy.methods.learned.explainer import FEW, Explainer, open_explainer
from seewhy.models.model import Model
from seewhy.training.attention import PTAMETraining
from seewhy.training.coverage import table
from seewhy.training.loop import train
from seewhy.training.schedule import Schedule

CHOICE, TRAIN = 7, 0
"""Seeds of the compositions."""
EVIDENCE = 5
"""Layers of evidence: all."""
RANKED_RATE = 0.3
"""Of the learning rate: evidence is a better start than random rows, and a high rate loses it."""


def variants(
    auxiliary: str,
    areas: list[float],
    shown: list[float],
    surer: list[float],
    *,
    paper: bool,
    ranked: bool,
) -> dict[str, PTAMETraining]:
    """Return what is trained, by name: the paper's masks, ranks, and masks as the metrics make them."""
    made = {"paper": PTAMETraining(auxiliary)} if paper else {}
    if ranked:
        made["ours, ranked"] = PTAMETraining(
            auxiliary, ce=1.0, objective="ranked", shared=True, evidence=EVIDENCE
        )
    for a in areas:
        made[f"ours, area {a:g}"] = PTAMETraining(auxiliary, ce=1.0, area=a, shared=True)
    for a in shown:
        made[f"ours, shown, area {a:g}"] = PTAMETraining(
            auxiliary, ce=1.0, area=a, power=1.0, objective="shown", shared=True
        )
    for a in surer:
        made[f"ours, surer, area {a:g}"] = PTAMETraining(
            auxiliary, ce=1.0, area=a, power=1.0, objective="surer", shared=True
        )
    return made


def explainer(
    name: str, training: PTAMETraining, model: Model, parts: Split, arguments: argparse.Namespace
) -> tuple[Path, Explainer]:
    """Return a trained explainer, made once."""
    file = arguments.out / f"{model.name}-{name.replace(', ', '-').replace(' ', '-')}.safetensors"
    if file.exists():
        return file, open_explainer(file)
    look, device = model.preprocess, arguments.device
    assert look is not None
    chosen = Compositions(parts.choice.to(device), look).batch(
        CHOICE, torch.arange(arguments.choice, device=device)
    )
    source = Compositions(parts.train.to(device), look, parts.fingerprint, chosen)
    schedule = Schedule(
        arguments.steps,
        arguments.batch,
        arguments.rate * (RANKED_RATE if training.objective == "ranked" else 1),
        precision=arguments.precision,
        look=max(1, arguments.steps // 4),
        held_out=arguments.choice,
        checkpoint=500,
    )
    every = max(1, arguments.steps // 10)

    def progress(done: int, total: int, what: str) -> None:
        if done % every == 0:
            note(f"{name}: {done} of {total}, {what}")

    execution = Execution(TRAIN, device=device, progress=progress)
    made = train(training, model, source, schedule, execution, out=file)
    made.save(file)
    file.with_name(file.name + ".checkpoint").unlink(missing_ok=True)
    size = file.stat().st_size / 1e6
    note(f"{name}: {made.record['seconds']:.0f} s, {size:.2f} MB, {made.record['looks'][-1]}")
    return file, made


def study(arguments: argparse.Namespace) -> Json:
    """Train, choose, test; return all numbers."""
    parts = split(arguments.material)
    model = seewhy.load(arguments.model, device=arguments.device)
    started = time.perf_counter()
    trained: dict[str, tuple[Path, Explainer]] = {}
    settings = variants(
        arguments.auxiliary,
        arguments.areas,
        arguments.shown,
        arguments.surer,
        paper=arguments.paper,
        ranked=arguments.ranked,
    )
    for name, training in settings.items():
        if len(trained) < 2 or time.perf_counter() - started < 0.35 * arguments.budget:
            trained[name] = explainer(name, training, model, parts, arguments)
    scores = {name: made.record["looks"][-1] for name, (_, made) in trained.items()}
    ours = max((n for n in trained if n != "paper"), key=lambda n: scores[n]["score"])
    note(f"chosen: {ours} of {scores}")
    files = {name: file for name, (file, _) in trained.items() if name in ("paper", ours)}
    coverage = torch.tensor([trained[name][1].coverage for name in files]).amin(0).to(arguments.device)
    others = arguments.samples // 2 if arguments.others is None else arguments.others
    groups = {
        COVERED: (parts.test, arguments.samples, lambda c: coverage[c] >= arguments.few),
        "classes with fewer than 100 images": (parts.new, others, lambda c: coverage[c] < arguments.few),
        "new objects of covered classes": (parts.new, others, lambda c: coverage[c] >= arguments.few),
    }
    jobs = asked_methods(model, files, quick=arguments.quick)
    results: Json = {}
    for title, (material, wanted, which) in groups.items():
        pictures = asked(title, model, material, wanted, which, arguments.device)
        note(f"{title}: {len(pictures)} compositions of {len(set(pictures.classes))} classes")
        results |= group(pictures, jobs, arguments)
        keep(arguments, model, trained, scores, ours, results, time.perf_counter() - started)
    return results


def keep(
    arguments: argparse.Namespace,
    model: Model,
    trained: Any,
    scores: Json,
    ours: str,
    results: Json,
    seconds: float,
) -> None:
    """Write what is known so far."""
    about = {
        name: {
            "record": made.record,
            "settings": made.settings,
            "coverage": table(made.coverage),
            "bytes": file.stat().st_size,
        }
        for name, (file, made) in trained.items()
    }
    device = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "processor"
    whole = {
        "model": model.name,
        "auxiliary": arguments.auxiliary,
        "device": device,
        "torch": torch.__version__,
        "seconds": seconds,
        "chosen": ours,
        "looks": scores,
        "trained": about,
        "results": results,
    }
    write_atomically(arguments.out / f"{model.name}.json", json.dumps(whole, indent=1).encode())


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learned.photos")
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--auxiliary", default="mobilenet-v2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=2800)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--precision", default="auto", help="of the frozen networks in training")
    parser.add_argument("--areas", type=float, nargs="*", default=[2.0])
    parser.add_argument("--shown", type=float, nargs="*", default=[0.5])
    parser.add_argument("--surer", type=float, nargs="*", default=[])
    parser.add_argument("--paper", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--ranked", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--samples", type=int, default=200, help="compositions of covered classes")
    parser.add_argument("--others", type=int, help="of other groups; half as many when left out")
    parser.add_argument(
        "--curves", type=int, default=1000, help="at most so many by deletion, insertion and ROAD"
    )
    parser.add_argument(
        "--slow", type=int, default=1000, help="at most so many of covered classes by Score-CAM and RISE"
    )
    parser.add_argument("--slow-others", type=int, default=1000, help="at most so many of other groups")
    parser.add_argument(
        "--extremal", type=int, default=60, help="the first so many with extremal perturbation, too"
    )
    parser.add_argument("--choice", type=int, default=128, help="compositions to choose settings by")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds: further settings are left out")
    parser.add_argument(
        "--quick", action="store_true", help="few masks and steps for peers: to try the recipe"
    )
    parser.add_argument("--out", type=Path, default=Path("out/learned"))
    arguments = parser.parse_args()
    if not (arguments.ranked or arguments.areas or arguments.shown or arguments.surer):
        parser.error("nothing of ours is left to choose from: leave --no-ranked out, or name an area")
    arguments.few = 1 if arguments.quick else FEW
    arguments.out.mkdir(parents=True, exist_ok=True)
    study(arguments)


if __name__ == "__main__":
    main()
