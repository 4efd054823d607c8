"""`seewhy concepts visualise`: what channels, classes and directions of a network answer to, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from seewhy.cli.concepts_gallery import numbers, photos_in, typed, write_json
from seewhy.cli.loading import load_model
from seewhy.cli.options import DEFAULT_MODEL, DEFAULT_RUN, AsJson, ModelSpec, OutFolder, RunOptions
from seewhy.cli.output import check_writable, note, print_json, print_table, save_png
from seewhy.cli.progress import reporting
from seewhy.errors import BadInput, Cancelled

if TYPE_CHECKING:
    from seewhy.concepts import MACO, FeatureVisualisation
    from seewhy.models.model import Model

DEFAULT_VISUALISED = Path("seewhy-visualised")


def visualise(
    folder: Path | None = None,
    *,
    model: ModelSpec = DEFAULT_MODEL,
    layer: str | None = None,
    channels: Annotated[str | None, Parameter(negative=())] = None,
    cell: str | None = None,
    target: Annotated[list[str] | None, Parameter(negative=())] = None,
    directions: Path | None = None,
    method: Literal["fourier", "maco"] = "fourier",
    images: int = 1,
    steps: int = 256,
    views: int | None = None,
    decay: float = 1.0,
    diversity: float = 0.5,
    out: OutFolder = DEFAULT_VISUALISED,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
) -> None:
    """Make images that channels, classes or directions answer to most, beside the photos that do.

    Writes visualise.html, visualise.json, visualise.png and every image as a PNG of its own.

    Parameters
    ----------
    folder
        Of photos; folders in it are searched, too. Images' scores are held against theirs, and those with the
        highest scores are shown; the magnitudes that maco keeps are theirs.
    layer
        Whose channels; the model's default one when left out.
    channels
        Channels of the layer, separated by commas.
    cell
        One cell of them, "row,column"; by default the mean over all.
    target
        A class index or label, or "A vs B"; may be given several times.
    directions
        What `seewhy concepts cav` wrote (cav.json): all its directions.
    method
        fourier moves the whole spectrum; maco only phases, and is drawn transparent where nothing pushed.
    images
        Of each target.
    steps
        Of the optimiser.
    views
        Random views of each image a step; by default 1 for fourier and 8 for maco.
    decay
        Above 1 images are smoother (fourier only).
    diversity
        How strongly several images of one target are kept different (fourier only); 0 not at all.
    """
    from seewhy.report.visualised import write_visualised

    run.execution()
    how = _method(method, images, steps, views, decay, diversity)
    known = numbers(channels)
    place = _cell(cell)
    photos = None if folder is None else photos_in(folder)
    check_writable(out)
    if not (known or target or directions):
        found, do = "Nothing is named", "Name --channels 3,17 of a --layer, a --target, or --directions"
        raise BadInput("Asked to visualise", found, do)
    network = load_model(model, run)
    wanted = [*_neurons(network, layer, known, place), *(target or []), *_directions(directions)]
    with reporting() as report:
        try:
            made = how(network, wanted, photos, run.execution(report.progress))
        except KeyboardInterrupt:
            raise Cancelled("Stopped. Nothing was written.") from None
    for why in made.failures:
        note(f"left out: {why}")
    from seewhy.concepts.visual_strips import picture

    files = {
        "page": write_visualised(out / "visualise.html", network, made, command=typed()),
        "picture": save_png(out / "visualise.png", picture(network, made)),
    }
    for i, one in enumerate(made.visualisations):
        for j, image in enumerate(one.pictures(transparent=made.transparent)):
            name = f"visualise-{i + 1}-{j + 1}"
            files[name] = save_png(out / f"{name}.png", image)
    answer = made.to_json() | {"files": {k: str(v) for k, v in files.items()}}
    write_json(out / "visualise.json", answer)
    if as_json:
        print_json(answer)
        return
    print_table(
        ("target", "image", "score"),
        [
            (one.label, str(j + 1), one.words(j, in_views=made.transparent))
            for one in made.visualisations
            for j in range(len(one.images))
        ],
        title=f"{made.provenance['method']}, {network.name}: {files['page']}",
    )


def _method(
    method: str, images: int, steps: int, views: int | None, decay: float, diversity: float
) -> FeatureVisualisation | MACO:
    from seewhy.concepts import MACO, FeatureVisualisation

    given = {} if views is None else {"views": views}
    if method == "maco":
        return MACO(images=images, steps=steps, **given)
    return FeatureVisualisation(images=images, steps=steps, decay=decay, diversity=diversity, **given)


def _cell(cell: str | None) -> tuple[int, ...] | None:
    if cell is None:
        return None
    parts = [p.strip() for p in cell.split(",")]
    if len(parts) != 2 or any(not p.isdigit() for p in parts):
        raise BadInput(f"Asked for the cell {cell!r}", "It is no place on a grid", "Write row,column: 3,5")
    return int(parts[0]), int(parts[1])


def _neurons(model: Model, layer: str | None, channels: list[int], cell: tuple[int, ...] | None) -> list[Any]:
    from seewhy.models.layers import default_layer
    from seewhy.models.taps import find_layer
    from seewhy.targets import Neuron

    if layer is not None:
        find_layer(model.module, layer)
    if not channels:
        if layer is not None or cell is not None:
            raise BadInput("Asked to visualise a layer", "No channel is named", "Name some: --channels 3,17")
        return []
    if layer is None:
        colours = 3 if model.preprocess is None else len(model.preprocess.mean)
        layer = default_layer(model, (colours, *(model.input_size() or (224, 224)))).name
    return [Neuron(layer, c, cell) for c in channels]


def _directions(file: Path | None) -> list[Any]:
    from seewhy.concepts.cav import ConceptVectors

    return [] if file is None else list(ConceptVectors.open(file).directions)
