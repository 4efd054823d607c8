"""Maps of several methods side by side on compositions of one kind: which pictures, made how, how good."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import seewhy
from benchmarks.learned.compositions import Compositions
from benchmarks.learned.material import Material
from seewhy.attribution import Attribution
from seewhy.inputs.batch import Inputs
from seewhy.methods.learned.explainer import open_explainer
from seewhy.methods.learned.ptame import shares_below
from seewhy.metrics.base import Metric
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.faithfulness.average_drop import AverageDrop
from seewhy.metrics.faithfulness.deletion import Deletion
from seewhy.metrics.faithfulness.increase_in_confidence import IncreaseInConfidence
from seewhy.metrics.faithfulness.insertion import Insertion
from seewhy.metrics.faithfulness.road import ROAD
from seewhy.models.model import Model

TEST = 11
"""Seed of the compositions."""
SURE = 0.2
"""Probability that the model must give its answer for a composition to be asked about."""
KEEPS = (100.0, 50.0, 15.0)
GAMMA = 0.05
"""Power of ranks at which average drop and increase in confidence look at them, too: nearly all is seen."""
AS_RANKS = ("Grad-CAM", "RISE, 4,000 masks")
"""Whose maps are also looked at as ranks of that power, where ours are."""
SLOW = ("score_cam", "rise")
"""Methods that may be asked about the first pictures of a group only."""
WITH_SLOW = ", with Score-CAM and RISE"
"""What the title of such pictures ends with."""
COVERED = "covered classes"
EXTREMAL = "covered classes, with extremal perturbation"
"""The first of them, since extremal perturbation takes long."""
Json = dict[str, Any]


@dataclass(frozen=True)
class Pictures:
    """Compositions of one kind, the model that is asked about them, and its answers."""

    title: str
    model: Model
    inputs: Inputs
    classes: list[int]

    def __len__(self) -> int:
        return len(self.inputs)

    def first(self, count: int, title: str = "") -> Pictures:
        """Return the first of them, by another title."""
        inputs = Inputs(self.inputs.tensor[:count], self.inputs.names[:count])
        return Pictures(title or self.title, self.model, inputs, self.classes[:count])


def note(text: str) -> None:
    """Say where the work is."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def asked(
    title: str,
    model: Model,
    material: Material,
    count: int,
    wanted: Callable[[Tensor], Tensor],
    device: str,
    seed: int = TEST,
) -> Pictures:
    """Return the first `count` one-object compositions with a sure answer of a wanted class."""
    look = model.preprocess
    assert look is not None
    source = Compositions(material.to(device), look, objects=1)
    kept: list[Tensor] = []
    classes: list[int] = []
    names: list[str] = []
    with model.untouched(device), torch.no_grad():
        for start in range(0, 40 * count, 64):
            if len(kept) == count:
                break
            x = source.batch(seed, torch.arange(start, start + 64, device=device))
            best, answer = model.probabilities(model.answer(x).output).max(1)
            for i in ((best >= SURE) & wanted(answer)).nonzero()[:, 0].tolist():
                if len(kept) < count:
                    kept.append(x[i].cpu())
                    classes.append(int(answer[i]))
                    names.append(f"composition {start + i}")
    return Pictures(title, model, Inputs(torch.stack(kept), tuple(names)), classes)


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


def compared(pictures: Pictures, maps: dict[str, Attribution], device: str, curves: int) -> Json:
    """Return, for each method and baseline, each metric's mean and 95 % interval.

    Deletion, insertion and ROAD, which take most passes, look at the first `curves` pictures.
    """
    found: Json = {}
    fixed: list[Metric] = [Deletion(steps=56), Insertion(steps=56), ROAD()]
    for keep in (*KEEPS, None):
        metrics = fixed if keep is None else [AverageDrop(keep=keep), IncreaseInConfidence(keep=keep)]
        some = pictures if keep is not None else pictures.first(curves)
        named = [first(a, len(some)).noting(method=name) for name, a in maps.items()]
        result = evaluate(
            some.model, some.inputs, named, metrics, some.classes, device=device, precision="fp32"
        )
        for s in result.mean():
            label = (
                s.metric
                if keep is None
                else {"average_drop": "AD", "increase_in_confidence": "IC"}[s.metric] + f"{keep:g}"
            )
            found.setdefault(s.method, {})[label] = [s.mean, s.low, s.high]
    return found


def explained(
    pictures: Pictures, method: str, parameters: Json, arguments: argparse.Namespace
) -> Attribution:
    """Return a method's maps, made once: they are kept by what they depend on."""
    model, inputs, classes = pictures.model, pictures.inputs, pictures.classes
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
    alone = {**made.tensors, "fusion": torch.zeros_like(made.tensors["fusion"])}
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
    pictures: Pictures, jobs: dict[str, tuple[str, Json]], arguments: argparse.Namespace, *, ranks: bool
) -> tuple[dict[str, Attribution], dict[str, float]]:
    """Return maps by the names of methods, and seconds an image; of some methods also as ranks."""
    maps: dict[str, Attribution] = {}
    seconds: dict[str, float] = {}
    for name, (method, parameters) in jobs.items():
        a = maps[name] = explained(pictures, method, parameters, arguments)
        seconds[name] = a.provenance["seconds"] / len(pictures)
        note(f"{pictures.title}: {name}, {seconds[name]:.4f} s an image")
        if name in AS_RANKS and ranks:
            flat = shares_below(a.native).pow(GAMMA)
            maps[f"{name} as ranks, gamma {GAMMA:g}"] = Attribution(None, flat, a.pixels, a.provenance)
    return maps, seconds


def measured(
    pictures: Pictures,
    maps: dict[str, Attribution],
    seconds: dict[str, float],
    arguments: argparse.Namespace,
) -> Json:
    """Return the numbers of one group of compositions; keep the maps of its first pictures."""
    curves = min(arguments.curves, len(pictures))
    numbers = compared(pictures, maps, arguments.device, curves)
    few = [torch.stack([a.values[i] for a in maps.values()]) for i in range(min(8, len(pictures)))]
    torch.save(
        {
            "maps": torch.stack(few).half(),
            "names": list(maps),
            "pixels": next(iter(maps.values())).pixels[:8],
            "classes": pictures.classes[:8],
        },
        examples(arguments.out, pictures.model.name, pictures.title),
    )
    return {
        "samples": len(pictures),
        "curves": curves,
        "classes": len(set(pictures.classes)),
        "seconds an image": seconds,
        "numbers": numbers,
        "mean of the map": {name: float(a.values.mean()) for name, a in maps.items()},
    }


def examples(folder: Path, model: str, title: str) -> Path:
    """Return the file of the maps of a group's first pictures."""
    return folder / f"{model}-{title.replace(',', '').replace(' ', '-')}-maps.pt"


def group(pictures: Pictures, jobs: dict[str, tuple[str, Json]], arguments: argparse.Namespace) -> Json:
    """Return the numbers of one group by title; methods that take long are asked about its first pictures."""
    maps: dict[str, Attribution] = {}
    seconds: dict[str, float] = {}
    results: Json = {}
    ranks = any("gamma" in name for name in jobs)
    for count, (told, some) in stages(jobs, len(pictures), arguments, pictures.title).items():
        part = pictures.first(count, told)
        maps = {name: first(a, count) for name, a in maps.items()}
        more, taken = mapped(part, some, arguments, ranks=ranks)
        maps, seconds = maps | more, seconds | taken
        results[told] = measured(part, maps, seconds, arguments)
    return results


def stages(
    jobs: dict[str, tuple[str, Json]], whole: int, arguments: argparse.Namespace, title: str
) -> dict[int, tuple[str, dict[str, tuple[str, Json]]]]:
    """Return by number of pictures, falling: a title, and the methods that join there."""
    few = min(arguments.slow if title == COVERED else arguments.slow_others, whole)
    if few == whole:
        found = {whole: (title, jobs)}
    else:
        late = {name: job for name, job in jobs.items() if job[0] in SLOW}
        soon = {name: job for name, job in jobs.items() if job[0] not in SLOW}
        found = {whole: (title, soon), few: (f"{title}{WITH_SLOW}", late)}
    if title == COVERED and arguments.extremal:
        steps = 5 if arguments.quick else 800
        count = min(arguments.extremal, few)
        told, joined = found.get(count, (EXTREMAL, {}))
        found[count] = told, {**joined, "Extremal perturbation": ("extremal_perturbation", {"steps": steps})}
    return found
