"""One map over its photo: how strongly each place shows, a colour bar with numbers, a caption."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from seewhy.errors import BadInput
from seewhy.show.colour import Array, Scale, colourise, table
from seewhy.show.lettering import INK, MUTED, PAPER, beside, font, framed, leading, paragraph, stack, width

MODES = ("alpha", "map", "mask", "contour")
READABLE, READABLE_FRAME = 384, 160
"""Pixels that the longer side of a drawn photo, and of a frame of a clip, has at least."""
WIDEST_BAR = 512
LEVELS = (0.25, 0.5, 0.75)
"""Fractions of the scale at which contours run."""
PIXELATED = 64
"""Up to this side, enlarged photos and maps keep their cells visible instead of being smoothed."""


@dataclass(frozen=True)
class Look:
    """How to draw a map.

    Parameters
    ----------
    mode
        "alpha": colours over the photo, the more opaque the larger |v|; "map": colours alone; "mask": the
        photo where the map is strong, grey elsewhere; "contour": lines at 1/4, 1/2 and 3/4, for print.
    opacity
        Of the strongest value, 0 to 1.
    cmap
        Name of a colour map; None chooses by sign.
    grey
        Draw the photo without its colours.
    upscale
        Whole number by which to enlarge; None enlarges small inputs until they can be read.
    smooth
        Whether enlarging interpolates; None: only for inputs above 64 pixels.
    fade
        Exponent from strength to opacity, above 0: below 1 the weak places show more. None: 1, or 0.6 for a
        map of fine grain, whose median strength is under a twentieth, so that little could be seen.
    """

    mode: str = "alpha"
    opacity: float = 0.85
    cmap: str | None = None
    grey: bool = False
    upscale: int | None = None
    smooth: bool | None = None
    fade: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise BadInput(
                f"Asked to draw in the mode {self.mode!r}",
                "There is no such mode",
                f"Choose one of {', '.join(MODES)}",
            )
        if not 0 <= self.opacity <= 1:
            raise BadInput("Asked for an opacity", f"Found {self.opacity}", "Give a number from 0 to 1")
        if self.upscale is not None and self.upscale < 1:
            raise BadInput("Asked to enlarge a picture", f"Found the factor {self.upscale}", "Give 1 or more")
        if self.fade is not None and not self.fade > 0:
            raise BadInput("Asked for a fade", f"Found the exponent {self.fade}", "Give a number above 0")
        if self.cmap is not None:
            table(self.cmap)

    def settled(self, values: Array, scale: Scale) -> Look:
        """Return the look with its fade chosen for a map."""
        if self.fade is not None:
            return self
        return replace(self, fade=0.6 if float(np.median(scale.strength(values))) < 0.05 else 1.0)

    def alpha(self, values: Array, scale: Scale) -> Array:
        """Return the opacity of each value, `opacity * strength ** fade`."""
        opaque: Array = self.opacity * scale.strength(values) ** (self.fade or 1.0)
        return opaque


def overlay(
    pixels: Array,
    values: Array,
    signed: bool,
    *,
    look: Look | None = None,
    scale: Scale | None = None,
    bar: bool = True,
    unit: str = "",
    caption: str = "",
) -> Image.Image:
    """Draw a map over its photo; a clip becomes a strip of frames on one scale.

    Parameters
    ----------
    pixels
        `(h, w, c)` or `(t, h, w, c)` uint8; three channels are colours, any other number is shown as grey.
    values
        `(h, w)` or `(t, h, w)`.
    signed
        Whether the scale is symmetric about zero.
    look
        How to draw; see `Look`.
    scale
        A scale shared with other pictures; by default the map's own.
    bar
        Whether to draw the colour bar with its numbers, and what was clipped.
    unit
        What the numbers are, written at the bar.
    caption
        Text below.

    Returns
    -------
    PIL.Image.Image
        RGB. Of an image with `bar=False` and no caption: the photo's size times the enlargement.
    """
    check(pixels, values)
    scale = scale or Scale.of(values, signed)
    look = (look or Look()).settled(values, scale)
    if values.ndim == 3:
        picture = strip(pixels, values, scale, look)
    else:
        picture = painted(pixels, values, scale, look)
    parts = [picture]
    if bar:
        parts.append(colour_bar(scale, min(picture.width, WIDEST_BAR), look, unit))
    if caption:
        parts.append(paragraph(caption, 13, picture.width, MUTED))
    return framed(stack(parts, 8), 10) if len(parts) > 1 else picture


def check(pixels: Array, values: Array) -> None:
    """Raise `BadInput` unless the photo and the map go together."""
    if (
        pixels.dtype != np.uint8
        or pixels.shape[:-1] != values.shape
        or values.ndim not in (2, 3)
        or not values.size
    ):
        raise BadInput(
            "Asked to draw a map over its photo",
            f"Found a map {values.shape} and pixels {pixels.shape} of {pixels.dtype}",
            "Give a map (h, w) and uint8 pixels (h, w, c), or (t, h, w) and (t, h, w, c)",
        )


def painted(pixels: Array, values: Array, scale: Scale, look: Look) -> Image.Image:
    """Return one photo `(h, w, c)` under its map `(h, w)`, enlarged, without bar or text."""
    photo, v = _enlarged(pixels, values, look)
    grey = look.grey or look.mode == "contour"
    base = np.asarray(photo.convert("L").convert("RGB") if grey else photo, np.float64)
    match look.mode:
        case "alpha":
            drawn = base + (colourise(v, scale, look.cmap) - base) * look.alpha(v, scale)[..., None]
        case "map":
            drawn = colourise(v, scale, look.cmap).astype(np.float64)
        case "mask":
            drawn = 128 + (base - 128) * scale.strength(v)[..., None]
        case "contour":
            drawn = _contours(base * 0.6 + 102, v, scale, look)
    return Image.fromarray(np.rint(drawn).astype(np.uint8))


def photo_alone(pixels: Array, look: Look | None = None) -> Image.Image:
    """Return the photo `(h, w, c)` enlarged as `painted` does."""
    return _enlarged(pixels, np.zeros(pixels.shape[:2]), look or Look())[0]


def strip(pixels: Array, values: Array, scale: Scale, look: Look, most: int = 8) -> Image.Image:
    """Return at most `most` frames of a clip, evenly spaced, first and last included, numbered from 0."""
    frames = np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))
    factor = look.upscale or max(1, -(-READABLE_FRAME // max(values.shape[1:])))
    look = replace(look, upscale=factor)
    cells = []
    for t in frames:
        frame = painted(pixels[t], values[t], scale, look)
        cells.append(stack([paragraph(f"frame {t}", 13, frame.width, MUTED), frame], 2))
    return beside(cells, 6)


def _enlarged(pixels: Array, values: Array, look: Look) -> tuple[Image.Image, Array]:
    rgb = (
        pixels
        if pixels.shape[-1] == 3
        else pixels.astype(np.float64).mean(-1, keepdims=True).round().astype(np.uint8)
    )
    photo = Image.fromarray(np.ascontiguousarray(np.broadcast_to(rgb, (*pixels.shape[:2], 3))))
    h, w = values.shape
    factor = look.upscale or max(1, -(-READABLE // max(h, w)))
    if factor == 1:
        return photo, values
    smooth = look.smooth if look.smooth is not None else max(h, w) > PIXELATED
    size = (w * factor, h * factor)
    if not smooth:
        return photo.resize(size, Image.Resampling.NEAREST), values.repeat(factor, 0).repeat(factor, 1)
    finite = np.isfinite(values)
    known = Image.fromarray(np.where(finite, values, 0).astype(np.float32)).resize(
        size, Image.Resampling.BILINEAR
    )
    large = np.array(known, np.float64)
    large[~finite.repeat(factor, 0).repeat(factor, 1)] = np.nan
    return photo.resize(size, Image.Resampling.BICUBIC), large


def _contours(base: Array, values: Array, scale: Scale, look: Look) -> Array:
    """Return the base with a white-edged line wherever the strength crosses 1/4, 1/2 or 3/4 of the scale."""
    levels = np.digitize(scale.strength(values), LEVELS)
    line = np.zeros(levels.shape, bool)
    for axis in (0, 1):
        crossing = np.diff(levels, axis=axis) != 0
        line |= np.pad(crossing, [(1, 0) if a == axis else (0, 0) for a in (0, 1)])
    thick = _grown(line)
    if scale.signed:  # the ends' colours say the sign; nearer the middle they would be too pale for a line
        against = np.nan_to_num(values) < 0
        colours = colourise(np.where(against, 0.9 * scale.low, 0.9 * scale.high), scale, look.cmap)
    else:  # a line has the colour of its level, which is that of the stronger side
        inside = np.asarray(Image.fromarray(levels.astype(np.uint8)).filter(ImageFilter.MaxFilter(5)))
        start = max(0.0, scale.low)
        colours = colourise(start + inside / 4 * (scale.high - start), scale, look.cmap)
    drawn: Array = np.where(_grown(thick)[..., None], 255.0, base)
    return np.where(thick[..., None], colours, drawn)


def _grown(mask: Array) -> Array:
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= mask[:, :-1]
    grown[:, :-1] |= mask[:, 1:]
    return grown


def colour_bar(scale: Scale, across: int, look: Look, unit: str = "", size: int = 13) -> Image.Image:
    """Return a bar `across` pixels wide with three numbers, the unit and the scale's remarks.

    In the mode "alpha" the bar fades into the paper exactly as the map fades into the photo.
    """
    ramp = np.linspace(scale.low, scale.high, across)
    colours = colourise(ramp, scale, look.cmap).astype(np.float64)
    if look.mode == "alpha":
        colours = 255 + (colours - 255) * look.alpha(ramp, scale)[:, None]
    elif look.mode == "mask":
        colours = (255 * (1 - scale.strength(ramp)))[:, None].repeat(3, 1)
    height = size
    picture = Image.new("RGB", (across, height + 5 + leading(size)), PAPER)
    picture.paste(Image.fromarray(np.rint(colours)[None].repeat(height, 0).astype(np.uint8)), (0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, across - 1, height - 1), outline=MUTED)
    free = 0
    ticks = scale.ticks()
    for place, label in ticks if across >= 160 else [ticks[0], ticks[-1]] if len(ticks) > 1 else ticks:
        x = round(place * (across - 1))
        room = width(label, size)
        left = min(max(x - room // 2, free), across - room)
        draw.line((x, height, x, height + 3), fill=MUTED)
        draw.text((left, height + 4), label, fill=INK, font=font(size))
        free = left + room + 4
    lines = "lines at 1/4, 1/2 and 3/4" if look.mode == "contour" else ""
    words = "; ".join(w for w in (unit, lines, *scale.remarks()) if w)
    return stack([picture, paragraph(words, size, across, MUTED, most=3)], 1)
