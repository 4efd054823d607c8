"""A dissection as one HTML file that needs no network, no scripts and no other file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from seewhy.concepts.dissection_result import READING, Dissection, Unit
from seewhy.files import write_atomically
from seewhy.report.shell import image, making, shell
from seewhy.show.gallery import Chapter
from seewhy.show.words import number

_HEAD = ("Channel", "Concept", "IoU", "95 %", "Chance", "p", "Same name")


def write_dissection(
    path: str | Path,
    found: Dissection,
    shown: Mapping[str, Sequence[Chapter]],
    *,
    command: str = "",
    data: str = "",
) -> Path:
    """Write the page.

    Parameters
    ----------
    path
        Of the HTML file; its folder is made where it is missing.
    found
        What to tell.
    shown
        Layer to the channels whose photos are shown (see `Dissection.chapters`).
    command, data
        What to type to get the same, and the data set's spec.

    Raises
    ------
    BadInput
        When the file cannot be written.
    """
    path = Path(path)
    write_atomically(path, render_dissection(found, shown, command=command, data=data).encode())
    return path


def render_dissection(
    found: Dissection, shown: Mapping[str, Sequence[Chapter]], *, command: str = "", data: str = ""
) -> str:
    """Return the page as HTML text; parameters as in `write_dissection`."""
    sections = []
    for i, layer in enumerate(found.tables):
        body = [f"<p>{escape(found.summary(layer))}.</p>", _counted(found, layer)]
        body += [_chapter(chapter) for chapter in shown.get(layer, ())]
        body.append(_table(found.detectors(layer)))
        sections.append((f"layer-{i}", layer, "".join(body)))
    about, settings = found.about, found.about["settings"]
    facts = {
        "Model": f"{about['model']}, weights {about['weights_sha256']}",
        "Data": data or "given in Python",
        "Settings": ", ".join(f"{k} {v}" for k, v in settings.items() if k != "layers"),
        "Raster": " x ".join(str(side) for side in about["raster"]),
        "Seed": str(about["seed"]),
        "Photos": f"{len(found.photos)} read, {len(found.failures)} samples left out",
    }
    sections.append(("making", "To reproduce", making(facts, command, found.failures)))
    lead = f"{len(found.photos)} photos · {len(found.concepts)} concepts · {len(found.units)} channels"
    title = f"What channels of {about['model']} detect"
    rule = (
        f"A detector's IoU exceeds {settings['threshold']:g}, and fewer than 5 % of the shuffles of the "
        "masks among the photos reach it with any concept."
    )
    return shell(title, lead, (READING, rule), sections, str(about["seewhy"]))


def _counted(found: Dissection, layer: str) -> str:
    """Return how many detectors each concept has, those without any included."""
    counts = found.counts(layer)
    best: dict[str, Unit] = {}
    for unit in found.detectors(layer):
        best.setdefault(unit.concept, unit)
    order = sorted(found.concepts, key=lambda name: (-counts.get(name, 0), name))
    rows = [
        (
            name,
            str(found.concepts[name]),
            str(counts.get(name, 0)),
            f"channel {best[name].channel}, IoU {number(best[name].iou)}" if name in best else "–",
        )
        for name in order
    ]
    return _rows(("Concept", "Photos", "Detectors", "Best"), rows, "Detectors by concept", words=(0, 3))


def _table(units: Sequence[Unit]) -> str:
    rows = [
        (
            str(u.channel),
            u.concept,
            number(u.iou),
            f"{number(u.low)} to {number(u.high)}",
            number(u.chance),
            number(u.p),
            f"{100 * u.stable:.0f} %",
        )
        for u in units
    ]
    table = _rows(_HEAD, rows, "All detectors, the largest IoU first", words=(1,))
    return f"<details><summary>All {len(units)} detectors</summary>{table}</details>" if units else ""


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str, words: Sequence[int]) -> str:
    kind = ["" if i in words else ' class="num"' for i in range(len(head))]
    tops = "".join(f'<th scope="col"{k}>{escape(h)}</th>' for k, h in zip(kind, head, strict=True))
    lines = "".join(
        f"<tr>{''.join(f'<td{k}>{escape(cell)}</td>' for k, cell in zip(kind, row, strict=True))}</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{tops}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _chapter(chapter: Chapter) -> str:
    figures = "".join(
        f"<figure>{image(tile.picture, f'Where the channel is on in {tile.caption}')}"
        f"<figcaption>{escape(tile.caption)}</figcaption></figure>"
        for tile in chapter.strips[0].tiles
    )
    shown = f'<div class="photos">{figures}</div>' if figures else '<p class="muted">Never on.</p>'
    return f'<h3>{escape(chapter.title)}</h3><p class="lead">{escape(chapter.note)}</p>{shown}'
