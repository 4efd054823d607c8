"""`seewhy compare`: several methods on one photo, how far they agree and how faithful each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seewhy.cli.faithfulness import measured, named_metrics, print_scores, split, table_json
from seewhy.cli.loading import check_photos, load_model
from seewhy.cli.options import (
    DEFAULT_METRICS,
    DEFAULT_MODEL,
    DEFAULT_OUT,
    DEFAULT_RUN,
    AsJson,
    MetricNames,
    ModelSpec,
    OutFolder,
    RunOptions,
    Steps,
    TargetText,
)
from seewhy.cli.output import check_writable, note, percent, print_json, print_table, save_png
from seewhy.cli.progress import reporting
from seewhy.errors import BadInput, DoesNotFit

if TYPE_CHECKING:
    from PIL.Image import Image

    from seewhy.attribution import Attribution
    from seewhy.methods.base import Method
    from seewhy.models.model import Model
    from seewhy.types import Json

LEGIBLE = 8
"""Methods whose agreement still fits a terminal; more are left to the picture."""


def compare(
    image: Path,
    /,
    *,
    model: ModelSpec = DEFAULT_MODEL,
    methods: str = "all",
    metrics: MetricNames = DEFAULT_METRICS,
    steps: Steps = None,
    target: TargetText = None,
    out: OutFolder = DEFAULT_OUT,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
) -> None:
    """Compare methods on one photo: a contact sheet, their agreement, and their scores beside baselines.

    Writes NAME.compare.png and NAME.agreement.png. The methods run with their default parameters.

    Parameters
    ----------
    image
        The photo.
    methods
        Names separated by commas, or "all" for those that fit the model.
    """
    import numpy as np

    from seewhy.show import heat_table

    run.execution()
    measures = named_metrics(metrics, steps)
    asked = _asked(methods)
    check_photos([image])
    check_writable(out)
    network = load_model(model, run)
    fitting, skipped = _fitting(asked, network, strict=methods != "all")
    maps: dict[str, Attribution] = {}
    with reporting() as report:
        for i, method in enumerate(fitting):
            report.item(i, len(fitting), method.title)
            maps[method.name] = method(network, [image], target, run.execution(report.progress))
        table = measured(network, {image.name: ([image], list(maps.values()))}, measures, run, report, target)
    matrix = spearman(list(maps.values()))
    heat = heat_table(
        list(maps), np.array(matrix), title="Agreement", caption="Rank correlation of the maps, from -1 to 1."
    )
    pictures = (
        save_png(out / f"{image.stem}.compare.png", sheet({image.name: maps}, network.name)),
        save_png(out / f"{image.stem}.agreement.png", heat),
    )
    first = next(iter(maps.values())).provenance["inputs"][0]
    if as_json:
        print_json(
            {
                "model": network.name,
                "path": first["path"],
                "predictions": first["predictions"],
                "target": {key: first["target"].get(key) for key in ("label", "index")},
                "methods": [_entry(name, a) for name, a in maps.items()],
                "skipped": skipped,
                "agreement": {"names": list(maps), "spearman": matrix},
                "faithfulness": table_json(table),
                "sheet": str(pictures[0]),
                "agreement_sheet": str(pictures[1]),
            }
        )
        return
    for entry in skipped:
        note(f"{entry['name']} is left out: {entry['reason']}")
    top = "".join(f"; {p['label']} {percent(p['probability'])}" for p in first["predictions"][:3])
    print_scores(table, f"{first['path']}{top}. Target: {first['target']['label']}")
    if len(maps) <= LEGIBLE:
        print_table(
            ("rank correlation", *maps),
            [(name, *(f"{v:.2f}" for v in row)) for name, row in zip(maps, matrix, strict=True)],
        )
    print("\n".join(map(str, pictures)))


def sheet(photos: Mapping[str, Mapping[str, Attribution]], model: str) -> Image:
    """Draw photos (rows) and methods (columns, six in a line), each map on its own scale."""
    from seewhy.captions import unit
    from seewhy.methods import METHODS
    from seewhy.show import Panel, Row, contact_sheet

    columns = list(dict.fromkeys(name for maps in photos.values() for name in maps))
    rows = []
    for title, maps in photos.items():
        first = next(iter(maps.values()))
        aim = first.provenance["inputs"][0]["target"]["label"]
        panels = [
            Panel(m.values[0].numpy(), m.signed, unit(m.provenance))
            if (m := maps.get(c)) is not None
            else None
            for c in columns
        ]
        rows.append(Row(f"{title}: {aim}", first.photo(), panels))
    return contact_sheet(rows, [METHODS[c].title for c in columns], wrap=6, title=model)


def spearman(maps: Sequence[Attribution]) -> list[list[float]]:
    """Return the rank correlation of every pair of maps of one photo; NaN where a map is constant."""
    return [[float(a.compare(b).spearman[0]) for b in maps] for a in maps]


def _asked(names: str) -> list[type[Method]]:
    from seewhy.methods import METHODS

    chosen = [METHODS[name] for name in (METHODS.names() if names == "all" else split(names))]
    if not chosen:
        raise BadInput(
            "Asked to compare methods", "None is named", f"Choose from {', '.join(METHODS.names())}, or all"
        )
    return chosen


def _fitting(
    classes: Sequence[type[Method]], model: Model, *, strict: bool
) -> tuple[list[Method], list[Json]]:
    """Return the methods that fit, and why the others do not; `strict` refuses those."""
    made = [cls() for cls in classes]
    reasons = {method.name: method.unfit(model) for method in made}
    fitting = [method for method in made if not reasons[method.name]]
    for method in made:
        if reasons[method.name] and (strict or not fitting):
            raise DoesNotFit(
                f"Asked {method.title} to explain {model.name}",
                f"It does not fit: {reasons[method.name]}",
                "`seewhy methods --model SPEC` lists those that do",
            )
    return fitting, [{"name": name, "reason": why} for name, why in reasons.items() if why]


def _entry(name: str, attribution: Attribution) -> Json:
    notes = attribution.provenance
    return {
        "name": name,
        "parameters": notes["parameters"],
        "score": notes["inputs"][0]["score"],
        "seconds": notes["seconds"],
        "passes": notes["passes"],
    }
