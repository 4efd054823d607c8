"""Read what maps are compared with, one image a photo: masks of the evidence, fixations, their densities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from seewhy.errors import UnreadableInput
from seewhy.inputs.images import read_image


def read_mask(path: str | Path) -> Image.Image:
    """Read one mask, upright.

    Parameters
    ----------
    path
        Black-and-white, greyscale of any depth, palette or colour image in a format that `read_image` reads.

    Returns
    -------
    PIL.Image.Image
        Mode "L": 0 where the file is black, 255 elsewhere.

    Raises
    ------
    UnreadableInput
        For a file that is no such image, or has transparent pixels, which may mean either.
    """
    read_image(path)  # says in plain words what is wrong with a file
    with Image.open(path) as opened:
        return as_mask(opened, f"Asked to read the mask {path}")


def read_density(path: str | Path) -> Image.Image:
    """Read how often people looked where, one grey image a photo: the brighter, the more often.

    Parameters
    ----------
    path
        Greyscale image of any depth in a format that `read_image` reads.

    Returns
    -------
    PIL.Image.Image
        Mode "F", the values of the file.

    Raises
    ------
    UnreadableInput
        For a file that is no such image; a picture in colours is no density.
    """
    read_image(path)  # says in plain words what is wrong with a file
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode not in ("1", "L", "I", "F") and not image.mode.startswith("I;16"):
            raise UnreadableInput(
                f"Asked to read the density {path}",
                f"It is a picture in colours (mode {image.mode})",
                "Save how often people looked as grey values, 0 for never",
            )
        values = np.asarray(image.convert("L") if image.mode == "1" else image).astype(np.float32)
    return Image.fromarray(values)


def as_mask(image: Image.Image, asked: str = "Asked to read a mask") -> Image.Image:
    """Return an opened image as `read_mask` does.

    Raises
    ------
    UnreadableInput
        For transparent pixels.
    """
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        if np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            raise UnreadableInput(
                asked,
                "It has transparent pixels",
                "Save it opaque: black where there is no evidence, white where there is",
            )
        image = image.convert("RGB")
    one = image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16")
    values = np.asarray(image if one else image.convert("RGB"))
    on = values != 0 if values.ndim == 2 else (values != 0).any(2)
    return Image.fromarray(on.astype(np.uint8) * 255)
