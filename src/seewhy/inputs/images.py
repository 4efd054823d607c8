"""Read photos as they lie on disks: any usual format, upright, 8 bit, or refused with one plain message."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from seewhy.errors import BadInput, UnreadableInput, did_you_mean, nearest

MAX_PIXELS = 100_000_000
"""Largest photo that is decoded; a larger header is refused before any pixel is read."""

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000", "TGA", "ICO")
"""Formats that are opened. Others are left out on purpose: EPS, for one, runs a PostScript program."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".ppm"),
    *(".jpe", ".pgm", ".jp2", ".tga", ".ico"),
)
"""Endings, in any letter case, of the files of a folder that are taken for photos; the usual ones first."""

_KNOWN = "JPEG, PNG, WebP, GIF, TIFF, BMP, PPM, AVIF, JPEG 2000, TGA and ICO"


def read_image(path: str | Path) -> Image.Image:
    """Read one photo.

    EXIF orientation is applied and transparency composited on white. CMYK, palette and other colour spaces
    become RGB; colour profiles are not applied. Of animations the first frame is taken. For 16-bit, 32-bit
    and float images see `as_8_bit`.

    Parameters
    ----------
    path
        File in one of `FORMATS`; its content decides, not its name.

    Returns
    -------
    PIL.Image.Image
        8 bit, mode "RGB", or "L" for greyscale.

    Raises
    ------
    UnreadableInput
        For a file that is missing, a folder, empty, damaged, too large, forbidden or no photo.
    """
    path = Path(path)
    asked = f"Asked to read the photo {path}"
    try:
        _check_file(path, asked)
        # Damaged metadata and large sizes make Pillow warn; here they are read past or refused instead.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = _open(file, asked)
            return as_photo(image, asked)
    except PermissionError as error:
        raise UnreadableInput(asked, "Permission to read it is missing", "Change its permissions") from error
    except OSError as error:
        raise UnreadableInput(
            asked, f"It cannot be read: {error.strerror or error}", "Check the file"
        ) from error


def open_content(content: bytes, asked: str = "Asked to read a photo") -> Image.Image:
    """Return the image in the content of a file, not decoded yet (see `as_photo`).

    Raises
    ------
    UnreadableInput
        For content that is empty, too large or no photo.
    """
    if not content:
        raise UnreadableInput(asked, "It is empty", "Copy it again")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _open(io.BytesIO(content), asked)


def as_photo(image: Image.Image, asked: str = "Asked to read a photo") -> Image.Image:
    """Return an opened image upright, opaque and 8 bit: mode "RGB" or "L" (see `read_image`).

    Raises
    ------
    UnreadableInput
        When its pixels cannot be decoded.
    """
    with _decoding(asked):
        image.load()
        with contextlib.suppress(Exception):  # a broken EXIF block must not cost the photo
            image = ImageOps.exif_transpose(image)
        if image.mode[0] in "IF" or image.mode == "1":
            return as_8_bit(image, asked)
        if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
            return _on_white(image)
        return image if image.mode == "L" else image.convert("RGB")


def as_8_bit(image: Image.Image, asked: str = "Asked to read a photo") -> Image.Image:
    """Return an image of one deep channel (modes "1", "I;16", "I", "F") as 8-bit greyscale.

    The range is told from the mode and the values: 16-bit images run from 0 to 65535; 32-bit integers are
    taken as 8 or 16 bit when they fit; floats as [0, 1] or [0, 255] when they fit; anything else is stretched
    from its minimum to its maximum.

    Raises
    ------
    UnreadableInput
        For NaN or infinity.
    """
    if image.mode == "1":
        return image.convert("L")
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise UnreadableInput(asked, "Its pixels hold NaN or infinity", "Give finite values")
    low, high = float(values.min()), float(values.max())
    if image.mode.startswith("I;16"):
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= (65535 if image.mode == "I" else 255):
        tops = (255.0, 65535.0) if image.mode == "I" else (1.0, 255.0)
        low, high = 0.0, next(top for top in tops if high <= top)
    scaled = (values - low) * 255 / (high - low) if high > low else values * 0
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _check_file(path: Path, asked: str) -> None:
    if path.is_dir():
        raise UnreadableInput(asked, "It is a folder", "Name the files in it")
    if not path.exists():
        near = nearest(path.name, _siblings(path))
        raise UnreadableInput(asked, "There is no such file", did_you_mean(near) or "Check the path")
    if not path.is_file():
        raise UnreadableInput(asked, "It is no regular file", "Give the path of a photo")
    if path.stat().st_size == 0:
        raise UnreadableInput(asked, "The file is empty", "Copy it again")


def _siblings(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return [p.name for p in path.parent.iterdir() if p.is_file()]
    return []


def _open(file: io.BufferedReader | io.BytesIO, asked: str) -> Image.Image:
    try:
        image = Image.open(file, formats=[f for f in FORMATS if f in _available()])
    except Image.DecompressionBombError as error:
        raise _too_large(asked, str(error).split(" exceeds")[0]) from error
    except UnidentifiedImageError as error:
        raise UnreadableInput(
            asked, "Its content is no photo that can be read", f"Give one of {_KNOWN}"
        ) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UnreadableInput(asked, f"It is damaged: {error}", "Copy it again") from error
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(asked, f"It measures {image.width} x {image.height} pixels")
    return image


def _available() -> set[str]:
    Image.init()
    return set(Image.OPEN)


def _too_large(asked: str, found: str) -> UnreadableInput:
    return UnreadableInput(asked, f"{found}; the limit is {MAX_PIXELS:,} pixels", "Make it smaller first")


@contextlib.contextmanager
def _decoding(asked: str) -> Iterator[None]:
    """Turn whatever a decoder raises on damaged data (it may be nearly anything) into one plain message."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        raise UnreadableInput(asked, f"It is damaged: {error}", "Copy it again") from error


def _on_white(image: Image.Image) -> Image.Image:
    grey = image.mode in ("L", "LA", "La")
    see_through = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, see_through).convert("L" if grey else "RGB")
