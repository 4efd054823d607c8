"""`seewhy explain`: photos in, maps, pictures and numbers out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from seewhy.cli.loading import check_photos, load_model
from seewhy.cli.options import (
    DEFAULT_MODEL,
    DEFAULT_OUT,
    DEFAULT_RUN,
    AsJson,
    ModelSpec,
    OutFolder,
    RunOptions,
    TargetText,
)
from seewhy.cli.output import check_writable, percent, print_json, print_table, save_png
from seewhy.cli.progress import reporting
from seewhy.errors import Cancelled
from seewhy.files import unique_names

if TYPE_CHECKING:
    from seewhy.attribution import Attribution
    from seewhy.types import Json

DEFAULT_METHOD = "grad_cam"


def explain(
    *images: Path,
    model: ModelSpec = DEFAULT_MODEL,
    method: str = DEFAULT_METHOD,
    target: TargetText = None,
    out: OutFolder = DEFAULT_OUT,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
    parameters: Annotated[Any, Parameter(parse=False)] = None,
) -> None:
    """Explain photos: show where the model looked.

    Writes NAME.METHOD.safetensors, .json and .png for each photo, over files of the same name. The parameters
    of a method are flags: `seewhy explain --method NAME --help` shows them.

    Parameters
    ----------
    images
        Photos to explain, one after the other. All are read before the work begins.
    method
        Name of the method; `seewhy methods` lists them.
    """
    from seewhy.methods import METHODS

    chosen = parameters if parameters is not None else METHODS[method]()
    # Everything that can be refused is refused here, before a file is written.
    run.execution()
    check_photos(images)
    check_writable(out)
    network = load_model(model, run)
    results = []
    with reporting() as report:
        for i, (image, name) in enumerate(zip(images, unique_names(images), strict=True)):
            report.item(i, len(images), image.name)
            try:
                attribution = chosen(network, [image], target, run.execution(report.progress))
                results.append(written(attribution, out, f"{name}.{chosen.name}"))
            except KeyboardInterrupt:
                kept = f"{i} of {len(images)} photos are finished"
                raise Cancelled(f"Stopped. {kept} and kept in {out}." if i else f"Stopped. {kept}.") from None
    answer = {
        "model": network.name,
        "method": chosen.name,
        "parameters": chosen.parameters(),
        "inputs": results,
    }
    if as_json:
        print_json(answer)
        return
    print_table(
        ("photo", "prediction", "target", "score", "passes", "seconds", "files"),
        (human(r) for r in results),
        title=f"{chosen.title} on {network.name}",
    )


def command(tokens: Sequence[str]) -> Callable[..., None]:
    """Return `explain` with the parameters of the method that the command line names as its flags.

    Raises
    ------
    UnknownName
        For an unknown method.
    """
    return with_parameters(explain, tokens, DEFAULT_METHOD)


def with_parameters(verb: Callable[..., None], tokens: Sequence[str], default: str) -> Callable[..., None]:
    """Return a command whose `parameters` are those of the method that the command line names."""
    from seewhy.methods import METHODS

    cls = METHODS[method_in(tokens, default)]

    @functools.wraps(verb)
    def with_flags(*positional: Any, **options: Any) -> None:
        verb(*positional, **options)

    own = Annotated[cls | None, Parameter(name="*", group=f"Parameters of {cls.title}")]  # type: ignore[valid-type]
    with_flags.__annotations__ = {**verb.__annotations__, "parameters": own}
    return with_flags


def method_in(tokens: Sequence[str], default: str = DEFAULT_METHOD) -> str:
    """Return the method that a command line names."""
    name = default
    for i, token in enumerate(tokens):
        if token == "--":
            break
        if token == "--method" and i + 1 < len(tokens):
            name = tokens[i + 1]
        elif token.startswith("--method="):
            name = token.removeprefix("--method=")
    return name


def owners(option: str) -> list[str]:
    """Return the methods that have `option` as a parameter."""
    from seewhy.methods import METHODS

    key = option.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
    return [cls.name for cls in METHODS if key in {f.name for f in fields(cls)}]


def written(attribution: Attribution, folder: Path, name: str) -> Json:
    """Write the map and picture of one photo and return its entry of the answer; all of its files or none."""
    notes = attribution.provenance["inputs"][0]
    drawn = attribution.overlay()
    files = attribution.save(folder / name)
    try:
        picture = save_png(folder / f"{name}.png", drawn)
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise
    return {
        "path": notes["path"],
        "predictions": notes["predictions"],
        "target": {key: notes["target"].get(key) for key in ("label", "index")},
        "score": notes["score"],
        "map": str(files[0]),
        "overlay": str(picture),
        "seconds": attribution.provenance["seconds"],
        "passes": attribution.provenance["passes"],
    }


def human(result: Json) -> tuple[str, ...]:
    """Return one row of the table."""
    top = result["predictions"][:1]
    passes = result["passes"]
    return (
        result["path"],
        f"{top[0]['label']}, {percent(top[0]['probability'])}" if top else "-",
        result["target"]["label"],
        f"{result['score']:.4g}",
        f"{passes['forward']} + {passes['backward']}",
        f"{result['seconds']:.1f}",
        str(Path(result["map"]).with_suffix("")) + ".{safetensors,json,png}",
    )
