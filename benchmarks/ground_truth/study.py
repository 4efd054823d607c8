"""One cell of the study: one method in one setting, measured once and kept in a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

import seewhy
from benchmarks.ground_truth.plan import Plan
from benchmarks.ground_truth.settings import Setting
from seewhy.errors import DoesNotFit
from seewhy.execution import Execution
from seewhy.files import write_atomically
from seewhy.inputs.batch import Inputs
from seewhy.metrics.base import Metric
from seewhy.metrics.baselines import BASELINES
from seewhy.metrics.localisation.energy_pointing_game import EnergyPointingGame
from seewhy.metrics.localisation.pointing_game import PointingGame
from seewhy.provenance import display_pixels
from seewhy.types import Json

CHUNK = 10
"""Samples explained at a time."""

Step = Callable[[int, int, str], None]


@dataclass
class Cells:
    """The finished cells of one setting, kept in a file of its own.

    Parameters
    ----------
    file
        JSON; written whole after each cell.
    setting
        Whose cells they are. Cells of other weights, inputs or parameters count as missing.
    """

    file: Path
    setting: Setting

    def __post_init__(self) -> None:
        self.kept: Json = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.fingerprint = self.setting.fingerprint

    def get(self, name: str, step: Step | None) -> Json:
        """Return a method's cell, measuring it where it is missing; without a `step`, return it empty."""
        plan = self.setting.plans.get(name, Plan())
        key = {
            "made_from": self.fingerprint,
            "samples": plan.samples(len(self.setting.inputs)),
            "parameters": json.loads(json.dumps(plan.method(name).parameters())),
            "version": seewhy.__version__,
        }
        found = self.kept.get(name)
        if found is None or any(found.get(k) != v for k, v in key.items()):
            if step is None:
                return {}
            found = self.kept[name] = {**key, **measured(self.setting, name, step)}
            write_atomically(self.file, (json.dumps(self.kept, indent=1) + "\n").encode())
        return dict(found)


def measured(setting: Setting, name: str, step: Step) -> Json:
    """Explain the planned samples with a method and score the maps; or say why it does not fit."""
    plan = setting.plans.get(name, Plan())
    method, count = plan.method(name), plan.samples(len(setting.inputs))
    maps, started, passes = [], time.perf_counter(), {"forward": 0, "backward": 0}
    try:
        for start in range(0, count, CHUNK):
            stop = min(start + CHUNK, count)
            step(start, count, name)
            part = Inputs(setting.inputs.tensor[start:stop], setting.inputs.names[start:stop])
            result = method(setting.model, part, setting.classes[start:stop], Execution())
            maps.append(result.values)
            passes = result.provenance["passes"]
    except DoesNotFit as error:
        return {"unfit": error.found}
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "passes": passes, **scores(setting, torch.cat(maps))}


def baselines(setting: Setting) -> dict[str, Json]:
    """Return the scores of maps that know nothing of the model, and of a constant one."""
    pixels = display_pixels(setting.model, setting.inputs).cpu()
    # Each sample a noise of its own: one for all would be one throw of the dice.
    noise = [BASELINES["random"](pixels[i : i + 1], i) for i in range(len(pixels))]
    maps = {
        "centre": BASELINES["centre"](pixels, 0),
        "edges": BASELINES["edges"](pixels, 0),
        "random": torch.cat(noise),
        "constant": torch.ones(len(pixels), *pixels.shape[2:]),
    }
    return {name: scores(setting, values) for name, values in maps.items()}


def scores(setting: Setting, maps: Tensor) -> Json:
    """Return the scores of maps of the setting's first samples, a list for each metric."""
    n = len(maps)
    metrics: dict[str, tuple[Metric, Tensor]] = {
        "pointing": (PointingGame(setting.tolerance), setting.truth),
        "exact": (PointingGame(0.0), setting.truth),
        "energy": (EnergyPointingGame(), setting.truth),
    }
    if setting.others is not None:
        metrics["other"] = (PointingGame(setting.tolerance), setting.others)
    whole = setting.question
    question = replace(whole, x=whole.x[:n], clean=whole.clean[:n])
    return {
        name: metric.measure(replace(question, truth=truth[:n]), maps).values.tolist()
        for name, (metric, truth) in metrics.items()
    }
