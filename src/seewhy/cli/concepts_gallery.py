"""`seewhy concepts gallery`: a folder of photos in, what channels of a network stand for out."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

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
from seewhy.cli.output import check_writable, note, print_json, print_table, save_png
from seewhy.cli.progress import reporting
from seewhy.errors import BadInput, Cancelled

if TYPE_CHECKING:
    from seewhy.concepts.collected import Collected
    from seewhy.models.model import Model

DEFAULT_GALLERY = Path("seewhy-gallery")


def gallery(
    folder: Path,
    *,
    model: ModelSpec = DEFAULT_MODEL,
    layers: str | None = None,
    channels: Annotated[str | None, Parameter(negative=())] = None,
    show: int = 8,
    of: str | None = None,
    count: int = 8,
    pooling: Literal["sum", "max"] = "sum",
    window: Literal["map", "receptive_field", "whole"] = "map",
    target: TargetText = None,
    features: Path | None = None,
    out: OutFolder = DEFAULT_GALLERY,
    parquet: Parquet = False,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
) -> None:
    """Show what channels of a network stand for: photos in which they mattered most, and where.

    Looks at every photo below the folder once, for all channels of the layers. A run that was stopped goes on
    where it was when it is asked for again. Writes gallery.html, gallery.json, one picture a layer, and
    the tables of all channels (references.safetensors; as parquet references.parquet).

    Parameters
    ----------
    folder
        Of the photos; folders in it are searched, too.
    layers
        Names separated by commas; `seewhy layers` lists them. By default the last of each of the two coarsest
        grids.
    channels
        Channels to show, separated by commas; of a single layer. By default those that matter most.
    show
        How many channels a layer to show where none is named.
    of
        Show the channels that matter most for this class, a label or index, and its photos.
    count
        Photos a row.
    pooling
        What a channel's value is over its cells.
    window
        What of each photo is shown: around what the map shows, as far as the strongest cell sees, or all.
    features
        Folder of a feature store, where the layers' activations are kept for later searches.
    """
    from seewhy.concepts.collected import NO_CLASS, Collecting
    from seewhy.concepts.collecting import collect
    from seewhy.concepts.gallery import make_gallery
    from seewhy.concepts.store import FeatureStore
    from seewhy.report.gallery import write_gallery

    run.execution()
    check_parquet(parquet)
    photos = photos_in(folder)
    named = numbers(channels)
    if show < 1:
        raise BadInput("Asked how many channels to show", f"Found {show}", "Give at least 1")
    check_writable(out)
    store = None if features is None else FeatureStore(features)
    network = load_model(model, run)
    wanted = _layers(network, layers, photos)
    if named and len(wanted) > 1:
        raise BadInput(
            "Asked for channels by number", f"{len(wanted)} layers are meant", "Name one with --layers"
        )
    settings = Collecting(wanted, count=count, per_class=count if of is not None else 0, pooling=pooling)
    with reporting() as report:
        execution = run.execution(report.progress)
        try:
            collected = collect(network, photos, settings, target, execution, out, features=store)
            only = None if of is None else _class(network, collected, of)
            lead = NO_CLASS if only is None else only
            chosen = {name: named or collected.leading(name, show, lead) for name in wanted}
            made = make_gallery(
                network, collected, chosen, target, execution, count=count, window=window, of=only
            )
        except KeyboardInterrupt:
            raise Cancelled(f"Stopped. The same command goes on from what is kept in {out}.") from None
    for why in made.failures:
        note(f"left out: {why}")
    files = {"page": write_gallery(out / "gallery.html", made, command=typed())}
    for i, name in enumerate(wanted):
        part = type(made)(
            tuple(c for c in made.cards if c.layer == name), made.about, made.inputs, made.failures
        )
        files[name] = save_png(out / f"gallery-{i + 1}.png", part.picture())
    if parquet:
        files["parquet"] = write_parquet(out / "references.parquet", collected.to_rows())
    answer = made.to_json() | {"files": {k: str(v) for k, v in files.items()}}
    write_json(out / "gallery.json", answer)
    if as_json:
        print_json(answer)
        return
    print_table(
        ("layer", "channel", "mean share of the relevance", "largest for"),
        [
            (c.layer, str(c.channel), c.share.words(), "; ".join(s.label for s in c.classes))
            for c in made.cards
        ],
        title=f"{made.inputs} photos, {network.name}: {files['page']}",
    )


def photos_in(folder: Path) -> list[Path]:
    """Return the photos in a folder and those below it, in order of path."""
    asked = f"Asked for the photos in {folder}"
    if not folder.is_dir():
        raise BadInput(asked, "There is no such folder", "Give a folder of photos")
    from seewhy.inputs.images import SUFFIXES

    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not found:
        raise BadInput(asked, "It holds none", f"Put photos there ({', '.join(SUFFIXES[:4])} ...)")
    return found


def numbers(channels: str | None) -> list[int]:
    """Return the channels that a text names, each once."""
    parts = [p.strip() for p in (channels or "").split(",") if p.strip()]
    if any(not p.isdigit() for p in parts):
        raise BadInput(f"Asked for the channels {channels!r}", "They are no numbers", "Write 3,17,80")
    return list(dict.fromkeys(int(p) for p in parts))


def _layers(model: Model, layers: str | None, photos: list[Path]) -> tuple[str, ...]:
    from seewhy.concepts.stages import last_of_stages
    from seewhy.models.taps import find_layer

    if layers is None:
        size = model.input_size()
        shape = (3, *size) if size else tuple(model.prepare(photos[0]).tensor.shape[1:])
        return last_of_stages(model, shape)
    names = tuple(dict.fromkeys(p.strip() for p in layers.split(",") if p.strip()))
    for name in names:
        find_layer(model.module, name)
    return names


def _class(model: Model, collected: Collected, of: str) -> int:
    from seewhy.models.labels import find_class

    index = int(of) if of.isdigit() else find_class(of, model.labels)
    if index not in collected.classes():
        raise BadInput(
            f"Asked for the photos of {of!r}",
            "None of the photos was explained for it",
            f"Explain them for it with --target {shlex.quote(of)}, or add photos",
        )
    return index


def write_json(path: Path, content: object) -> None:
    """Write JSON, whole or not at all."""
    from seewhy.files import write_atomically

    write_atomically(path, json.dumps(content, indent=1).encode())


def typed() -> str:
    """Return the command as it was typed."""
    import sys

    return shlex.join(["seewhy", *sys.argv[1:]])
