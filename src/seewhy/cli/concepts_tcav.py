"""`seewhy concepts tcav`: folders of concepts and of classes in, tested scores out."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.cli.concepts_cav import DEFAULT_CONCEPTS
from seewhy.cli.concepts_options import (
    Correction,
    LayerNames,
    Parquet,
    Pool,
    Solver,
    check_parquet,
    layers_of,
    sets_in,
    write_parquet,
)
from seewhy.cli.concepts_texts import DEFAULT, ConceptOptions, concepts_given, save_nearest
from seewhy.cli.loading import load_model
from seewhy.cli.options import DEFAULT_MODEL, DEFAULT_RUN, AsJson, ModelSpec, OutFolder, RunOptions
from seewhy.cli.output import check_writable, print_json, print_table, save_png
from seewhy.cli.progress import reporting

ClassFolder = Annotated[
    Path, Parameter(help="Folder of classes: one sub-folder of images each, named by label or index.")
]


def tcav(
    *,
    images: ClassFolder,
    given: ConceptOptions = DEFAULT,
    layers: LayerNames = None,
    solver: Solver = "difference_of_means",
    pool: Pool = "mean",
    runs: int = 20,
    correction: Correction = "holm",
    model: ModelSpec = DEFAULT_MODEL,
    out: OutFolder = DEFAULT_CONCEPTS,
    parquet: Parquet = False,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
) -> None:
    """Test how consistently concepts raise the scores of classes.

    Writes tcav.safetensors and tcav.json (everything), tcav.png and tcav.html; for concepts from texts also
    tcav.texts.png, the photos nearest to them.

    Parameters
    ----------
    solver
        How vectors are fitted; lda and logistic need scikit-learn.
    pool
        mean over the cells of a layer, or none: every cell has its own features.
    runs
        Vectors a concept, each against random images of its own.
    correction
        Of the p-values for the number of tests.
    """
    from seewhy.concepts import TCAV
    from seewhy.report.concepts import write_concept_report
    from seewhy.show.words import number

    method = TCAV(layers_of(layers), solver, pool, runs, correction=correction)
    run.execution()
    check_parquet(parquet)
    concepts, classes = concepts_given(given, run), sets_in(images)
    check_writable(out)
    network = load_model(model, run)
    with reporting() as report:
        by_class: dict[int | str, object] = {c.name: c for c in classes}
        execution = run.execution(report.progress)
        found = method(network, *concepts(network, execution), by_class, execution)
    files = [*found.save(out / "tcav"), save_png(out / "tcav.png", found.picture())]
    files.append(
        write_concept_report(out / "tcav.html", found, command=shlex.join(["seewhy", *sys.argv[1:]]))
    )
    files += save_nearest(out / "tcav.texts.png", found)
    if parquet:
        files.append(write_parquet(out / "tcav.parquet", found.to_rows()))
    if as_json:
        print_json({"model": network.name, "rows": found.to_rows(), "files": [str(f) for f in files]})
        return
    print_table(
        ("class", "layer", "concept", "score", "95 %", "random", "p", "verdict"),
        [
            (
                r.target,
                r.layer,
                r.concept,
                f"{r.score:.2f}" if r.separable else "-",
                f"{r.low:.2f} to {r.high:.2f}" if r.separable else "-",
                f"{r.random:.2f}",
                number(r.p_corrected),
                r.verdict if not r.separable else "significant" if r.significant else "not significant",
            )
            for r in found.rows
        ],
        title=f"TCAV of {network.name} into {out}",
    )
