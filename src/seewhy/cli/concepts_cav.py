"""`seewhy concepts cav`: folders of examples in, concept activation vectors out."""

from __future__ import annotations

from pathlib import Path

from seewhy.cli.concepts_options import (
    ConceptFolder,
    LayerNames,
    Pool,
    RandomFolder,
    Solver,
    layers_of,
    sets_in,
)
from seewhy.cli.loading import load_model
from seewhy.cli.options import DEFAULT_MODEL, DEFAULT_RUN, AsJson, ModelSpec, OutFolder, RunOptions
from seewhy.cli.output import check_writable, print_json, print_table
from seewhy.cli.progress import reporting

DEFAULT_CONCEPTS = Path("seewhy-concepts")


def cav(
    *,
    concepts: ConceptFolder,
    random: RandomFolder,
    layers: LayerNames = None,
    solver: Solver = "difference_of_means",
    pool: Pool = "mean",
    runs: int = 20,
    model: ModelSpec = DEFAULT_MODEL,
    out: OutFolder = DEFAULT_CONCEPTS,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
) -> None:
    """Find the direction of each concept in each layer, and how well it tells the concept's images.

    Writes cav.safetensors (a vector for each layer and concept) and cav.json.

    Parameters
    ----------
    solver
        How vectors are fitted; lda and logistic need scikit-learn.
    pool
        mean over the cells of a layer, or none: every cell has its own features.
    runs
        Splits of the images that the accuracy is a mean of.
    """
    from seewhy.concepts import CAV

    method = CAV(layers_of(layers), solver, pool, runs)
    run.execution()
    examples, others = sets_in(concepts), sets_in(random)
    check_writable(out)
    network = load_model(model, run)
    with reporting() as report:
        found = method(network, examples, others, run.execution(report.progress))
    files = [str(f) for f in found.save(out / "cav")]
    if as_json:
        rows = [d.to_json() for d in found.directions]
        print_json({"model": network.name, "rows": rows, "files": files})
        return
    print_table(
        ("layer", "concept", "accuracy", "95 %"),
        [(d.layer, d.concept, f"{d.accuracy:.3f}", f"{d.low:.3f} to {d.high:.3f}") for d in found.directions],
        title=f"Concept vectors of {network.name} into {out}",
    )
