"""Which maps depend on the model: `python -m benchmarks.sanity [--photos N] [--methods a,b] [--fresh]`.

Every registered method explains a few demo photos; then the network's weights are shuffled from the answer
down (the metric `parameter_randomisation`) and the map is made again. Writes docs/sanity.md and
docs/images/sanity.png. Numbers are kept in benchmarks/results/sanity.json as they come, so that a run that
was stopped goes on where it was; `--fresh` starts anew. About twenty minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

import seewhy
from benchmarks import sanity_page
from seewhy.agreement import Agreement
from seewhy.errors import DoesNotFit
from seewhy.inputs.photos import demo_photos
from seewhy.methods import METHODS
from seewhy.metrics.sanity.parameter_randomisation import ParameterRandomisation
from seewhy.metrics.sanity.shuffling import Shuffled
from seewhy.models.model import Model

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "benchmarks" / "results" / "sanity.json"
CNN, VIT = "efficientnet-lite0", "dinov2-s-saliency"

QUICK: dict[str, dict[str, Any]] = {
    "abs_cam": {"layer": "_blocks.10"},
    "blur_ig": {"steps": 30},
    "expected_gradients": {"samples": 30},
    "extremal_perturbation": {"steps": 30},
    "fido": {"steps": 6},
    "guided_ig": {"steps": 15},
    "integrated_gradients": {"steps": 20},
    "kernel_shap": {"samples": 120},
    "lime": {"samples": 120},
    "meaningful_perturbation": {"steps": 30},
    "occlusion": {"window": 56, "stride": 28},
    "rise": {"masks": 200},
    "score_cam": {"layer": "_blocks.10"},
    "sidu": {"layer": "_blocks.10"},
    "smooth_grad": {"samples": 20},
    "var_grad": {"samples": 20},
    "vit_cx": {"layer": "_blocks.10"},
}
"""Parameters that make slow methods affordable: their maps are rougher than by default."""
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "excitation_backprop": [{"contrastive": True}],
    "lrp": [{"composite": "epsilon"}],
    "transformer_attribution": [{"generation": 1}],
}
"""Other parameters worth a line of their own."""


@dataclass(frozen=True)
class Line:
    """One method on one model.

    Parameters
    ----------
    name, parameters
        The method.
    model
        Its spec.
    spearman, ssim
        Means over photos, one a stage: the top layer, half of the layers, all. No ssim for what is compared
        inside tiles.
    seconds
        For everything.
    """

    name: str
    parameters: dict[str, Any]
    model: str
    spearman: list[float]
    ssim: list[float | None]
    seconds: float


def lines(model: Model, photos: list[str], methods: list[str], kept: dict[str, Any]) -> list[Line]:
    """Return a line for every method that fits, measuring what is not kept yet."""
    jobs = [
        (name, parameters)
        for name in methods
        if not METHODS[name]().unfit(model)
        for parameters in [QUICK.get(name, {}) if model.name == CNN else {}, *VARIANTS.get(name, [])]
    ]
    found = []
    for i, (name, parameters) in enumerate(jobs):
        key = json.dumps([model.name, model.weights_hash, [Path(p).name for p in photos], name, parameters])
        if key not in kept:
            try:
                kept[key] = measured(model, photos, name, parameters, f"{i + 1} of {len(jobs)}")
            except DoesNotFit as refusal:
                print(f"\n{name} is left out: {refusal}", file=sys.stderr)
                continue
            KEPT.parent.mkdir(exist_ok=True)
            KEPT.write_text(json.dumps(kept))
        found.append(Line(name, parameters, model.name, **kept[key]))
    return found


def measured(model: Model, photos: list[str], name: str, parameters: dict[str, Any], place: str) -> Any:
    """Return the means over photos of one method, photo by photo."""
    started, spearman, ssim = time.perf_counter(), [], []

    def progress(done: int, total: int, what: str) -> None:
        words = f"{model.name}, {name} ({place}), {Path(photo).name}: {what} {done} of {total}"
        print(f"\r{words:<118}", end="", file=sys.stderr)

    for photo in photos:
        result = seewhy.explain(model, photo, name, progress=progress, **parameters)
        table = seewhy.evaluate(
            model, photo, result, ParameterRandomisation(steps=3), baselines=False, progress=progress
        )
        notes = table.provenance["notes"]["parameter_randomisation"][name]
        if notes["unchanged copy"][0] < 0.999:
            raise SystemExit(f"{name} does not repeat itself: {notes['unchanged copy']}")
        spearman.append(notes["absolute"][0])
        ssim.append(notes["ssim"][0])
    return {
        "spearman": [fmean(each) for each in zip(*spearman, strict=True)],
        "ssim": [fmean(each) for each in zip(*ssim, strict=True)],
        "seconds": round(time.perf_counter() - started, 1),
    }


def inside_tiles(model: Model, photos: list[str], side: int = 32) -> Line:
    """Return how much of the fine structure of Guided Grad-CAM stays where it stays warm."""
    started, name, each = time.perf_counter(), "guided_grad_cam", []
    for photo in photos:
        batch = model.prepare(photo)
        first = seewhy.explain(model, batch, name)
        target = first.provenance["inputs"][0]["target"]["index"]
        network = Shuffled.of(model, batch.tensor, 0)
        row = []
        for which in ParameterRandomisation(steps=3).stages(len(network.layers)):
            network.shuffle(which)
            second = seewhy.explain(network.model, batch, name, target=target)
            pairs = torch.stack([first.values[0], second.values[0]])
            tiles = pairs.unfold(1, side, side).unfold(2, side, side).flatten(1, 2)
            warm = tiles[:, ((tiles > 0).float().mean((2, 3)) >= 0.9).all(0)]
            row.append(float(Agreement.of(warm[0], warm[1]).spearman.mean()) if warm.numel() else None)
        each.append(row)
    means = [fmean([v for v in stage if v is not None]) for stage in zip(*each, strict=True)]
    return Line(name, {}, model.name, means, [None] * 3, time.perf_counter() - started)


def main() -> None:
    """Measure, write the page and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=3)
    parser.add_argument("--methods", default="")
    parser.add_argument("--fresh", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    methods = arguments.methods.split(",") if arguments.methods else METHODS.names()
    photos = [str(p) for p in demo_photos().values()][: arguments.photos]
    kept = json.loads(KEPT.read_text()) if KEPT.exists() and not arguments.fresh else {}
    started = time.perf_counter()
    model = seewhy.load(CNN)
    found = lines(model, photos, methods, kept)
    if "guided_grad_cam" in methods:
        found.append(inside_tiles(model, photos))
    vit = seewhy.load(VIT)
    others = [name for name in methods if METHODS[name]().unfit(model)]
    found += lines(vit, photos[:1], [name for name in methods if name in [*others, "gradient", "lrp"]], kept)
    named = [Path(p).stem for p in photos]
    (ROOT / "docs" / "sanity.md").write_text(sanity_page.written(found, named, QUICK), encoding="utf-8")
    picture = ROOT / "docs" / "images" / "sanity.png"
    sanity_page.draw(model, photos[0], QUICK).quantize(256).save(picture, optimize=True)
    print(
        f"\n{time.perf_counter() - started:.0f} seconds; docs/sanity.md, docs/images/sanity.png",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
