"""Visualisations as one HTML file that needs no network, no scripts and no other file."""

from __future__ import annotations

from html import escape
from pathlib import Path

from seewhy.concepts.visual_strips import reading, rows_of
from seewhy.concepts.visualised import Visualisation, Visualised
from seewhy.files import write_atomically
from seewhy.models.model import Model
from seewhy.report.shell import image, making, shell
from seewhy.show.gallery import Strip
from seewhy.show.words import number

_PHOTOS = (
    "Photos by score: those with the highest score of the same target. Strongest cells: the photos in which "
    "a single cell of the channel is strongest, cut to what it sees; below, what of these pixels excites it "
    "(grey is nothing)."
)


def write_visualised(path: str | Path, model: Model, visualised: Visualised, *, command: str = "") -> Path:
    """Write the page.

    Parameters
    ----------
    path
        Of the HTML file; its folder is made where it is missing.
    model
        That was asked: its preprocessing shows the photos.
    visualised
        What to show.
    command
        What to type to get the same.

    Raises
    ------
    BadInput
        When the file cannot be written.
    """
    path = Path(path)
    write_atomically(path, render_visualised(model, visualised, command=command).encode())
    return path


def render_visualised(model: Model, visualised: Visualised, *, command: str = "") -> str:
    """Return the page as HTML text; parameters as in `write_visualised`."""
    about = visualised.provenance
    sections = [
        (f"target-{i + 1}", one.label, _target(model, visualised, one))
        for i, one in enumerate(visualised.visualisations)
    ]
    photos = "none" if about["photos"] is None else f"{about['photos']} read, {len(visualised.failures)} not"
    facts = {
        "Model": f"{about['model']}, weights {about['weights_sha256']}",
        "Method": about["method"],
        "Parameters": ", ".join(f"{k} {v}" for k, v in about["parameters"].items()),
        "Seed": str(about["execution"]["seed"]),
        "Photos": photos,
        "Passes": f"{about['passes']['forward']} forward, {about['passes']['backward']} backward",
    }
    if about["magnitudes"] is not None:
        facts["Magnitudes"] = about["magnitudes"]
    sections.append(("making", "To reproduce", making(facts, command, visualised.failures)))
    words = (reading(visualised),) if about["photos"] is None else (reading(visualised), _PHOTOS)
    lead = f"{about['method']} · {len(visualised.visualisations)} targets"
    version = str(about["versions"]["seewhy"])
    return shell(f"What {about['model']} answers to", lead, words, sections, version)


def _target(model: Model, visualised: Visualised, one: Visualisation) -> str:
    rows = rows_of(model, visualised, one)
    parts = [_row("Optimised", rows.optimised, "optimised"), _numbers(one, in_views=visualised.transparent)]
    if rows.photos is not None:
        parts.append(_row("Photos by score", rows.photos))
    if rows.seen is not None:
        parts.append(_row("What the strongest cells see", rows.seen))
    if rows.closer is not None:
        parts.append(_row("What excites them, closer", rows.closer))
    if rows.projections is not None:
        parts.append(_row("The same, projected back", rows.projections))
    if rows.remark:
        parts.append(f'<p class="muted">{escape(rows.remark)}</p>')
    return "".join(parts)


def _row(title: str, strip: Strip, kind: str = "") -> str:
    figures = "".join(
        f"<figure>{image(t.picture, f'{title}: {t.caption}')}"
        f"<figcaption>{escape(t.caption)}</figcaption></figure>"
        for t in strip.tiles
    )
    kinds, empty = f"photos {kind}".strip(), f'<p class="muted">{escape(strip.empty)}</p>'
    body = f'<div class="{kinds}">{figures}</div>' if figures else empty
    return f'<p class="row">{title}</p>{body}'


def _numbers(one: Visualisation, *, in_views: bool) -> str:
    """Return a table: each image's score beside noise and the photos' scores."""
    start, reached = one.start, one.reached
    if in_views:
        start, reached = one.start_in_views, one.reached_in_views
    s = one.standing
    heads = ["Image", "Noise", "Reached"]
    if s is not None:
        heads += ["Photos below", "Photos: lowest", "Median", "Highest"]
    lines = []
    for i, (a, b) in enumerate(zip(start, reached, strict=True)):
        cells = [number(a), number(b)]
        if s is not None:
            share = (s.percentiles_in_views if in_views else s.percentiles)[i]
            cells += [f"{share:.3g} % of {s.photos}", *(number(v) for v in (s.low, s.median, s.high))]
        row = "".join(f'<td class="num">{cell}</td>' for cell in cells)
        lines.append(f'<tr><th scope="row">{i + 1}</th>{row}</tr>')
    head = "".join(f'<th scope="col"{" class=num" * (i > 0)}>{h}</th>' for i, h in enumerate(heads))
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
