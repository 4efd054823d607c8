"""Which metrics tell explanations apart, and which prefer noise: `python -m benchmarks.reliability`.

Explains real photos (scikit-image's, and composites of photo cut-outs on real photos) with seven methods,
measures the maps and three baselines by six metrics, and writes docs/reliability.md,
docs/images/reliability.png and, with --leaderboard, the page of the study. Finished photos are kept in
out/reliability: stop it at any time (Ctrl-C) and start it again to go on. Half an hour on one quiet core.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from PIL import Image

import seewhy
from benchmarks import reliability_page
from benchmarks.ground_truth.settings import named
from benchmarks.ground_truth.stamps import DEFAULT, read_stamps
from seewhy.attribution import Attribution
from seewhy.files import write_atomically
from seewhy.inputs.images import read_image
from seewhy.inputs.photos import demo_photos
from seewhy.methods import METHODS
from seewhy.metrics import METRICS
from seewhy.metrics.table import Row, Table
from seewhy.models.model import Model
from seewhy.types import Json

ROOT = Path(__file__).parents[1]
MODEL = "efficientnet-lite0"
METHODS_ASKED: dict[str, Json] = {
    "gradient": {},
    "smooth_grad": {"samples": 10},
    "integrated_gradients": {"steps": 10},
    "grad_cam": {},
    "layer_cam": {},
    "occlusion": {"window": 64, "stride": 32},
    "rise": {"masks": 200},
}
METRICS_ASKED: dict[str, tuple[str, Json]] = {
    "insertion": ("insertion", {"steps": 16}),
    "deletion": ("deletion", {"steps": 16}),
    "deletion, blurred": ("deletion", {"steps": 16, "operator": "blur"}),
    "deletion, blocks": ("pixel_flipping", {"patch": 14, "units": 16, "steps": 16}),
    "average_drop": ("average_drop", {}),
    "increase_in_confidence": ("increase_in_confidence", {}),
}
"""By label: the metric and its parameters. Blocks of 14 x 14 pixels are flipped, sixteen a step."""


def report(text: str) -> None:
    """Show where the work is, on stderr."""
    terminal = sys.stderr.isatty()
    print(f"\r{text:<100}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)


def photos(model: Model, count: int, stamps: Path) -> dict[str, Image.Image]:
    """Return the photos by name: scikit-image's, then composites whose object the model names."""
    found = {name: read_image(path).convert("RGB") for name, path in demo_photos().items()}
    scenes, _ = named(model, 1, max(0, count - len(found)), read_stamps(stamps), report)
    found |= {s.name: s.picture for s in scenes}
    return dict(list(found.items())[:count])


def measured(model: Model, name: str, photo: Image.Image, seed: int) -> Json:
    """Return the rows of one photo, and what each method cost."""
    options = {"seed": seed, "precision": "fp32"}
    batch = model.prepare(photo)
    batch = replace(batch, names=(name,))
    maps: list[Attribution] = []
    costs: Json = {}
    for method, parameters in METHODS_ASKED.items():
        started = time.perf_counter()
        maps.append(METHODS[method].make(**parameters)(model, batch, None, seewhy.Execution(**options)))
        passes = maps[-1].provenance["passes"]
        costs[method] = {"seconds": time.perf_counter() - started, **passes}
    rows: list[Json] = []
    for label, (metric, parameters) in METRICS_ASKED.items():
        table = seewhy.evaluate(model, batch, maps, METRICS[metric](**parameters), **options)
        rows += [asdict(replace(row, metric=label)) for row in table]
    return {"rows": rows, "costs": costs}


def study(model: Model, given: dict[str, Image.Image], out: Path) -> tuple[Table, dict[str, Json]]:
    """Return the table of all photos and the costs on each, measuring what is not kept yet."""
    asked = [METHODS_ASKED, METRICS_ASKED, seewhy.__version__, model.weights_hash]
    rows: list[Row] = []
    costs: dict[str, Json] = {}
    for i, (name, photo) in enumerate(given.items()):
        file = out / f"{i:03d}.json"
        key = json.loads(json.dumps([name, *asked]))
        kept = json.loads(file.read_text()) if file.exists() else {}
        if kept.get("key") != key:
            report(f"{name}: photo {i + 1} of {len(given)}")
            # Each photo a noise of its own: one for all would be one throw of the dice.
            kept = {"key": key, **measured(model, name, photo, seed=i)}
            write_atomically(file, json.dumps(kept).encode())
        rows += [Row(**{**r, "at": tuple(r["at"]), "curve": tuple(r["curve"])}) for r in kept["rows"]]
        costs[name] = kept["costs"]
    higher = {label: METRICS[metric].higher_is_better for label, (metric, _) in METRICS_ASKED.items()}
    return Table(tuple(rows), higher), costs


def main() -> int:
    """Run the study and write the page; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stamps", type=Path, default=DEFAULT, help=f"Tux Paint's stamps ({DEFAULT})")
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "reliability")
    parser.add_argument("--leaderboard", type=Path, help="write the page of the study here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = seewhy.load(MODEL)
    given = photos(model, arguments.photos, arguments.stamps)
    table, costs = study(model, given, arguments.out)
    reliability_page.write(table, costs, model, given, ROOT / "docs")
    if arguments.leaderboard is not None:
        html = reliability_page.leaderboard(table, costs, model, given)
        write_atomically(arguments.leaderboard, html.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
