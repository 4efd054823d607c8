"""`seewhy concepts visual-tcav`: photos and folders of concepts in, concept maps and attributions out."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seewhy.cli.concepts_cav import DEFAULT_CONCEPTS
from seewhy.cli.concepts_options import (
    LayerNames,
    Parquet,
    Solver,
    check_parquet,
    layers_of,
    sets_in,
    write_parquet,
)
from seewhy.cli.concepts_texts import DEFAULT, ConceptOptions, concepts_given, save_nearest
from seewhy.cli.loading import check_photos, load_model
from seewhy.cli.options import DEFAULT_MODEL, DEFAULT_RUN, AsJson, ModelSpec, OutFolder, RunOptions
from seewhy.cli.output import check_writable, print_json, print_table, save_png
from seewhy.cli.progress import reporting
from seewhy.errors import BadInput

if TYPE_CHECKING:
    from seewhy.concepts import GlobalRow


def visual_tcav(
    *images: Path,
    given: ConceptOptions = DEFAULT,
    layers: LayerNames = None,
    targets: str | None = None,
    solver: Solver = "difference_of_means",
    steps: int = 50,
    model: ModelSpec = DEFAULT_MODEL,
    out: OutFolder = DEFAULT_CONCEPTS,
    parquet: Parquet = False,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
) -> None:
    """Show where a network recognises concepts in photos, and how much they add to its answer.

    Writes visual-tcav.safetensors and .json (everything), visual-tcav.png (bars), a picture of concept maps
    for each layer, and visual-tcav.html; for concepts from texts also visual-tcav.texts.png, the photos
    nearest to them.

    Parameters
    ----------
    images
        Photos, or a folder of them; sub-folders named by label or index are classes, whose photos are
        explained for them.
    targets
        Classes separated by commas that every photo is explained for; the model's own answer by default.
    solver
        How vectors are fitted; lda and logistic need scikit-learn.
    steps
        Of the integrated gradients on the layer.
    """
    from dataclasses import asdict

    from seewhy.concepts import VisualTCAV
    from seewhy.report.concepts import write_concept_report

    method = VisualTCAV(layers_of(layers), solver, steps)
    run.execution()
    check_parquet(parquet)
    photos = explained(images)
    wanted = None if targets is None else [t.strip() for t in targets.split(",")]
    concepts = concepts_given(given, run)
    check_writable(out)
    network = load_model(model, run)
    with reporting() as report:
        execution = run.execution(report.progress)
        found = method(network, *concepts(network, execution), photos, wanted, execution)
    files = [*found.save(out / "visual-tcav"), save_png(out / "visual-tcav.png", found.bars_picture())]
    for layer in found.layers:
        name = layer.strip("_").replace("/", "-")
        files.append(save_png(out / f"visual-tcav.{name}.png", found.maps_picture(layer)))
    command = shlex.join(["seewhy", *sys.argv[1:]])
    files.append(write_concept_report(out / "visual-tcav.html", found, command=command))
    files += save_nearest(out / "visual-tcav.texts.png", found)
    if parquet:
        files.append(write_parquet(out / "visual-tcav.parquet", found.local_rows()))
    rows = found.global_rows()
    if as_json:
        answer = {
            "model": network.name,
            "global": [asdict(r) for r in rows],
            "local": found.local_rows(),
            "files": [str(f) for f in files],
        }
        print_json(answer)
        return
    print_table(
        ("class", "layer", "concept", "attribution", "95 %", "random", "p", "photos"),
        [human(r) for r in rows],
        title=f"Visual-TCAV of {network.name} into {out}",
    )


def explained(images: tuple[Path, ...]) -> Any:
    """Return what the paths mean: photos, or class to photos.

    Raises
    ------
    BadInput
        For no path, a photo that cannot be read, or a folder among photos.
    """
    if len(images) == 1 and images[0].is_dir():
        found = sets_in(images[0])
        by_class = not any(p.is_file() for p in images[0].iterdir())
        return {each.name: each for each in found} if by_class else found[0]
    for path in images:
        if path.is_dir():
            raise BadInput(f"Asked to explain {path}", "It is a folder among photos", "Name one folder alone")
    check_photos(images)
    return list(images)


def human(row: GlobalRow) -> tuple[str, ...]:
    """Return one row of the table."""
    from seewhy.show.words import number

    shown = row.separable
    return (
        row.target,
        row.layer,
        row.concept,
        number(row.attribution) if shown else "not separable",
        f"{number(row.low)} to {number(row.high)}" if shown else "-",
        number(row.random),
        number(row.p),
        str(row.images),
    )
