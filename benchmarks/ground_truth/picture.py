"""The study's picture: maps over photos whose evidence is outlined, drawn from photos that may be shown.

The stamps are not ours to spread, so that the composites here are made in the same way from two free photos
of scikit-image (a cat and a cup, both CC0), cut out by hand.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

import seewhy
from benchmarks.ground_truth.plan import Plan
from benchmarks.ground_truth.settings import Setting, named
from benchmarks.ground_truth.stamps import CutOut, cut_out
from seewhy.errors import DoesNotFit, MissingExtra
from seewhy.inputs.batch import Inputs
from seewhy.inputs.images import read_image
from seewhy.provenance import display_pixels
from seewhy.show.colour import Scale
from seewhy.show.drawing import Look, painted, photo_alone
from seewhy.show.lettering import INK, MUTED, PAPER, beside, framed, paragraph, stack

CELL = 168
METHODS = (
    "gradient",
    "integrated_gradients",
    "guided_backprop",
    "lrp",
    "grad_cam",
    "eigen_cam",
    "occlusion",
    "rise",
)
_PLANS = {
    "integrated_gradients": Plan({"steps": 10}),
    "occlusion": Plan({"window": 56, "stride": 28}),
    "rise": Plan({"masks": 150}),
}
_CAT = ((36, 0), (30, 60), (36, 130), (62, 195), (120, 250), (200, 288), (262, 292), (312, 268), (342, 215))
_CAT += ((360, 150), (364, 100), (372, 62), (398, 0))
CAPTION = (
    "Outline: the evidence, known to the pixel. Ring: the highest place of the map, green on the evidence, "
    "red beside it. Above: two objects on one photo, each asked about in turn. Below: pictures whose class "
    "is the direction of the stripes. Each map has a scale of its own; colours of two maps do not compare."
)


def free_cut_outs() -> list[CutOut]:
    """Return a cat (Egyptian cat, 285) and a cup of coffee (espresso, 967).

    Raises
    ------
    MissingExtra
        When scikit-image, whose photos these are, is not installed.
    """
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("Asked for photos to cut out", "scikit-image", "pip install scikit-image")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    cat, cup = (read_image(folder / name).convert("RGBA") for name in ("chelsea.png", "coffee.png"))
    shape = Image.new("L", cat.size)
    ImageDraw.Draw(shape).polygon(_CAT, fill=255)
    cat.putalpha(shape.filter(ImageFilter.GaussianBlur(1)))
    shape = Image.new("L", cup.size)
    ImageDraw.Draw(shape).ellipse((78, 72, 478, 390), fill=255)
    ImageDraw.Draw(shape).ellipse((172, 16, 402, 212), fill=255)
    cup.putalpha(shape.filter(ImageFilter.GaussianBlur(1)))
    return [cut_out("cat", 285, cat), cut_out("cup", 967, cup)]


@dataclass(frozen=True)
class Line:
    """One picture, what is asked about it, where the evidence is, and its maps, None where there is none."""

    title: str
    pixels: np.ndarray
    mask: np.ndarray
    maps: list[seewhy.Attribution | None]


def picture(small: list[Setting], photos: int = 2) -> bytes:
    """Return the picture as PNG: two lines a photo, and one for each of the small networks."""
    model = seewhy.load("efficientnet-lite0")
    scenes, _ = named(model, 2, 8, free_cut_outs(), lambda text: None)
    by_photo = {s.photo: s for s in reversed(scenes)}  # the first on each
    lines = []
    for s in list(by_photo.values())[-photos:]:
        x = model.prepare(s.picture)
        for index, mask in zip(s.classes, s.masks, strict=True):
            title = f"{model.name}: {model.label(index)}?"
            lines.append(line(title, model, x, index, mask, _PLANS))
    for setting in small:
        x = Inputs(setting.inputs.tensor[:1], setting.inputs.names[:1])
        title = f"{setting.model.name}: {setting.model.label(setting.classes[0])}?"
        mask = setting.truth[0].numpy()
        lines.append(line(title, setting.model, x, setting.classes[0], mask, setting.plans))
    return drawn(lines)


def line(
    title: str, model: seewhy.Model, x: Inputs, index: int, mask: np.ndarray, plans: dict[str, Plan]
) -> Line:
    """Explain one input by every method of the picture."""
    maps: list[seewhy.Attribution | None] = []
    for name in METHODS:
        try:
            maps.append(plans.get(name, Plan()).method(name)(model, x, index))
        except DoesNotFit:
            maps.append(None)
    return Line(title, display_pixels(model, x)[0].permute(1, 2, 0).numpy(), mask, maps)


def drawn(lines: list[Line]) -> bytes:
    """Return the table of lines as PNG."""
    heads = [paragraph(name.replace("_", " "), 14, CELL, INK, 2) for name in ("input", *METHODS)]
    rows = [beside([*heads], 8)]
    for each in lines:
        look = Look(upscale=1)
        photo = _outlined(_cell(photo_alone(each.pixels, look)), each.mask)
        cells = [stack([photo, paragraph(each.title, 13, CELL, INK, 2)], 3)]
        for result in each.maps:
            if result is None:
                empty = Image.new("RGB", (CELL, CELL), PAPER)
                empty.paste(paragraph("does not fit", 13, CELL, MUTED), (0, CELL // 2 - 8))
                cells.append(empty)
            else:
                cells.append(_map(each, result.values[0], bool(result.provenance["signed"])))
        rows.append(beside(cells, 8))
    width = rows[0].width
    whole = framed(stack([*rows, paragraph(CAPTION, 13, width, MUTED, 4)], 8), 14)
    file = io.BytesIO()
    # A palette is enough for colour maps and takes a third of the bytes.
    whole.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        file, "PNG", optimize=True
    )
    return file.getvalue()


def _map(each: Line, values: Tensor, signed: bool) -> Image.Image:
    heat = values.double().numpy()
    scale = Scale.of(heat, signed)
    look = Look(upscale=1).settled(heat, scale)
    cell = _outlined(_cell(painted(each.pixels, heat, scale, look)), each.mask)
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    y, x = ((at + 0.5) * CELL / side for at, side in zip((row, column), heat.shape, strict=True))
    colour = (20, 160, 60) if each.mask[row, column] else (210, 30, 30)
    draw = ImageDraw.Draw(cell)
    draw.ellipse((x - 6, y - 6, x + 6, y + 6), outline=(255, 255, 255), width=4)
    draw.ellipse((x - 5, y - 5, x + 5, y + 5), outline=colour, width=2)
    return cell


def _cell(drawing: Image.Image) -> Image.Image:
    smooth = Image.Resampling.LANCZOS if drawing.width > CELL else Image.Resampling.NEAREST
    return drawing.convert("RGB").resize((CELL, CELL), smooth)


def _outlined(cell: Image.Image, mask: np.ndarray) -> Image.Image:
    """Draw the mask's border, black on white so that it shows on any colour."""
    large = Image.fromarray(mask.astype(np.uint8) * 255).resize(cell.size, Image.Resampling.BILINEAR)
    inside = large.point(lambda v: 255 if v > 127 else 0)
    wide, thin = inside.filter(ImageFilter.MaxFilter(5)), inside.filter(ImageFilter.MaxFilter(3))
    rim = np.asarray(wide) > np.asarray(inside.filter(ImageFilter.MinFilter(3)))
    core = np.asarray(thin) > np.asarray(inside)
    pixels = np.array(cell)
    pixels[rim], pixels[core] = 255, 0
    return Image.fromarray(pixels)
