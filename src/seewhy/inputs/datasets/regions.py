"""Regions of a photo as boolean arrays: boxes, polygons, and regions grown by a distance."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, sqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Region = NDArray[np.bool_]
"""`(height, width)` bool."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def box_region(box: Box, height: int, width: int) -> Region:
    """Return the pixels that a box touches; pixel (0, 0) reaches from 0 to 1."""
    left, top, right, bottom = box
    region = np.zeros((height, width), dtype=np.bool_)
    region[max(floor(top), 0) : max(ceil(bottom), 0), max(floor(left), 0) : max(ceil(right), 0)] = True
    return region


def polygon_region(corners: Sequence[float], height: int, width: int) -> Region:
    """Return the pixels whose centre lies inside a polygon, by the even-odd rule.

    Parameters
    ----------
    corners
        x and y of each corner in turn; pixel (0, 0) reaches from 0 to 1, its centre is (0.5, 0.5).
    """
    x, y = np.asarray(corners, dtype=np.float64).reshape(-1, 2).T
    crossings = np.zeros((height, width + 1), dtype=np.int64)
    centres = np.arange(height) + 0.5
    for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1), strict=True):
        rows = np.flatnonzero((y0 <= centres) != (y1 <= centres))
        at = x0 + (centres[rows] - y0) * (x1 - x0) / (y1 - y0) if len(rows) else np.zeros(0)
        # The first pixel whose centre is at the edge or to the right of it.
        np.add.at(crossings, (rows, np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)), 1)
    inside: Region = crossings.cumsum(1)[:, :width] % 2 == 1
    return inside


def grown(region: Region, distance: float) -> Region:
    """Return the pixels of a region, and those nearer than `distance` to one of them (centre to centre)."""
    height, width = region.shape
    out = region.copy()
    # How many pixels of each row lie before each column: a row is near where a stretch of it holds some.
    before = np.zeros((height, width + 1), dtype=np.int64)
    region.cumsum(1, out=before[:, 1:])
    columns = np.arange(width)
    reach = min(ceil(distance) - 1, height - 1)
    for down in range(-reach, reach + 1):
        across = ceil(sqrt(distance**2 - down**2)) - 1
        near = before[:, np.minimum(columns + across + 1, width)] > before[:, np.maximum(columns - across, 0)]
        out[max(down, 0) : height + min(down, 0)] |= near[max(-down, 0) : height - max(down, 0)]
    return out


def as_mask(region: Region) -> Image.Image:
    """Return a region as a mask of mode "L": 255 inside, 0 outside."""
    return Image.fromarray(region.astype(np.uint8) * 255)


def of_mask(mask: Image.Image) -> Region:
    """Return the region of a mask of mode "L"."""
    region: Region = np.asarray(mask) > 0
    return region
