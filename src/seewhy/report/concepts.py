"""Concepts as one HTML file that needs no network, no scripts and no other file."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from seewhy.concepts import tcav, visual_tcav
from seewhy.concepts.tcav_result import TcavResult
from seewhy.concepts.text_picture import fit_rows, nearest_picture
from seewhy.concepts.visual_result import VisualTcavResult
from seewhy.files import write_atomically
from seewhy.methods.base import Paper
from seewhy.report.shell import image, making, shell
from seewhy.show.words import number
from seewhy.types import Json

READING = {
    "tcav": "A score says how consistently a concept raises a class's score, not by how much, nor where. A "
    "vector may stand for something that the examples share beside the concept: mind the accuracy, the "
    "random concepts, and what the example images show besides.",
    "visual_tcav": "A map says where the layer shows the concept, whatever the class. An attribution says "
    "how much of the class's rise in score lies in the concept's channels there. Concepts that look alike "
    "to the layer share attributions: they do not add up.",
}

_TEXTS = ("encoder", "encoder_sha256", "texts", "template", "others", "photos", "top", "failures")


def write_concept_report(
    path: str | Path, result: TcavResult | VisualTcavResult, *, command: str = ""
) -> Path:
    """Write the page of a result.

    Parameters
    ----------
    path
        Of the HTML file; its folder is made where it is missing.
    result
        What TCAV or Visual-TCAV found.
    command
        What to type to get the same.

    Raises
    ------
    BadInput
        When the file cannot be written.
    """
    path = Path(path)
    write_atomically(path, render_concept_report(result, command=command).encode())
    return path


def render_concept_report(result: TcavResult | VisualTcavResult, *, command: str = "") -> str:
    """Return the page as HTML text; parameters as in `write_concept_report`."""
    notes = result.provenance
    visual = isinstance(result, VisualTcavResult)
    parts = _visual(result) if isinstance(result, VisualTcavResult) else _tcav(result)
    if result.nearest is not None:
        parts = [*parts, ("texts", "Texts", _texts(notes, result.nearest))]
    name = "Visual-TCAV" if visual else "TCAV"
    title = f"{name}: what {notes['model']} saw"
    method = visual_tcav if visual else tcav
    paper = (visual_tcav.VisualTCAV if visual else tcav.TCAV).paper
    parts = [*parts, ("method", "Method", _method(inspect.cleandoc(method.__doc__ or ""), paper, notes))]
    parts.append(("making", "To reproduce", _making(notes, command)))
    return shell(title, _lead(notes), [READING[notes["kind"]]], parts, str(notes["versions"]["seewhy"]))


def _tcav(result: TcavResult) -> list[tuple[str, str, str]]:
    head = (
        "Class",
        "Layer",
        "Concept",
        "TCAV score",
        "Random",
        "Slope",
        "Cliff's delta",
        "p",
        "Accuracy",
        "",
    )
    rows = [
        (
            r.target,
            r.layer,
            r.concept,
            _with(r.score, r.low, r.high) if r.separable else "–",
            f"{r.random:.2f}",
            _with(r.sensitivity, r.sensitivity_low, r.sensitivity_high),
            f"{r.cliffs_delta:+.2f}",
            number(r.p_corrected),
            f"{r.accuracy:.2f}",
            "not separable" if not r.separable else "significant" if r.significant else "not significant",
        )
        for r in result.rows
    ]
    words = (
        "Score: share of the class's images whose logit the concept raises, 95 % interval over runs and "
        "images. Random: the same of random images taken as a concept. Slope: mean change of the logit along "
        "the vector. p: permutation test, corrected for the number of rows. Accuracy: of the vectors on "
        "held-out images."
    )
    picture = _image(result.picture(), "Bars of the TCAV scores; the table below says the same in numbers.")
    return [("scores", "Scores", picture + _table(words, head, rows, 3))]


def _visual(result: VisualTcavResult) -> list[tuple[str, str, str]]:
    head = (
        "Class",
        "Layer",
        "Concept",
        "Attribution",
        "Random concepts",
        "Excess",
        "p",
        "Accuracy",
        "Images",
    )
    rows = [
        (
            r.target,
            r.layer,
            r.concept,
            _with(r.attribution, r.low, r.high) if r.separable else "not separable",
            number(r.random),
            _with(r.excess, r.excess_low, r.excess_high) if r.separable else "–",
            number(r.p),
            f"{r.accuracy:.2f}",
            str(r.images),
        )
        for r in result.global_rows()
    ]
    words = (
        "Attribution: share of the largest rise in logit, mean over images; 95 % interval over images and "
        "concept images. Excess: less that of random images taken as a concept, whose spread its interval "
        "holds. p: share of random concepts, this one counted, that reach the attribution."
    )
    bars = _image(
        result.bars_picture(), "Bars of the attributions; the table below says the same in numbers."
    )
    parts = [("global", "Over all images", bars + _table(words, head, rows, 3))]
    maps = "".join(
        f"<h3>{escape(layer)}</h3>"
        + _image(result.maps_picture(layer), f"Concept maps of the first images at {layer}.")
        for layer in result.layers
    )
    return [*parts, ("maps", "Image by image", maps)]


def _lead(notes: Json) -> str:
    made, random = f"{len(notes['concepts'])} concepts", f"{notes['random']} random images"
    if "texts" in notes:
        made, random = f"{made} from texts", f"{notes['texts']['photos']} photos"
    return f"{made} · {random} · layers {', '.join(notes['parameters']['layers'])}"


def _texts(notes: Json, nearest: Tensor) -> str:
    told = notes["texts"]
    words = (
        f"No examples were given: texts were carried into the layers by {told['encoder']}, through "
        f"{told['photos']} photos. R²: how well a layer's features follow from the encoder's vectors on "
        f"photos held out, 95 % interval over photos; layers whose interval reaches {told['gate']:g} are "
        "refused."
    )
    picture = _image(nearest_picture(notes, nearest), "The photos that the encoder finds nearest.")
    return picture + _table(words, ("Layer", "R²", "Ridge"), fit_rows(notes), 1)


def _with(value: float, low: float, high: float) -> str:
    return f"{number(value)} [{number(low)}, {number(high)}]"


def _table(words: str, head: Sequence[str], rows: Sequence[Sequence[str]], names: int) -> str:
    tops = "".join(
        f'<th scope="col"{"" if i < names else " class=num"}>{escape(h)}</th>' for i, h in enumerate(head)
    )
    lines = "".join(
        "<tr>"
        + "".join(f"<td{'' if i < names else ' class=num'}>{escape(c)}</td>" for i, c in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{escape(words)}</caption><thead><tr>{tops}</tr>'
        f"</thead><tbody>{lines}</tbody></table></div>"
    )


def _method(page: str, paper: Paper, notes: Json) -> str:
    _, _, about = page.partition("\n\n")
    first, *rest = about.split("\n\n")
    text = escape("\n\n".join(rest))
    facts = "".join(
        f"<dt>{escape(k)}</dt><dd>{escape(_plain(v))}</dd>" for k, v in notes["parameters"].items()
    )
    words = escape(f"{paper.authors}: {paper.title} ({paper.year})")
    return (
        f"<p>{escape(first)}</p><details><summary>More about the method</summary><pre>{text}</pre></details>"
        f'<p>Paper: <a href="{escape(paper.url)}" rel="noreferrer">{words}</a></p><dl>{facts}</dl>'
    )


def _making(notes: Json, command: str) -> str:
    facts = {
        "model": notes["model"],
        "weights (SHA-256)": notes["weights_sha256"],
        "images of concepts": notes["concepts"],
        **{f"texts: {k}": v for k, v in notes.get("texts", {}).items() if k in _TEXTS},
        "passes": notes["passes"],
        **notes["execution"],
        **notes["versions"],
    }
    return making({str(k).replace("_", " "): _plain(v) for k, v in facts.items()}, command, ())


def _plain(value: Any) -> str:
    if value is None:
        return "default"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _image(picture: Image.Image, alt: str) -> str:
    return f'<figure style="margin:0;overflow-x:auto">{image(picture, alt)}</figure>'
