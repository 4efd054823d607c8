"""Text in pictures: Pillow's built-in font (few letters beyond ASCII), and room measured before drawing."""

from __future__ import annotations

import unicodedata
from functools import cache

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
PAPER: Colour = (255, 255, 255)
INK: Colour = (28, 30, 34)
MUTED: Colour = (86, 90, 98)
RULE: Colour = (208, 211, 217)

_ASCII = {
    "\u2013": "-",
    "\u2014": "-",
    "\u2212": "-",
    "\u00d7": "x",
    "\u2192": "->",
    "\u2026": "...",
    "\u2018": "'",
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
    "\u2264": "<=",
    "\u2265": ">=",
    "\u00df": "ss",
    "\u00a0": " ",
}
_DRAWN = "·±°"


def contrast(a: Colour, b: Colour) -> float:
    """Return the WCAG contrast ratio of two sRGB colours, 1 to 21."""
    lights = []
    for colour in (a, b):
        linear = [
            v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in colour)
        ]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return float((max(lights) + 0.05) / (min(lights) + 0.05))


def ink_on(colour: Colour) -> Colour:
    """Return black or white, whichever is easier to read on `colour` (at least 4.5 to 1 on any)."""
    return max(((0, 0, 0), PAPER), key=lambda ink: contrast(ink, colour))


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the built-in font at `size` pixels."""
    return ImageFont.load_default(size)


def plain(text: str) -> str:
    """Return `text` in letters that the font has: accents dropped, the rest a question mark, on one line."""
    text = "".join(_ASCII.get(c, c) for c in " ".join(text.split()))
    stripped = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" or c in _DRAWN else "?" for c in stripped)


def width(text: str, size: int) -> int:
    """Return the pixels that a line of `plain` text takes."""
    return round(font(size).getlength(text) + 0.5)


def leading(size: int) -> int:
    """Return the pixels from one line to the next."""
    return round(1.35 * size)


def wrap(text: str, size: int, room: int, most: int = 6) -> list[str]:
    """Return `text` in `plain` lines of at most `room` pixels; what is too long is cut in its middle."""
    lines: list[str] = []
    for given in text.split("\n"):
        line = ""
        for word in plain(given).split():
            grown = f"{line} {word}" if line else word
            if line and width(grown, size) > room:
                lines.append(line)
                grown = word
            line = shorten(grown, size, room)
        lines += [line] if line else []
    if len(lines) > most:
        lines = [*lines[: most - 1], shorten(" ".join(lines[most - 1 :]), size, room)]
    return lines


def shorten(text: str, size: int, room: int) -> str:
    """Return `plain` text cut in the middle so that it takes at most `room` pixels."""
    text = plain(text)
    kept = len(text)
    shown = text
    while kept > 1 and width(shown, size) > room:
        kept -= 1
        head = (2 * kept + 2) // 3
        tail = kept - head
        shown = f"{text[:head].rstrip()}...{text[len(text) - tail :].lstrip() if tail else ''}"
    return shown


def paragraph(
    text: str, size: int, room: int, colour: Colour = INK, most: int = 6, centred: bool = False
) -> Image.Image:
    """Return a picture `room` pixels wide with the text wrapped on it; of height 0 for no text."""
    lines = wrap(text, size, room, most)
    picture = Image.new("RGB", (room, leading(size) * len(lines)), PAPER)
    draw = ImageDraw.Draw(picture)
    for i, line in enumerate(lines):
        left = (room - width(line, size)) // 2 if centred else 0
        draw.text((left, i * leading(size)), line, fill=colour, font=font(size))
    return picture


def stack(pictures: list[Image.Image], gap: int = 6, centred: bool = False) -> Image.Image:
    """Return the pictures below each other on paper; those of height 0 take no gap."""
    shown = [p for p in pictures if p.height and p.width]
    if not shown:
        return Image.new("RGB", (1, 1), PAPER)
    whole = Image.new(
        "RGB", (max(p.width for p in shown), sum(p.height for p in shown) + gap * (len(shown) - 1)), PAPER
    )
    top = 0
    for p in shown:
        whole.paste(p, ((whole.width - p.width) // 2 if centred else 0, top))
        top += p.height + gap
    return whole


def beside(pictures: list[Image.Image], gap: int = 12) -> Image.Image:
    """Return the pictures beside each other on paper, tops aligned."""
    across = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    whole = Image.new("RGB", (max(1, across), max((p.height for p in pictures), default=1)), PAPER)
    left = 0
    for p in pictures:
        whole.paste(p, (left, 0))
        left += p.width + gap
    return whole


def framed(picture: Image.Image, margin: int) -> Image.Image:
    """Return the picture with paper around it."""
    whole = Image.new("RGB", (picture.width + 2 * margin, picture.height + 2 * margin), PAPER)
    whole.paste(picture, (margin, margin))
    return whole
