"""Clusters of maps that look alike: complete linkage down to a distance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.resize import resize
from seewhy.types import Size

_FLAT = 1e-6
"""Range of a map, as a part of its largest magnitude, up to which it is constant."""
_TOGETHER = 64
"""Maps enlarged at a time."""


def complete_linkage(distances: npt.NDArray[np.float64], below: float) -> npt.NDArray[np.int64]:
    """Merge the two nearest clusters again and again while they are nearer than `below`.

    Clusters are as far apart as their two farthest members.

    Parameters
    ----------
    distances
        `(k, k)`, symmetric.
    below
        Distance at which merging stops.

    Returns
    -------
    ndarray
        `(k,)`: the cluster of each, numbered in order of their first members.
    """
    apart = distances.astype(np.float64)
    np.fill_diagonal(apart, np.inf)
    member = np.arange(len(apart))
    nearest = apart.argmin(1) if len(apart) else member
    gap = apart[member, nearest]
    while len(gap) and (a := int(gap.argmin())) >= 0 and gap[a] < below:
        a, b = sorted((a, int(nearest[a])))
        member[member == b] = a
        merged = np.maximum(apart[a], apart[b])
        apart[a] = apart[:, a] = merged
        apart[b] = apart[:, b] = apart[a, a] = np.inf
        # Distances only grow, so that others keep their nearest unless it was one of these two.
        stale = np.flatnonzero((nearest == a) | (nearest == b))
        stale = np.union1d(stale, [a, b])
        nearest[stale] = apart[stale].argmin(1)
        gap[stale] = apart[stale, nearest[stale]]
    return np.unique(member, return_inverse=True)[1].astype(np.int64)


def unit(maps: Tensor, size: Size) -> Tensor:
    """Return those of `(k, *cells)` maps that vary, each scaled to 0 .. 1 after enlarging to `size`.

    The scaled maps are small still: enlarging is linear, so it can follow.
    """
    if not len(maps):
        return maps
    shape = (-1, *[1] * (maps.ndim - 1))
    large = (resize(part, size).flatten(1) for part in maps.split(_TOGETHER))
    low, high = (torch.cat(bounds) for bounds in zip(*((m.amin(1), m.amax(1)) for m in large), strict=True))
    varies = (high - low) > _FLAT * torch.maximum(high.abs(), low.abs())
    span = (high - low).where(varies, torch.ones_like(high)).reshape(shape)
    return ((maps - low.reshape(shape)) / span)[varies]


def cosine_distances(maps: Tensor, size: Size) -> Tensor:
    """Return `(k, k)`: 1 - the cosine between `(k, *cells)` maps, enlarged linearly to `size`.

    Enlarging is a matrix an axis, so that the products of enlarged maps are found on the small ones.
    """
    product = maps
    for axis, (cells, pixels) in enumerate(zip(maps.shape[1:], size, strict=True), start=1):
        identity = torch.eye(cells, dtype=maps.dtype, device=maps.device)[:, None]
        enlarge = interpolate(identity, size=pixels, mode="linear", align_corners=False)[
            :, 0
        ]  # (cells, pixels)
        product = torch.tensordot(product, enlarge @ enlarge.T, dims=([axis], [0])).movedim(-1, axis)
    inner = maps.flatten(1) @ product.flatten(1).T
    lengths = inner.diagonal().clamp_min(0).sqrt()
    return 1 - inner / (lengths[:, None] * lengths[None]).clamp_min(torch.finfo(maps.dtype).tiny)
