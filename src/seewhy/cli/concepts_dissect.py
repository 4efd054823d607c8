"""`seewhy concepts dissect`: photos with masks in, the channels that detect what the masks show out."""

from __future__ import annotations

from pathlib import Path

from seewhy.cli.concepts_gallery import typed
from seewhy.cli.concepts_options import LayerNames, Parquet, check_parquet, layers_of, write_parquet
from seewhy.cli.loading import load_model
from seewhy.cli.options import DEFAULT_MODEL, DEFAULT_RUN, AsJson, ModelSpec, OutFolder, RunOptions
from seewhy.cli.output import check_writable, note, print_json, print_table, save_png
from seewhy.cli.progress import reporting
from seewhy.errors import BadInput, Cancelled

DEFAULT_DISSECTION = Path("seewhy-dissection")


def dissect(
    data: str,
    *,
    model: ModelSpec = DEFAULT_MODEL,
    layers: LayerNames = None,
    quantile: float = 0.005,
    threshold: float = 0.04,
    rows: int = 112,
    show: int = 12,
    count: int = 8,
    features: Path | None = None,
    out: OutFolder = DEFAULT_DISSECTION,
    parquet: Parquet = False,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
) -> None:
    """Name channels by the concepts whose places in photos they agree with (network dissection).

    Writes dissection.html, dissection.png, dissection.json (every channel) and dissection.safetensors (the
    agreement of every channel with every concept, thresholds). Needs zarr.

    Parameters
    ----------
    data
        Photos with masks of concepts: a folder with ?masks=DIR&labels=folders, coco:FILE?images=DIR,
        voc:DIR?outlines=object and the others that `seewhy benchmark --data` reads.
    quantile
        Share of a channel's cells that count as on, over all photos.
    threshold
        Intersection over union that a detector exceeds.
    rows
        Of the raster on which places are compared.
    show
        How many detectors a layer to show.
    count
        Photos of each of them.
    features
        Folder of a feature store: photos that it holds need no pass, and a stopped run goes on.
    """
    from seewhy.concepts.dissection import Dissecting
    from seewhy.concepts.dissection import dissect as find
    from seewhy.concepts.store import FeatureStore
    from seewhy.inputs.datasets import open_dataset
    from seewhy.report.dissection import write_dissection
    from seewhy.show.words import number

    run.execution()
    check_parquet(parquet)
    if show < 0 or count < 1:
        raise BadInput(
            "Asked how much to show", f"Found --show {show} --count {count}", "Give 0 and 1 or more"
        )
    settings = Dissecting(layers_of(layers), quantile, threshold, rows, examples=count)
    dataset = open_dataset(data)
    check_writable(out)
    store = None if features is None else FeatureStore(features)
    network = load_model(model, run)
    with reporting() as report:
        try:
            found = find(network, dataset, settings, run.execution(report.progress), store=store)
        except KeyboardInterrupt:
            raise Cancelled(
                "Stopped. Nothing was written."
                + (" The same command goes on from the features." if features else "")
            ) from None
    for why in found.failures:
        note(f"left out: {why}")
    shown = {
        layer: found.chapters(network, dataset, found.detectors(layer)[:show], count)
        for layer in found.tables
    }
    bulk, text = found.save(out / "dissection")
    files = {
        "page": write_dissection(out / "dissection.html", found, shown, command=typed(), data=data),
        "tables": bulk,
        "json": text,
    }
    if any(shown.values()):
        best = [u for layer in found.tables for u in found.detectors(layer)[:show]]
        files["picture"] = save_png(out / "dissection.png", found.picture(network, dataset, best, count))
    if parquet:
        files["parquet"] = write_parquet(out / "dissection.parquet", found.to_rows())
    if as_json:
        print_json(found.to_json() | {"files": {k: str(v) for k, v in files.items()}})
        return
    print_table(
        ("layer", "channel", "concept", "IoU", "95 %", "chance", "p", "same name"),
        [
            (
                u.layer,
                str(u.channel),
                u.concept,
                number(u.iou),
                f"{number(u.low)} to {number(u.high)}",
                number(u.chance),
                number(u.p),
                f"{100 * u.stable:.0f} %",
            )
            for layer in found.tables
            for u in found.detectors(layer)[: max(show, 1)]
        ],
        title=f"{'; '.join(found.summary(layer) for layer in found.tables)}. {files['page']}",
    )
