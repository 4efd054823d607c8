"""Arrays and pictures as text: numbers for the page to paint, and lossless pictures."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from seewhy.show import packed
from seewhy.studio.schema import Packed

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


def pack(values: Tensor) -> Packed:
    """Return an array as float16 numbers and a factor; see `seewhy.show.packed`."""
    factor, data = packed.pack(values.detach().cpu().double().numpy())
    return Packed(shape=list(values.shape), factor=factor, data=base64.b64encode(data).decode("ascii"))


def png(picture: Image) -> bytes:
    """Return a picture as the content of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def webp(picture: Image, quality: int = 95) -> bytes:
    """Return a picture as the content of a WebP file; of 100, all of it but the finest grain."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=quality, method=2)
    return buffer.getvalue()


def data_url(picture: Image) -> str:
    """Return a picture as a data URL, lossless."""
    return f"data:image/png;base64,{base64.b64encode(png(picture)).decode('ascii')}"


def pixels_url(pixels: Tensor) -> str:
    """Return `(c, height, width)` uint8 pixels, one channel or three, as a data URL."""
    from PIL import Image

    array = pixels.cpu().permute(1, 2, 0).numpy()
    return data_url(Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0]))
