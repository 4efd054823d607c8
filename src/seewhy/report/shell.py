"""What pages of pictures share: the frame around their sections, embedded pictures, how they were made."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from seewhy.report.page import POLICY


def shell(
    title: str,
    lead: str,
    words: Sequence[str],
    sections: Sequence[tuple[str, str, str]],
    version: str,
) -> str:
    """Return a page as HTML text that needs no network, no scripts and no other file.

    Parameters
    ----------
    title, lead, words
        Plain text above the contents; the last paragraph of `words` is muted.
    sections
        (id, heading, HTML) each.
    version
        Of SeeWhy.
    """
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    contents = "".join(f'<li><a href="#{key}">{escape(name)}</a></li>' for key, name, _ in sections)
    body = "".join(
        f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(name)}</h2>{html}</section>'
        for key, name, html in sections
    )
    last = len(words) - 1
    said = "".join(f"<p{' class=muted' * (i == last)}>{escape(text)}</p>" for i, text in enumerate(words))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<div class="page">
<header>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
{said}
</header>
<nav aria-label="Contents"><ul>{contents}</ul></nav>
<main id="content">
{body}
</main>
<footer>Made with SeeWhy {escape(version)}. This page is one file and loads nothing.</footer>
</div>
</body>
</html>
"""


def making(facts: Mapping[str, str], command: str, failures: Sequence[str]) -> str:
    """Return how a page was made, as HTML: the command, facts by name, and what could not be read."""
    again = f'<pre tabindex="0"><code>{escape(command)}</code></pre>' if command else ""
    listed = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    missed = "".join(f"<li>{escape(why)}</li>" for why in failures)
    unread = f"<h3>Photos that could not be read</h3><ul>{missed}</ul>" if missed else ""
    return f"{again}<dl>{listed}</dl>{unread}"


def image(picture: Image.Image, alt: str) -> str:
    """Return a picture as an HTML element that holds it."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=82, method=4)
    data = base64.b64encode(buffer.getvalue()).decode()
    w, h = picture.size
    return f'<img alt="{escape(alt)}" width="{w}" height="{h}" src="data:image/webp;base64,{data}">'
