"""The settings of the study: a model, inputs, what is asked about each, and where the evidence is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import seewhy
from benchmarks.ground_truth import plan
from benchmarks.ground_truth.composites import Scene, backgrounds, scene
from benchmarks.ground_truth.nets import TESTED_ON, TESTS, Recipe, normalised, trained
from benchmarks.ground_truth.plan import Plan
from benchmarks.ground_truth.stamps import CutOut, read_stamps
from benchmarks.ground_truth.synthetic import draw
from seewhy.errors import SeeWhyError
from seewhy.execution import Execution
from seewhy.inputs.batch import Inputs
from seewhy.models.model import Model
from seewhy.question import Question, ask

NETWORKS = {"efficientnet-lite0": "_blocks.10", "mobilenet-v2": "features.13"}
"""ImageNet networks, each with a layer of about a hundred channels (14 x 14 cells)."""
TOP, BATCH = 5, 16

Report = Callable[[str], None]


@dataclass(frozen=True)
class Setting:
    """One set of samples on one model.

    Parameters
    ----------
    key, title
        Of its file and its table.
    inputs, classes, truth
        `(k, c, h, w)` inputs, the class asked about each, and `(k, h, w)` bool masks of the evidence.
    others
        `(k, h, w)` bool masks of the objects that were not asked about, where there are any.
    tolerance
        Pixels, of the pointing game.
    plans
        For methods that are not asked with their defaults on all samples.
    note
        How the samples came about, a sentence or two.
    """

    key: str
    title: str
    model: Model
    inputs: Inputs
    classes: list[int]
    truth: Tensor
    others: Tensor | None
    tolerance: float
    plans: dict[str, Plan]
    note: str

    @property
    def fingerprint(self) -> str:
        """What the maps follow from besides the method: weights, inputs, classes, masks."""
        digest = hashlib.sha256(self.model.weights_hash.encode())
        for tensor in (self.inputs.tensor, torch.tensor(self.classes), self.truth):
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def question(self) -> Question:
        """What metrics read: the inputs and classes of all samples."""
        with self.model.untouched():
            return ask(self.model, self.inputs.tensor, self.classes, Execution(), "probability")


def synthetic(recipe: Recipe, samples: int, folder: Path) -> Setting:
    """Return the synthetic pictures on one small network, those that it names rightly."""
    model, accuracy, seconds = trained(recipe, folder)
    pictures = draw(TESTED_ON, TESTS, samples + samples // 10 + 5)
    x = normalised(pictures.pixels)
    with torch.inference_mode():
        right = (model.module(x).argmax(1) == pictures.classes).nonzero()[:samples, 0]
    names = tuple(f"picture {TESTS + int(i)}" for i in right)
    return Setting(
        recipe.name,
        f"Synthetic pictures, {recipe.title}",
        model,
        Inputs(x[right], names),
        pictures.classes[right].tolist(),
        pictures.truth[right],
        None,
        4.0,
        plan.SMALL,
        f"Trained in {seconds:.0f} s, test accuracy {accuracy:.3f}; {len(right)} pictures, all named "
        f"rightly. The striped disc covers {float(pictures.truth[right].float().mean()):.1%} of a picture.",
    )


def composites(name: str, objects: int, samples: int, stamps: Path, report: Report) -> Setting:
    """Return composites on one ImageNet network whose objects it all names among its first five answers.

    Scenes of two objects are asked about each in turn: `samples` counts questions.

    Raises
    ------
    SeeWhyError
        When a thousand scenes in a row bring none that the network names.
    """
    model = seewhy.load(name)
    kept, tried = named(model, objects, -(-samples // objects), read_stamps(stamps), report)
    asked = [(s, i) for s in kept for i in range(objects)][:samples]
    truth = torch.from_numpy(np.stack([s.masks[i] for s, i in asked]))
    other = torch.from_numpy(np.stack([s.masks[1 - i] for s, i in asked])) if objects == 2 else None
    tensor = model.prepare([s.picture for s, _ in asked]).tensor
    area, what = float(truth.float().mean()), "one object" if objects == 1 else "two objects"
    return Setting(
        f"{name}-{objects}",
        f"Composites of {what}, {name}",
        model,
        Inputs(tensor, tuple(f"{s.name}, asked {model.label(s.classes[i])}" for s, i in asked)),
        [s.classes[i] for s, i in asked],
        truth,
        other,
        15.0,
        plan.photos(NETWORKS[name]),
        f"{len(kept)} of {tried} scenes kept: those with {'the class' if objects == 1 else 'both classes'} "
        f"among the network's first {TOP} answers. The object asked about covers {area:.1%} of a picture"
        + (", and each is asked about in turn." if objects == 2 else "."),
    )


def named(
    model: Model, objects: int, count: int, cut_outs: Sequence[CutOut], report: Report
) -> tuple[list[Scene], int]:
    """Return the first `count` scenes whose classes the model names, and how many were tried."""
    photos: dict[str, Image.Image] = backgrounds()
    kept: list[Scene] = []
    last = tried = 0
    while len(kept) < count:
        if tried - last > 1000:
            raise SeeWhyError(f"{model.name} named the objects of none of {tried - last} scenes in a row.")
        report(f"scenes for {model.name}: {len(kept)} of {count} kept, {tried} tried")
        scenes = [s for i in range(tried, tried + BATCH) if (s := scene(0, i, objects, cut_outs, photos))]
        answers = model.predict([s.picture for s in scenes], TOP)
        for s, answer in zip(scenes, answers, strict=True):
            if set(s.classes) <= {p.index for p in answer} and len(kept) < count:
                kept.append(s)
                last = tried
        tried += BATCH
    return kept, tried
