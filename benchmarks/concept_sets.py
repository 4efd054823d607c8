"""Concepts on a real network: `python -m benchmarks.concept_sets --stamps DIR`.

Draws folders of concepts (stripes, dots, checks, plain colours; scikit-image's brick, grass and gravel),
takes crops of scikit-image's photos as random images, pastes Tux Paint's zebra and tiger on such crops, and
asks efficientnet-lite0 what stripes have to do with them: TCAV and Visual-TCAV, in several layers. Then takes
random crops as a concept two hundred times and counts how often each test rejects. Writes the folders, both
results and their pages to --out, and prints tables in markdown. Some ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import seewhy
from benchmarks.ground_truth.stamps import DEFAULT, read_stamps
from seewhy.concepts import TCAV, ImageSet, VisualTCAV, read_sets
from seewhy.concepts import significance as tests
from seewhy.concepts.draws import permutation
from seewhy.concepts.layers import probe
from seewhy.concepts.runs import run_of
from seewhy.concepts.tcav import tcav_scores
from seewhy.concepts.vectors import flat
from seewhy.errors import MissingExtra, SeeWhyError
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.report.concepts import write_concept_report

SIDE = 224
LAYERS = ("_blocks.10", "_blocks.13", "_blocks.15")
CLASSES = ("zebra", "tiger")
TEXTURES = ("brick", "grass", "gravel")
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "motorcycle_right.png")
PHOTOS += ("rocket.jpg", "hubble_deep_field.jpg", "retina.jpg", "ihc.png")


def data(name: str) -> Image.Image:
    """Return one of scikit-image's photos.

    Raises
    ------
    MissingExtra
        When scikit-image is not installed.
    """
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("Asked for photos", "scikit-image", "pip install scikit-image")
    return Image.open(Path(spec.submodule_search_locations[0]) / "data" / name).convert("RGB")


def crop(photo: Image.Image, rng: np.random.Generator, least: int = 110) -> Image.Image:
    """Return a random square of a photo."""
    side = int(rng.integers(least, min(photo.size) + 1))
    x, y = (int(rng.integers(0, s - side + 1)) for s in photo.size)
    return photo.crop((x, y, x + side, y + side)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def drawn(kind: str, rng: np.random.Generator) -> Image.Image:
    """Return one example of a drawn concept, in two colours or one."""
    dark, light = rng.uniform(0, 110, 3), rng.uniform(150, 255, 3)
    y, x = np.mgrid[:SIDE, :SIDE]
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(9, 34)
    u = (x * np.cos(angle) + y * np.sin(angle)) / pitch
    v = (y * np.cos(angle) - x * np.sin(angle)) / pitch
    if kind == "stripes":
        on = np.sin(2 * np.pi * u + rng.uniform(0, 6)) > rng.uniform(-0.4, 0.4)
    elif kind == "checks":
        on = (np.floor(u) + np.floor(v)) % 2 == 0
    elif kind == "dots":
        on = (u % 2 - 1) ** 2 + (v % 2 - 1) ** 2 < rng.uniform(0.2, 0.5)
    else:
        on = np.ones((SIDE, SIDE), bool)
        dark = light = rng.uniform(0, 255, 3)
    picture = np.where(on[..., None], dark, light) + rng.normal(0, 6, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def write_sets(out: Path, stamps: Path, count: int, random: int) -> None:
    """Write the folders concepts/, random/ and classes/."""
    photos = [data(name) for name in PHOTOS]
    for k, kind in enumerate(("stripes", "dots", "checks", "plain", *TEXTURES)):
        source = data(f"{kind}.png") if kind in TEXTURES else None
        for i in range(count):
            rng = np.random.default_rng((k, i))
            picture = drawn(kind, rng) if source is None else crop(source, rng)
            _save(picture, out / "concepts" / kind / f"{i:03}.png")
    for i in range(random):
        picture = crop(photos[i % len(photos)], np.random.default_rng((50, i)))
        _save(picture, out / "random" / f"{i:03}.png")
    for k, name in enumerate(CLASSES):
        animal = next(s for s in read_stamps(stamps) if s.name == name).picture
        for i in range(count):
            rng = np.random.default_rng((60 + k, i))
            picture = crop(photos[i % len(photos)], rng)
            scale = rng.uniform(0.6, 0.95) * SIDE / max(animal.size)
            small = animal.resize((round(animal.width * scale), round(animal.height * scale)))
            place = tuple(int(rng.integers(0, SIDE - s + 1)) for s in small.size)
            picture.paste(small, place, small)
            _save(picture, out / "classes" / name / f"{i:03}.png")


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


def calibration(model: Model, random: ImageSet, images: ImageSet, trials: int, execution: Execution) -> str:
    """Return how often the two tests reject random images taken as a concept, as rows of a table."""
    size = len(random) // 4
    with model.untouched():
        probed, _ = probe(model, LAYERS[-1:], images, execution, resumed=False)
        features = flat(probed.activations([random], "random images")[0][LAYERS[-1]], "mean")
        slopes = TCAV(layers=LAYERS[-1:])._slopes(probed, CLASSES[0], images)[1][LAYERS[-1]]
    along = features @ slopes.mean(0)
    exact, students = 0, 0
    for trial in range(trials):
        order = permutation(99, trial, len(random))
        concept, rest = features[order[:size]], features[order[size:]]
        marked = torch.zeros(len(random), dtype=torch.bool)
        marked[order[:size]] = True
        exact += tests.permutation_test(trial, along, marked, 199) <= tests.LEVEL
        own = [run_of("difference_of_means", concept, rest, size, trial, t)[0] for t in range(20)]
        null = [run_of("difference_of_means", rest, rest, size, trial, t)[0] for t in range(20)]
        _, p = tests.t_test(
            tcav_scores(slopes, torch.stack(own)).tolist(), tcav_scores(slopes, torch.stack(null)).tolist()
        )
        students += p <= tests.LEVEL
    error = 196 * (tests.LEVEL * (1 - tests.LEVEL) / trials) ** 0.5
    return (
        f"Random images as a concept, {trials} times, rejected at 5 % (a true test: 5.0 ± {error:.1f} %): "
        f"permutation test {100 * exact / trials:.1f} %, t-test of the runs {100 * students / trials:.1f} %."
    )


def main() -> int:
    """Draw, ask, count; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.concept_sets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stamps", type=Path, default=DEFAULT, help=f"Tux Paint's stamps ({DEFAULT})")
    parser.add_argument("--count", type=int, default=40, help="images of a concept and class (40)")
    parser.add_argument("--random", type=int, default=160, help="random images (160)")
    parser.add_argument("--trials", type=int, default=200, help="of the calibration (200)")
    parser.add_argument("--out", type=Path, default=Path("out/concept-sets"))
    arguments = parser.parse_args()
    try:
        write_sets(arguments.out, arguments.stamps, arguments.count, arguments.random)
        model = seewhy.load("efficientnet-lite0")
        concepts, (random,) = read_sets(arguments.out / "concepts"), read_sets(arguments.out / "random")
        classes: dict[int | str, ImageSet] = {c.name: c for c in read_sets(arguments.out / "classes")}
        tested = TCAV(layers=LAYERS)(model, concepts, random, classes)
        tested.save(arguments.out / "tcav")
        write_concept_report(arguments.out / "tcav.html", tested)
        print("| class | layer | concept | TCAV | random | slope | p | accuracy |\n" + "|---" * 8 + "|")
        for r in sorted(tested.rows, key=lambda r: (r.target, r.layer, -r.sensitivity)):
            print(
                f"| {r.target} | {r.layer} | {r.concept} | {r.score:.2f} [{r.low:.2f}, {r.high:.2f}] | "
                f"{r.random:.2f} | {r.sensitivity:.3f} | {r.p_corrected:.4f} | {r.accuracy:.2f} |"
            )
        print(calibration(model, random, classes[CLASSES[0]], arguments.trials, Execution()), flush=True)
        result = VisualTCAV(layers=LAYERS)(model, concepts, random, classes)
        result.save(arguments.out / "visual-tcav")
        write_concept_report(arguments.out / "visual-tcav.html", result)
        print("| class | layer | concept | attribution | random | p | accuracy |\n" + "|---" * 7 + "|")
        for g in sorted(result.global_rows(), key=lambda r: (r.target, r.layer, -r.attribution)):
            print(
                f"| {g.target} | {g.layer} | {g.concept} | {g.attribution:.4f} [{g.low:.4f}, {g.high:.4f}] | "
                f"{g.random:.4f} | {g.p:.2f} | {g.accuracy:.2f} |"
            )
    except SeeWhyError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
