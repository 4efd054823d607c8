"""Connected pieces of regions, and the boxes around them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from seewhy.types import Masks

Box = tuple[int, int, int, int]
"""Top, bottom, left, right in pixels; bottom and right do not belong to it."""


def labelled(regions: Masks) -> Tensor:
    """Return `(n, height, width)` int64: the same positive number all over each piece of a region, 0 beside.

    Pixels that touch at a side or corner belong together. The number is that of the piece's last pixel, from
    1 on.
    """
    height, width = regions.shape[-2:]
    own = torch.arange(1, height * width + 1, device=regions.device).reshape(height, width)
    labels = own * regions
    while True:
        # The largest number around; then the number that the pixel of that number has by now.
        around = max_pool2d(labels[:, None].double(), 3, stride=1, padding=1)[:, 0].long() * regions
        flat = around.flatten(1)
        onward = flat.gather(1, (flat - 1).clamp(min=0)).reshape(labels.shape) * regions
        if bool((onward == labels).all()):
            return labels
        labels = onward


def boxes(region: Masks) -> list[tuple[Box, int]]:
    """Return the box around each piece of one `(height, width)` region, and its pixels, the largest first."""
    labels = labelled(region[None])[0]
    found = []
    for label in labels.unique().tolist():
        if label:
            rows, columns = (labels == label).nonzero(as_tuple=True)
            box = (int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1)
            found.append((box, len(rows)))
    return sorted(found, key=lambda entry: (-entry[1], entry[0]))


def overlap(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes."""
    down, across = min(a[1], b[1]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[2], b[2])
    both = max(down, 0) * max(across, 0)
    areas = [(box[1] - box[0]) * (box[3] - box[2]) for box in (a, b)]
    return both / (sum(areas) - both)
