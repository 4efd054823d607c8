"""The gallery as one HTML file that needs no network, no scripts and no other file."""

from __future__ import annotations

from html import escape
from pathlib import Path

from seewhy.concepts.collected import KINDS, Kind
from seewhy.concepts.exemplar import Exemplar
from seewhy.concepts.gallery import READING, Card, Gallery, Share
from seewhy.files import write_atomically
from seewhy.report.shell import image, making, shell
from seewhy.show.gallery import Tile
from seewhy.show.words import number

_ROWS: dict[Kind, str] = {
    "relevance": "Photos by relevance",
    "activation": "Photos by activation",
}
_MARGINS = (
    "Shares are means over photos of the channel's part in the relevance of its layer (the sum of magnitudes "
    "over all its channels); ± is half of a 95 % interval by Student's t. Classes with one photo have none."
)


def write_gallery(path: str | Path, gallery: Gallery, *, command: str = "") -> Path:
    """Write the page.

    Parameters
    ----------
    path
        Of the HTML file; its folder is made where it is missing.
    gallery
        What to show.
    command
        What to type to get the same.

    Raises
    ------
    BadInput
        When the file cannot be written.
    """
    path = Path(path)
    write_atomically(path, render_gallery(gallery, command=command).encode())
    return path


def render_gallery(gallery: Gallery, *, command: str = "") -> str:
    """Return the page as HTML text; parameters as in `write_gallery`."""
    about, layers = gallery.about, list(dict.fromkeys(card.layer for card in gallery.cards))
    sections = []
    for i, layer in enumerate(layers):
        cards = (c for c in gallery.cards if c.layer == layer)
        body = "".join(_card(card, parts=about["settings"]["normalised"]) for card in cards)
        sections.append((f"layer-{i}", layer, body))
    sections.append(("making", "To reproduce", _making(gallery, command)))
    title = f"What channels of {about['model']} respond to"
    lead = f"{gallery.inputs} photos · {len(gallery.cards)} channels"
    return shell(title, lead, (READING, _MARGINS), sections, str(about["seewhy"]))


def _card(card: Card, *, parts: bool) -> str:
    rows = "".join(_row(kind, card, parts=parts) for kind in KINDS)
    return f"<h3>Channel {card.channel}</h3>{_shares((card.share, *card.classes))}{rows}"


def _shares(shares: tuple[Share, ...]) -> str:
    lines = "".join(
        f'<tr><th scope="row">{escape("all photos" if i == 0 else s.label)}</th>'
        f'<td class="num">{100 * s.mean:.3g} %</td>'
        f'<td class="num">{f"± {100 * s.margin:.2g}" if s.margin == s.margin else "–"}</td>'
        f'<td class="num">{s.inputs}</td></tr>'
        for i, s in enumerate(shares)
    )
    return (
        '<div class="scroll" tabindex="0"><table><thead><tr><th scope="col">Explained class</th>'
        '<th scope="col" class="num">Mean share</th><th scope="col" class="num">95 %</th>'
        f'<th scope="col" class="num">Photos</th></tr></thead><tbody>{lines}</tbody></table></div>'
    )


def _row(kind: Kind, card: Card, *, parts: bool) -> str:
    found = zip(card.exemplars[kind], card.tiles[kind], strict=True)
    figures = "".join(_figure(e, t, parts=parts) for e, t in found)
    body = f'<div class="photos">{figures}</div>' if figures else '<p class="muted">No photo above 0.</p>'
    return f'<p class="row">{_ROWS[kind]}</p>{body}'


def _figure(exemplar: Exemplar, tile: Tile, *, parts: bool) -> str:
    name = exemplar.name.replace("\\", "/").rpartition("/")[2]
    words = f"{exemplar.label} · " if exemplar.label else ""
    value = f"{100 * exemplar.value:.3g}\u00a0%" if parts else number(exemplar.value)
    said = f"{words}{value}"
    return (
        f"<figure>{image(tile.picture, f'{name}: {said}')}"
        f"<figcaption>{escape(said)}<br>{escape(name)}</figcaption></figure>"
    )


def _making(gallery: Gallery, command: str) -> str:
    about = gallery.about
    settings = {k: v for k, v in about["settings"].items() if k not in ("layers", "rules")}
    rules = {k: v for k, v in about["settings"]["rules"].items() if v is not None}
    facts = {
        "Model": f"{about['model']}, weights {about['weights_sha256']}",
        "Explained": about["target"],
        "Settings": ", ".join(f"{k} {v}" for k, v in settings.items()),
        "Rules": ", ".join(f"{k} {v}" for k, v in rules.items()),
        "Photos": f"{gallery.inputs} read, {len(gallery.failures)} not",
    }
    return making(facts, command, gallery.failures)
