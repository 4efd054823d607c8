"""`seewhy concepts discover`: a folder of photos in, concepts that nobody named out."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from seewhy.cli.concepts_gallery import photos_in, typed, write_json
from seewhy.cli.concepts_options import Parquet, check_parquet, write_parquet
from seewhy.cli.loading import load_model
from seewhy.cli.options import (
    DEFAULT_MODEL,
    DEFAULT_RUN,
    AsJson,
    ModelSpec,
    OutFolder,
    RunOptions,
    TargetText,
)
from seewhy.cli.output import check_writable, print_json, print_table, save_png
from seewhy.cli.progress import reporting
from seewhy.errors import BadInput, Cancelled

if TYPE_CHECKING:
    from seewhy.concepts.discovery import Concept, Discovered
    from seewhy.models.model import Model
    from seewhy.show.gallery import Chapter, Tile
    from seewhy.types import Json

DEFAULT_DISCOVERED = Path("seewhy-concepts")
_DRAWN = 24
"""Concepts in the picture; the page shows all."""
_FITS = {
    "nmf": "In all cells the factorisation",
    "sae": "In the photos that it learned from the autoencoder",
    "sae, held out": "In the other photos it",
    "nmf, held out": "There a factorisation of the same size",
}
READING = (
    "A concept is a direction of the layer's channels; below it the patches of the photos that hold most of "
    "it. Importance is the total Sobol index: the part of the score's variance that is left when all other "
    "concepts are fixed, the mean over photos; ± is half of a 95 % interval by Student's t."
)


def discover(
    folder: Path,
    *,
    model: ModelSpec = DEFAULT_MODEL,
    layer: str | None = None,
    concepts: int = 10,
    patch: float = 64 / 224,
    count: int = 8,
    factors: Literal["nmf", "sae"] = "nmf",
    active: int = 8,
    steps: int = 2000,
    features: Path | None = None,
    target: TargetText = None,
    out: OutFolder = DEFAULT_DISCOVERED,
    parquet: Parquet = False,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
) -> None:
    """Find directions of a layer that photos are made up of, and how much each matters.

    Give photos of one class. Writes concepts.html, concepts.json, concepts.png and the directions
    (concepts.safetensors). Needs scikit-learn.

    Parameters
    ----------
    folder
        Of the photos; folders in it are searched, too.
    layer
        A layer with a grid; the model's default one when left out.
    concepts
        How many.
    patch
        Side of the patches as a part of the photo's.
    count
        Patches shown a concept.
    factors
        nmf: a few non-negative directions of patches; sae: a sparse autoencoder on the layer's cells, for
        many directions (--concepts 64 and more) from many photos.
    active
        Most concepts of a cell (sae).
    steps
        Of training (sae).
    features
        Folder of a feature store, from which an autoencoder learns (sae).
    """
    from safetensors.torch import save

    from seewhy.concepts.discovery import Discovering
    from seewhy.concepts.discovery import discover as find
    from seewhy.concepts.store import FeatureStore
    from seewhy.files import write_atomically
    from seewhy.show.gallery import gallery

    run.execution()
    check_parquet(parquet)
    photos = photos_in(folder)
    settings = Discovering(
        layer, concepts, patch, examples=count, factors=factors, active=active, steps=steps
    )
    store = None if features is None else FeatureStore(features)
    check_writable(out)
    network = load_model(model, run)
    with reporting() as report:
        try:
            found = find(network, photos, settings, target, run.execution(report.progress), store=store)
        except KeyboardInterrupt:
            raise Cancelled("Stopped. Nothing was written.") from None
    chapters = [_chapter(network, i, c) for i, c in enumerate(found.concepts)]
    title = f"Concepts in {found.layer} of {network.name}"
    lead = (
        f"{found.photos} photos. Rebuilt from these concepts alone, the score is off by "
        f"{100 * found.error:.2g} % on average."
    )
    fits = " ".join(f"{_FITS[name]} {fit.words()}." for name, fit in found.fits.items())
    files = {
        "picture": save_png(
            out / "concepts.png", gallery(chapters[:_DRAWN], title=title, caption=f"{lead} {fits} {READING}")
        ),
        "page": _write_page(out / "concepts.html", title, lead, fits, chapters, network, target),
        "directions": out / "concepts.safetensors",
    }
    write_atomically(files["directions"], save({"directions": found.directions}, {"layer": found.layer}))
    if parquet:
        files["parquet"] = write_parquet(out / "concepts.parquet", _rows(found))
    answer = _answer(found, network) | {"files": {k: str(v) for k, v in files.items()}}
    write_json(out / "concepts.json", answer)
    if as_json:
        print_json(answer)
        return
    print_table(
        ("concept", "importance", "best patch of"),
        [
            (str(i + 1), _importance(c), Path(c.examples[0].name).name if c.examples else "-")
            for i, c in enumerate(found.concepts)
        ],
        title=f"{lead} {fits} {files['page']}",
    )


def _importance(concept: Concept) -> str:
    spread = f" ± {concept.margin:.2g}" if concept.margin == concept.margin else ""
    return f"{concept.importance:.3g}{spread}"


def _chapter(model: Model, i: int, concept: Concept) -> Chapter:
    from seewhy.show.gallery import Chapter, Strip

    tiles = [_tile(model, e.name, e.window) for e in concept.examples]
    note = f"Importance {_importance(concept)}"
    return Chapter(f"Concept {i + 1}", note, [Strip("patches", tiles)])


def _tile(model: Model, name: str, window: tuple[tuple[int, int], ...]) -> Tile:
    import numpy as np

    from seewhy.inputs.images import read_image
    from seewhy.show.gallery import Tile, focused

    if model.preprocess is None:
        raise BadInput("Asked to show patches of photos", f"{model.name} has no preprocessing")
    shape = tuple(model.prepare(name).tensor.shape[2:])
    frame = model.preprocess.frame(read_image(name))
    return Tile(focused(frame, np.ones(shape), window, cell=128), Path(name).stem)


def _write_page(
    path: Path, title: str, lead: str, fits: str, chapters: list[Chapter], model: Model, target: str | None
) -> Path:
    import seewhy
    from seewhy.files import write_atomically
    from seewhy.report.shell import image, making, shell

    sections = []
    for i, chapter in enumerate(chapters):
        figures = "".join(
            f"<figure>{image(t.picture, f'Patch of {t.caption}')}"
            f"<figcaption>{escape(t.caption)}</figcaption></figure>"
            for t in chapter.strips[0].tiles
        )
        body = f'<p class="lead">{escape(chapter.note)}</p><div class="photos">{figures}</div>'
        sections.append((f"concept-{i + 1}", chapter.title, body))
    facts = {"Model": f"{model.name}, weights {model.weights_hash}", "Explained": target or "own answer"}
    sections.append(("making", "To reproduce", making(facts, typed(), ())))
    write_atomically(path, shell(title, lead, (fits, READING), sections, seewhy.__version__).encode())
    return path


def _rows(found: Discovered) -> list[Json]:
    """Return every patch of every concept, for parquet."""
    return [
        {
            "concept": i,
            "importance": c.importance,
            "margin": c.margin,
            "rank": rank,
            "photo": e.name,
            "top": e.window[0][0],
            "bottom": e.window[0][1],
            "left": e.window[1][0],
            "right": e.window[1][1],
            "value": e.value,
        }
        for i, c in enumerate(found.concepts, 1)
        for rank, e in enumerate(c.examples, 1)
    ]


def _answer(found: Discovered, model: Model) -> Json:
    return {
        "model": model.name,
        "layer": found.layer,
        "photos": found.photos,
        "error": found.error,
        "factors": found.factors,
        "fits": {name: fit.to_json() for name, fit in found.fits.items()},
        "concepts": [
            {
                "importance": c.importance,
                "margin": c.margin if c.margin == c.margin else None,
                "patches": [
                    {"photo": e.name, "window": [list(w) for w in e.window], "value": e.value}
                    for e in c.examples
                ],
            }
            for c in found.concepts
        ],
    }
