"""What a picture says of concepts from texts: how they were made, and the photos that are nearest to each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from torch import Tensor

from seewhy.show.gallery import Chapter, Strip, Tile, gallery
from seewhy.show.words import number
from seewhy.types import Json

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

NEAREST = "texts/nearest"
"""Name of their tensor in files."""
READING = (
    "These photos took the place of examples: of all those given, the encoder finds them nearest to the "
    "text. Where they do not show what you mean, the concept is not what you mean. The number is the product "
    "of the photo's vector with the text's, less the mean of other texts'."
)


def text_note(notes: Json, layer: str | None = None) -> str:
    """Return a sentence for captions: the encoder, and the R² of a layer or all; "" without texts."""
    texts = notes.get("texts")
    if not texts:
        return ""
    fits = {k: f for k, f in texts["fits"].items() if layer in (None, k)}
    fitted = "; ".join(f"{k} {_r2(f)}" for k, f in fits.items())
    return f" Concepts are texts, by {texts['encoder']} and {texts['photos']} photos; held-out R²: {fitted}."


def nearest_picture(notes: Json, nearest: Tensor, cell: int = 128) -> Picture:
    """Return the nearest photos, a row for each text.

    Parameters
    ----------
    notes, nearest
        Provenance and `nearest` of a result.
    cell
        Pixels of a photo's side.
    """
    texts = notes["texts"]
    chapters = []
    for (name, best), some in zip(texts["nearest"].items(), nearest, strict=True):
        tiles = [
            Tile(_photo(x, cell), f"{number(score)} · {Path(photo).stem}")
            for x, (photo, score) in zip(some, best, strict=False)
        ]
        said = texts["template"].replace("{}", texts["texts"][name])
        chapters.append(Chapter(name, f"The encoder read: {said}", [Strip("nearest photos", tiles)]))
    caption = f"{READING}{text_note(notes)}"
    return gallery(chapters, title="Photos nearest to the texts", caption=caption, cell=cell)


def fit_rows(notes: Json) -> list[tuple[str, str, str]]:
    """Return (layer, held-out R² with interval, ridge) for tables."""
    return [(k, _r2(f), number(f["ridge"])) for k, f in notes["texts"]["fits"].items()]


def _r2(fit: Mapping[str, float]) -> str:
    return f"{fit['r2']:.2f} [{fit['low']:.2f}, {fit['high']:.2f}]"


def _photo(pixels: Tensor, cell: int) -> Picture:
    values = np.moveaxis(pixels.numpy(), 0, -1)
    picture = Image.fromarray(values if values.shape[2] == 3 else values[:, :, 0]).convert("RGB")
    factor = cell / max(picture.size)
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Image.Resampling.BICUBIC)
