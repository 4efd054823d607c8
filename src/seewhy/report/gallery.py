"""The gallery as one HTML file that needs no network, no scripts and no other file."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

from PIL import Image

from seewhy.concepts.collected import KINDS, Kind
from seewhy.concepts.exemplars import Exemplar
from seewhy.concepts.gallery import READING, Card, Gallery, Share
from seewhy.files import write_atomically
from seewhy.report.page import POLICY
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
    sections = [
        f'<section aria-labelledby="layer-{i}"><h2 id="layer-{i}">{escape(layer)}</h2>'
        + "".join(
            _card(card, parts=about["settings"]["normalised"])
            for card in gallery.cards
            if card.layer == layer
        )
        + "</section>"
        for i, layer in enumerate(layers)
    ]
    sections.append(_making(gallery, command))
    contents = "".join(f'<li><a href="#layer-{i}">{escape(layer)}</a></li>' for i, layer in enumerate(layers))
    contents += '<li><a href="#making">To reproduce</a></li>'
    title = f"What channels of {escape(str(about['model']))} respond to"
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<div class="page">
<header>
<h1>{title}</h1>
<p class="lead">{gallery.inputs} photos · {len(gallery.cards)} channels</p>
<p>{escape(READING)}</p>
<p class="muted">{escape(_MARGINS)}</p>
</header>
<nav aria-label="Contents"><ul>{contents}</ul></nav>
<main id="content">
{"".join(sections)}
</main>
<footer>Made with SeeWhy {escape(str(about["seewhy"]))}. This page is one file and loads nothing.</footer>
</div>
</body>
</html>
"""


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
        f"<figure>{_image(tile.picture, f'{name}: {said}')}"
        f"<figcaption>{escape(said)}<br>{escape(name)}</figcaption></figure>"
    )


def _making(gallery: Gallery, command: str) -> str:
    again = f'<pre tabindex="0"><code>{escape(command)}</code></pre>' if command else ""
    facts = {
        "Model": f"{gallery.about['model']}, weights {gallery.about['weights_sha256']}",
        "Explained": gallery.about["target"],
        "Settings": ", ".join(
            f"{k} {v}" for k, v in gallery.about["settings"].items() if k not in ("layers", "rules")
        ),
        "Rules": ", ".join(
            f"{k} {v}" for k, v in gallery.about["settings"]["rules"].items() if v is not None
        ),
        "Photos": f"{gallery.inputs} read, {len(gallery.failures)} not",
    }
    listed = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items())
    missed = "".join(f"<li>{escape(why)}</li>" for why in gallery.failures)
    failures = f"<h3>Photos that could not be read</h3><ul>{missed}</ul>" if missed else ""
    return (
        f'<section aria-labelledby="making"><h2 id="making">To reproduce</h2>{again}<dl>{listed}</dl>'
        f"{failures}</section>"
    )


def _image(picture: Image.Image, alt: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=82, method=4)
    data = base64.b64encode(buffer.getvalue()).decode()
    w, h = picture.size
    return f'<img alt="{escape(alt)}" width="{w}" height="{h}" src="data:image/webp;base64,{data}">'
