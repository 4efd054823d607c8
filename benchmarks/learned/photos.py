"""P-TAME on compositions of real photos: `python -m benchmarks.learned.photos --material FILE --device cuda`.

Trains an explainer by the paper's loss and by ours, chooses between settings of ours on photos set apart for
that, and measures both beside other methods on photos that nobody saw: classes that training covered, new
objects of such classes, and classes that it did not cover. Writes the explainers, the numbers and example
maps to --out. Finished explainers are kept there: the same call goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import seewhy
from benchmarks.learned.compositions import Compositions
from benchmarks.learned.material import Material, Split, split
from seewhy.attribution import Attribution
from seewhy.execution import Execution
from seewhy.files import write_atomically
from seewhy.inputs.batch import Inputs
from seewhy.methods.learned.explainer import FEW, Explainer, open_explainer
from seewhy.methods.learned.ptame import shares_below
from seewhy.metrics.base import Metric
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.faithfulness.average_drop import AverageDrop
from seewhy.metrics.faithfulness.deletion import Deletion
from seewhy.metrics.faithfulness.increase_in_confidence import IncreaseInConfidence
from seewhy.metrics.faithfulness.insertion import Insertion
from seewhy.metrics.faithfulness.road import ROAD
from seewhy.models.model import Model
from seewhy.training.attention import PTAMETraining
from seewhy.training.coverage import table
from seewhy.training.loop import train
from seewhy.training.schedule import Schedule

TEST, CHOICE, TRAIN = 11, 7, 0
"""Seeds of the compositions."""
SURE = 0.2
"""Probability that the model must give its answer for a composition to be asked about."""
KEEPS = (100.0, 50.0, 15.0)
GAMMA = 0.05
"""Power of ranks at which average drop and increase in confidence look at them, too: nearly all is seen."""
AS_RANKS = ("Grad-CAM", "RISE, 4,000 masks")
"""Whose maps are also looked at as ranks of that power, where ours are."""
RANKED_RATE = 0.3
"""Of the learning rate: evidence is a better start than random rows, and a high rate loses it."""
COVERED = "covered classes"
EXTREMAL = "covered classes, with extremal perturbation"
"""The first of them, since extremal perturbation takes long."""
Json = dict[str, Any]


def note(text: str) -> None:
    """Say where the work is."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


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
            auxiliary, ce=1.0, objective="ranked", shared=True, evidence=True
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


def asked(
    model: Model,
    material: Material,
    count: int,
    wanted: Callable[[Tensor], Tensor],
    device: str,
    seed: int = TEST,
) -> tuple[Inputs, list[int]]:
    """Return the first `count` one-object compositions with a sure answer of a wanted class."""
    look = model.preprocess
    assert look is not None
    source = Compositions(material.to(device), look, objects=1)
    kept: list[Tensor] = []
    classes: list[int] = []
    names: list[str] = []
    with model.untouched(device), torch.no_grad():
        for start in range(0, 40 * count, 64):
            x = source.batch(seed, torch.arange(start, start + 64, device=device))
            best, answer = model.probabilities(model.answer(x).output).max(1)
            for i in ((best >= SURE) & wanted(answer)).nonzero()[:, 0].tolist():
                if len(kept) < count:
                    kept.append(x[i].cpu())
                    classes.append(int(answer[i]))
                    names.append(f"composition {start + i}")
    return Inputs(torch.stack(kept), tuple(names)), classes


def peers(model: str, *, quick: bool) -> dict[str, tuple[str, Json]]:
    """Return the methods beside ours and their parameters."""
    layer = {"efficientnet-lite0": "_blocks.15", "mobilenet-v2": "features.17"}.get(model)  # 320 channels
    return {
        "Grad-CAM": ("grad_cam", {}),
        "Grad-CAM++": ("grad_cam_pp", {}),
        "Score-CAM": ("score_cam", {} if layer is None else {"layer": layer}),
        "RISE, 4,000 masks": ("rise", {"masks": 40 if quick else 4000}),
    }


def first(a: Attribution, count: int) -> Attribution:
    """Return the maps of the first `count` pictures."""
    facts = {**a.provenance, "inputs": a.provenance["inputs"][:count]}
    return Attribution(a.values[:count], a.native[:count], a.pixels[:count], facts)


def compared(
    model: Model,
    inputs: Inputs,
    classes: list[int],
    maps: dict[str, Attribution],
    device: str,
    curves: int,
) -> Json:
    """Return, for each method and baseline, each metric's mean and 95 % interval.

    Deletion, insertion and ROAD, which take most passes, look at the first `curves` pictures.
    """
    found: Json = {}
    fixed: list[Metric] = [Deletion(steps=56), Insertion(steps=56), ROAD()]
    for keep in (*KEEPS, None):
        metrics = fixed if keep is None else [AverageDrop(keep=keep), IncreaseInConfidence(keep=keep)]
        count = len(inputs) if keep is not None else min(curves, len(inputs))
        asked = Inputs(inputs.tensor[:count], inputs.names[:count])
        named = [first(a, count).noting(method=name) for name, a in maps.items()]
        result = evaluate(model, asked, named, metrics, classes[:count], device=device, precision="fp32")
        for s in result.mean():
            label = (
                s.metric
                if keep is None
                else {"average_drop": "AD", "increase_in_confidence": "IC"}[s.metric] + f"{keep:g}"
            )
            found.setdefault(s.method, {})[label] = [s.mean, s.low, s.high]
    return found


def explained(
    model: Model,
    inputs: Inputs,
    method: str,
    classes: list[int],
    parameters: Json,
    arguments: argparse.Namespace,
) -> Attribution:
    """Return a method's maps, made once: they are kept by what they depend on."""
    facts = [model.weights_hash, method, classes, parameters]
    content = inputs.tensor.contiguous().numpy().tobytes() + json.dumps(facts).encode()
    if "explainer" in parameters:
        content += Path(parameters["explainer"]).read_bytes()
    file = arguments.out / "maps" / f"{method}-{hashlib.sha256(content).hexdigest()[:16]}"
    if file.with_name(f"{file.name}.json").exists():
        return Attribution.open(file)
    made = seewhy.explain(model, inputs, method, classes, device=arguments.device, **parameters)
    file.parent.mkdir(parents=True, exist_ok=True)
    made.save(file)
    return made


def untrained(file: Path) -> Path:
    """Write an explainer whose maps are the auxiliary network's evidence alone, and return its file."""
    made = open_explainer(file)
    alone = {
        **made.tensors,
        "fusion": torch.zeros_like(made.tensors["fusion"]),
        "trust": torch.ones_like(made.tensors["trust"]),
    }
    return replace(made, tensors=alone).save(file.with_name(f"evidence-{file.name}"))


def asked_methods(model: Model, files: dict[str, Path], *, quick: bool) -> dict[str, tuple[str, Json]]:
    """Return ours and the methods beside them, by name, with their parameters."""
    jobs: dict[str, tuple[str, Json]] = {}
    for k, f in files.items():
        jobs[f"P-TAME, {k}"] = ("ptame", {"explainer": str(f)})
        if open_explainer(f).settings["objective"] == "ranked":
            jobs[f"P-TAME, {k}, gamma {GAMMA:g}"] = ("ptame", {"explainer": str(f), "gamma": GAMMA})
            jobs[f"evidence alone, gamma {GAMMA:g}"] = (
                "ptame",
                {"explainer": str(untrained(f)), "gamma": GAMMA},
            )
    return jobs | peers(model.name, quick=quick)


def mapped(
    model: Model,
    inputs: Inputs,
    classes: list[int],
    jobs: dict[str, tuple[str, Json]],
    arguments: argparse.Namespace,
    title: str,
) -> tuple[dict[str, Attribution], dict[str, float]]:
    """Return maps by the names of methods, made method by method, and seconds an image."""
    maps: dict[str, Attribution] = {}
    seconds: dict[str, float] = {}
    for name, (method, parameters) in jobs.items():
        a = maps[name] = explained(model, inputs, method, classes, parameters, arguments)
        seconds[name] = a.provenance["seconds"] / len(inputs)
        note(f"{title}: {name}, {seconds[name]:.4f} s an image")
        if name in AS_RANKS and any("gamma" in job for job in jobs):
            flat = shares_below(a.native).pow(GAMMA)
            maps[f"{name} as ranks, gamma {GAMMA:g}"] = Attribution(None, flat, a.pixels, a.provenance)
    return maps, seconds


def measured(
    model: Model,
    inputs: Inputs,
    classes: list[int],
    maps: dict[str, Attribution],
    seconds: dict[str, float],
    arguments: argparse.Namespace,
    title: str,
) -> Json:
    """Return the numbers of one group of compositions."""
    numbers = compared(model, inputs, classes, maps, arguments.device, arguments.curves)
    pictures = torch.stack(
        [torch.stack([a.values[i] for a in maps.values()]) for i in range(min(8, len(inputs)))]
    )
    torch.save(
        {
            "maps": pictures.half(),
            "names": list(maps),
            "pixels": next(iter(maps.values())).pixels[:8],
            "classes": classes[:8],
        },
        arguments.out / f"{model.name}-{title.replace(',', '').replace(' ', '-')}-maps.pt",
    )
    means = {name: float(a.values.mean()) for name, a in maps.items()}
    return {
        "samples": len(inputs),
        "curves": min(arguments.curves, len(inputs)),
        "classes": len(set(classes)),
        "seconds an image": seconds,
        "numbers": numbers,
        "mean of the map": means,
    }


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
        inputs, classes = asked(model, material, wanted, which, arguments.device)
        note(f"{title}: {len(inputs)} compositions of {len(set(classes))} classes")
        maps, seconds = mapped(model, inputs, classes, jobs, arguments, title)
        results[title] = measured(model, inputs, classes, maps, seconds, arguments, title)
        if title == COVERED and arguments.extremal:
            some = Inputs(inputs.tensor[: arguments.extremal], inputs.names[: arguments.extremal])
            few = classes[: len(some)]
            steps = 5 if arguments.quick else 800
            slow = {"Extremal perturbation": ("extremal_perturbation", {"steps": steps})}
            one, seconds = mapped(model, some, few, slow, arguments, EXTREMAL)
            maps = {name: first(a, len(some)) for name, a in maps.items()} | one
            results[EXTREMAL] = measured(model, some, few, maps, seconds, arguments, EXTREMAL)
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
