"""`seewhy concepts name`: photos, words and an encoder of both in, names of channels out."""

from __future__ import annotations

import contextlib
import sys
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from seewhy.cli.concepts_gallery import photos_in, typed, write_json
from seewhy.cli.concepts_options import Parquet, check_parquet, lines_of, write_parquet
from seewhy.cli.loading import load_model
from seewhy.cli.options import DEFAULT_MODEL, DEFAULT_RUN, AsJson, ModelSpec, OutFolder, RunOptions
from seewhy.cli.output import check_writable, note, print_json, print_table, save_png
from seewhy.cli.progress import reporting
from seewhy.errors import BadInput, Cancelled, UnreadableInput

if TYPE_CHECKING:
    from torch import Tensor

    from seewhy.concepts.naming_result import Naming
    from seewhy.show.gallery import Chapter

DEFAULT_NAMES = Path("seewhy-names")


def name(
    folder: Path,
    *,
    encoder: Annotated[
        str,
        Parameter(
            help="Encoder of images and texts: hf:ORG/NAME or hf:FOLDER (CLIP, SigLIP), or FILE.py:FUNCTION "
            "(which runs that file and returns a DualEncoder)."
        ),
    ],
    words: Path,
    model: ModelSpec = DEFAULT_MODEL,
    layer: str | None = None,
    directions: Path | None = None,
    top: int = 100,
    template: str = "{}",
    show: int = 12,
    count: int = 8,
    out: OutFolder = DEFAULT_NAMES,
    parquet: Parquet = False,
    as_json: AsJson = False,
    run: RunOptions = DEFAULT_RUN,
) -> None:
    """Name the channels of a layer by the words that an encoder finds nearest to what activates them.

    Writes names.html, names.png and names.json (every channel). A name that is no better than chance says so.

    Parameters
    ----------
    folder
        Of photos of all that the words may mean; folders in it are searched, too.
    words
        Text file, one word or phrase a line.
    layer
        The model's default one when left out.
    directions
        Name these instead of channels: concepts.safetensors of `seewhy concepts discover`.
    top
        Photos that speak for a channel; at most a quarter of all are taken.
    template
        What the encoder reads, with {} for the word: "a photo of {}".
    show
        How many channels to show, those furthest above chance.
    count
        Photos of each of them.
    """
    from seewhy.concepts.naming import NameSettings, name_channels
    from seewhy.models.dual_encoder import load_dual_encoder

    run.execution()
    check_parquet(parquet)
    if show < 0 or count < 1:
        raise BadInput(
            "Asked how much to show", f"Found --show {show} --count {count}", "Give 0 and 1 or more"
        )
    photos, listed = photos_in(folder), lines_of(words)
    layer, given = (layer, None) if directions is None else _directions(directions, layer)
    settings = NameSettings(layer, top, template=template)
    check_writable(out)
    network = load_model(model, run)
    with contextlib.redirect_stdout(sys.stderr):  # what a user's own file prints is no result
        judge = load_dual_encoder(encoder, allow_code=True, device=run.device)
    with reporting() as report:
        try:
            execution = run.execution(report.progress)
            found = name_channels(network, photos, judge, listed, settings, execution, directions=given)
        except KeyboardInterrupt:
            raise Cancelled("Stopped. Nothing was written.") from None
    for why in found.failures:
        note(f"left out: {why}")
    shown = found.ranking()[:show]
    chapters = found.chapters(network, shown, count)
    files = {"page": _write_page(out / "names.html", found, chapters), "json": out / "names.json"}
    if shown:
        files["picture"] = save_png(out / "names.png", found.picture(network, shown, count))
    if parquet:
        files["parquet"] = write_parquet(out / "names.parquet", found.to_rows())
    answer = found.to_json() | {"files": {k: str(v) for k, v in files.items()}}
    write_json(out / "names.json", answer)
    if as_json:
        print_json(answer)
        return
    print_table(
        ("channel", "name", "lift", "chance", "p", "score", "next"),
        [_row(found, i) for i in (n.channel for n in shown)],
        title=f"{found.summary()}. {files['page']}",
    )


def _row(found: Naming, channel: int) -> tuple[str, ...]:
    from seewhy.show.words import number

    n = found.names[channel]
    return (
        str(n.channel),
        n.word if n.named else f"({n.word}) no better than chance",
        number(n.lift),
        number(n.chance),
        number(n.p),
        number(n.score),
        n.second,
    )


def _directions(file: Path, layer: str | None) -> tuple[str, Tensor]:
    """Return the layer that directions were found in, and the directions."""
    from safetensors import SafetensorError, safe_open

    asked = f"Asked for the directions in {file}"
    try:
        with safe_open(file, "pt") as opened:
            known = (opened.metadata() or {})["layer"]
            found: Tensor = opened.get_tensor("directions")
    except (OSError, KeyError, SafetensorError) as error:
        raise UnreadableInput(
            asked, f"It holds none: {error}", "Give concepts.safetensors of `seewhy concepts discover`"
        ) from error
    if layer not in (None, known):
        raise BadInput(asked, f"They are of the layer {known!r}, not {layer!r}", "Leave --layer out")
    return known, found


def _write_page(path: Path, found: Naming, chapters: list[Chapter]) -> Path:
    import seewhy
    from seewhy.concepts.naming_result import READING
    from seewhy.files import write_atomically
    from seewhy.report.shell import image, making, shell

    shown = []
    for chapter in chapters:
        figures = "".join(
            f"<figure>{image(t.picture, 'One of the photos that activate it most')}</figure>"
            for t in chapter.strips[0].tiles
        )
        shown.append(
            f'<h3>{escape(chapter.title)}</h3><p class="lead">{escape(chapter.note)}</p>'
            f'<div class="photos">{figures}</div>'
        )
    head = ("Channel", "Name", "Lift", "Chance", "p", "Score", "Next best")
    tops = "".join(f'<th scope="col">{h}</th>' for h in head)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _row(found, n.channel))}</tr>"
        for n in found.ranking()
    )
    table = (
        f"<details><summary>All {len(found.names)}</summary>"
        f'<div class="scroll" tabindex="0"><table><thead><tr>{tops}</tr></thead><tbody>{rows}</tbody></table>'
        "</div></details>"
    )
    about = found.about
    facts = {
        "Model": f"{about['model']}, weights {about['weights_sha256']}",
        "Encoder": f"{about['encoder']}, weights {about['encoder_sha256'] or 'not known'}",
        "Settings": ", ".join(f"{k} {v}" for k, v in about["settings"].items()),
        "Words": str(about["words"]),
        "Seed": str(about["seed"]),
    }
    sections = [
        ("names", f"Names in {found.layer}", "".join(shown) + table),
        ("making", "To reproduce", making(facts, typed(), found.failures)),
    ]
    title = f"Names for {found.layer} of {about['model']}"
    lead = f"{found.summary()} · {len(found.photos)} photos · {len(found.vocabulary)} words"
    write_atomically(path, shell(title, lead, (READING,), sections, seewhy.__version__).encode())
    return path
