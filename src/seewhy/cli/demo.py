"""`seewhy demo`: the main job on real photos and a real network, in a few minutes on two cores."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seewhy.cli.compare import sheet
from seewhy.cli.explain import written
from seewhy.cli.faithfulness import beats, measured, named_metrics, print_scores, table_json
from seewhy.cli.loading import load_model
from seewhy.cli.options import DEFAULT_METRICS, DEFAULT_MODEL, DEFAULT_RUN, AsJson, OutFolder, RunOptions
from seewhy.cli.output import check_writable, percent, print_json, print_table, save_png
from seewhy.cli.progress import reporting
from seewhy.errors import Cancelled

if TYPE_CHECKING:
    from seewhy.attribution import Attribution
    from seewhy.methods.base import Method
    from seewhy.metrics.base import Metric
    from seewhy.metrics.table import Table
    from seewhy.types import Json

PHOTOS = ("cat", "coffee", "astronaut", "rocket")
METHODS = ("grad_cam", "gradient", "integrated_gradients", "occlusion", "rise")
BUDGET: dict[str, dict[str, Any]] = {"rise": {"masks": 400}}
STEPS = 16
UNSURE = 0.1
"""Below this probability a top class is a guess."""
QUICK_PHOTOS = PHOTOS[:2]
QUICK_BUDGET: dict[str, dict[str, Any]] = {"rise": {"masks": 120}, "integrated_gradients": {"steps": 16}}
QUICK_STEPS = 8


def demo(
    *,
    out: OutFolder = Path("seewhy-demo"),
    quick: bool = False,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
) -> None:
    """Explain real photos with a real ImageNet network and say how far each map can be trusted.

    Writes maps, pictures, a contact sheet and report.html; nothing is downloaded. Needs the extra "demo".

    Parameters
    ----------
    quick
        Two photos and smaller budgets: a look in half a minute, with rougher numbers.
    """
    from seewhy.report.entry import Entry
    from seewhy.report.live import possible
    from seewhy.report.page import write_report

    started = time.perf_counter()
    photos = chosen_photos(QUICK_PHOTOS if quick else PHOTOS)
    budget, steps = (QUICK_BUDGET, QUICK_STEPS) if quick else (BUDGET, STEPS)
    methods = budgeted(budget)
    run.execution()
    check_writable(out)
    network = load_model(DEFAULT_MODEL, run)
    predictions = {name: network.predict(path, 3)[0] for name, path in photos.items()}
    if not as_json:
        print_table(
            ("photo", *(f"{network.name} says" if i == 0 else "or" for i in range(3))),
            [(n, *(f"{p.label}, {percent(p.probability)}" for p in top)) for n, top in predictions.items()],
        )
    clear(out / "maps")
    maps: dict[str, dict[str, Attribution]] = {}
    files: list[Json] = []
    measures = named_metrics(DEFAULT_METRICS, steps)
    with reporting() as report:
        try:
            for name, path in photos.items():
                maps[name] = {}
                for method in methods:
                    report.item(len(files), len(photos) * len(methods), f"{method.title} of {name}")
                    attribution = method(network, [path], None, run.execution(report.progress))
                    files.append(
                        {"photo": name, **written(attribution, out / "maps", f"{name}.{method.name}")}
                    )
                    maps[name][method.name] = attribution
        except KeyboardInterrupt:
            raise Cancelled(f"Stopped. {len(files)} maps are finished and kept in {out / 'maps'}.") from None
        asked = {name: ([path], list(maps[name].values())) for name, path in photos.items()}
        table = measured(network, asked, measures, run, report)
    contact = save_png(out / "contact-sheet.png", sheet(maps, network.name))
    entries = [Entry(list(of_photo.values()), name) for name, of_photo in maps.items()]
    again = f"seewhy demo{' --quick' if quick else ''} --seed {run.seed}"
    page = write_report(out / "report.html", entries, table=table, command=again, interactive=possible())
    seconds = time.perf_counter() - started
    if as_json:
        print_json(
            {
                "model": network.name,
                "maps": files,
                "faithfulness": table_json(table),
                "settings": settings([*methods, *measures]),
                "sheet": str(contact),
                "report": str(page),
                "seconds": seconds,
            }
        )
        return
    print_scores(table, "How faithful: mean over the photos [95 % interval]")
    print(f"By their means over {len(photos)} photos, which are few:\n{verdict(table)}")
    for name, top in predictions.items():
        if top[0].probability < UNSURE:
            print(f"  {name}: the best guess has {percent(top[0].probability)}; its maps explain a guess")
    print(f"\nFor speed: {settings([*methods, *measures])}. Took {seconds:.0f} s.\n")
    print(f"Open     {page}\nPictures {contact} and {out / 'maps'}\n")
    print("Try next\n" + "\n".join(f"  {line}" for line in next_steps(photos, predictions, out)))


def program() -> str:
    """Return how to call this program from here: its name where it is on the path, else its file."""
    script = Path(sys.argv[0])
    if shutil.which("seewhy") or script.name != "seewhy":
        return "seewhy"
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))


def chosen_photos(names: tuple[str, ...]) -> dict[str, Path]:
    """Return the demo photos of these names, in this order, that are installed."""
    from seewhy.inputs.photos import demo_photos

    there = demo_photos()
    return {name: there[name] for name in names if name in there} or there


def clear(folder: Path) -> None:
    """Remove what an earlier demo left, and nothing else, so that maps of different budgets do not mix."""
    for photo, method, end in product(PHOTOS, METHODS, ("safetensors", "json", "png")):
        (folder / f"{photo}.{method}.{end}").unlink(missing_ok=True)


def budgeted(budget: Mapping[str, Mapping[str, Any]]) -> list[Method]:
    """Return the demo's methods, with the parameters that its time allows."""
    from seewhy.methods import METHODS as KNOWN

    return [KNOWN[name](**budget.get(name, {})) for name in METHODS]


def settings(things: Sequence[Method | Metric]) -> str:
    """Say in words where parameters are not the defaults."""
    changed = []
    for thing in things:
        usual = type(thing)().parameters()
        changed += [
            f"{thing.title} with {value} {key} instead of {usual[key]:,}"
            for key, value in thing.parameters().items()
            if value != usual[key]
        ]
    return ", ".join(changed)


def verdict(table: Table) -> str:
    """Say which maps beat every baseline, and which do not."""
    lines = []
    for method, metrics in beats(table).items():
        said = (
            f"better than every baseline in {' and '.join(metrics)}"
            if metrics
            else "no better than the baselines"
        )
        lines.append(f"  {method}: {said}")
    return "\n".join(lines)


def next_steps(photos: Mapping[str, Path], predictions: Mapping[str, Any], out: Path) -> list[str]:
    """Return commands that work as they stand."""
    first, *_, last = photos
    second = predictions[first][1].label
    seewhy = program()
    cat, other = shlex.quote(str(photos[first])), shlex.quote(str(photos[last]))
    return [
        f"{seewhy} explain {cat} --method rise --target {shlex.quote(second)}",
        f"{seewhy} compare {other} --methods grad_cam,occlusion",
        f"{seewhy} evaluate {shlex.quote(str(out / 'maps'))} --metrics deletion --steps 56",
        f"{seewhy} methods",
    ]
