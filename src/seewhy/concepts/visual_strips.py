"""Visualisations as rows of pictures: optimised images, photos, what strong cells see, and projections."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from seewhy.concepts.projections import Patch, focus
from seewhy.concepts.visualised import Visualisation, Visualised
from seewhy.inputs.images import read_image
from seewhy.models.model import Model
from seewhy.show.gallery import Chapter, Strip, Tile, focused, gallery
from seewhy.show.words import number

_LARGE = 224
"""Pixels of an optimised image's side, at least."""
READING = (
    "Optimised images show what can drive the score, not what usually does: compare them with the photos. "
    "Noise is the random image before the first step. Percentages are of the photos given."
)
_HELD = "Where the score hardly pushed, the image is transparent. Scores are means over random crops."


@dataclass(frozen=True)
class Rows:
    """The rows of one target.

    Parameters
    ----------
    optimised
        Images.
    photos
        Those with the highest scores, whole; None without photos.
    seen
        What strong cells of a channel see; None for other targets.
    closer
        The part of each window that excites the cell, larger; None without projections.
    projections
        The same parts, projected; None where the network has no rule for that.
    remark
        Why there are no projections, or how they were made if not by deconvnet; "" otherwise.
    """

    optimised: Strip
    photos: Strip | None
    seen: Strip | None
    closer: Strip | None
    projections: Strip | None
    remark: str

    def strips(self) -> list[Strip]:
        """Return those that there are."""
        rows = (self.optimised, self.photos, self.seen, self.closer, self.projections)
        return [s for s in rows if s is not None]


def reading(visualised: Visualised) -> str:
    """Return how to read the pictures."""
    return f"{READING} {_HELD}" if visualised.transparent else READING


def rows_of(model: Model, visualised: Visualised, one: Visualisation, cell: int = 128) -> Rows:
    """Return the rows of one target.

    Parameters
    ----------
    model
        Whose preprocessing shows the photos.
    visualised, one
        All of them, and which.
    cell
        Pixels of a photo's side.
    """
    pictures = [_on_white(p) for p in one.pictures(transparent=visualised.transparent)]
    words = [one.words(i, in_views=visualised.transparent) for i in range(len(pictures))]
    large = max(_LARGE, *(max(p.size) for p in pictures))
    optimised = Strip("optimised", [Tile(p, w) for p, w in zip(pictures, words, strict=True)], cell=large)
    photos = seen = closer = projections = None
    if one.standing is not None:
        photos = Strip("photos by score", [_photo(model, n, s, cell) for n, s in one.standing.best])
    if one.patches is not None:
        patches = one.patches.patches
        seen = Strip("strongest cells see", [_seen(model, p, cell) for p in patches], "no photo above 0")
        pairs = [_closer(model, p, p.projection, cell) for p in patches if p.projection is not None]
        if pairs:
            closer = Strip("what excites them, closer", [photo for photo, _ in pairs])
            projections = Strip("the same, projected back", [projected for _, projected in pairs])
    return Rows(optimised, photos, seen, closer, projections, _remark(one))


def picture(model: Model, visualised: Visualised, cell: int = 128) -> Image.Image:
    """Return all targets as one picture."""
    chapters = []
    for one in visualised.visualisations:
        rows = rows_of(model, visualised, one, cell)
        chapters.append(Chapter(one.label, rows.remark, rows.strips()))
    title = f"What {visualised.provenance['model']} answers to"
    return gallery(chapters, title=title, caption=reading(visualised), cell=cell)


def projection_picture(projection: Tensor, cell: int) -> Image.Image:
    """Return a signed `(c, h, w)` projection on grey; 2 % of its magnitudes are as far as colours go."""
    most = torch.quantile(projection.abs().flatten(), 0.98).clamp_min(1e-30)
    levels = (127.5 + 127.5 * (projection / most).clamp(-1, 1)).round().byte().permute(1, 2, 0).numpy()
    plain = Image.fromarray(levels if levels.shape[2] == 3 else levels[:, :, 0]).convert("RGB")
    factor = cell / max(plain.size)
    size = (max(1, round(plain.width * factor)), max(1, round(plain.height * factor)))
    return plain.resize(size, Image.Resampling.BICUBIC)


def _remark(one: Visualisation) -> str:
    if one.patches is None or not one.patches.remark:
        return ""
    return f"{'Projected' if one.patches.rule else 'No projections:'} {one.patches.remark}."


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA"):
        paper = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    image = image.convert("RGB")
    factor = max(1, _LARGE // max(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _photo(model: Model, name: str, score: float, cell: int) -> Tile:
    shape = tuple(model.prepare(name).tensor.shape[2:])
    return Tile(
        _window(model, name, tuple((0, s) for s in shape), cell), f"{number(score)} · {Path(name).stem}"
    )


def _seen(model: Model, patch: Patch, cell: int) -> Tile:
    shown = _window(model, patch.photo, patch.window, cell)
    return Tile(shown, f"{number(patch.value)} · {Path(patch.photo).stem}")


def _closer(model: Model, patch: Patch, projection: Tensor, cell: int) -> tuple[Tile, Tile]:
    """Return the part of a photo that excites the cell, and its projection, both as large."""
    inside = focus(projection)
    (top, bottom), (left, right) = inside
    part = tuple((w[0] + a, w[0] + b) for w, (a, b) in zip(patch.window, inside, strict=True))
    words = Path(patch.photo).stem
    photo = Tile(_window(model, patch.photo, part, cell), words)
    return photo, Tile(projection_picture(projection[:, top:bottom, left:right], cell), words)


def _window(model: Model, name: str, window: tuple[tuple[int, int], ...], cell: int) -> Image.Image:
    assert model.preprocess is not None
    shape = tuple(model.prepare(name).tensor.shape[2:])
    frame = model.preprocess.frame(read_image(name))
    return focused(frame, np.ones(shape), window, cell=cell)
