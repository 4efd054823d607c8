"""Where a concept is in a feature map, on a scale from "as in random images" to "as in the concept's own".

Every function takes many concept vectors at once; nothing here knows a network or a class.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EPSILON = 1e-7
"""Keeps sums of nothing from being divided by."""


@dataclass(frozen=True)
class Calibrated:
    """Concept vectors with their scales.

    Parameters
    ----------
    vectors
        `(k, c)`, of any length.
    low, high
        `(k,)` emblems: the typical strength of the concept in random images, and in its own.
    known
        `(k,)` bool: whether the vector tells the concept's images from random ones at all.
    """

    vectors: Tensor
    low: Tensor
    high: Tensor
    known: Tensor

    @property
    def separable(self) -> Tensor:
        """`(k,)` bool: known, and stronger in the concept's own images than in random ones."""
        return self.known & (self.high > self.low)

    def at(self, part: slice) -> Calibrated:
        """Return some of the concepts."""
        return Calibrated(self.vectors[part], self.low[part], self.high[part], self.known[part])

    def to(self, like: Tensor) -> Calibrated:
        """Return the concepts where a tensor is, in its type."""
        v, low, high = (t.to(like) for t in (self.vectors, self.low, self.high))
        return Calibrated(v, low, high, self.known.to(like.device))

    def maps(self, features: Tensor) -> Tensor:
        """Return `(n, k, *cells)` concept maps in [0, 1] of `(n, c, *cells)` features; 0 if not separable."""
        low, high = (_like(e, features) for e in (self.low, self.high))
        apart = (high - low).clamp_min(torch.finfo(features.dtype).tiny)
        raw = raw_maps(self.vectors, features)
        shown = _like(self.separable, features)
        return torch.where(shown, ((raw - low) / apart).clamp(0, 1), torch.zeros_like(raw))

    def channel_weights(self, features: Tensor, maps: Tensor) -> Tensor:
        """Return `(n, k, c)` weights in [0, 1]: how much a channel belongs to the concept.

        Where an image's features hold negative values, a channel whose activation over the concept's map is
        negative on the whole counts with the opposite sign.
        """
        v = self.vectors[None].expand(len(features), -1, -1)
        inside = torch.einsum("nc...,nk...->nkc", features, maps)
        negative = (features.flatten(1) < 0).any(1)[:, None, None]
        positive = torch.where(negative & (inside < 0), -v, v).clamp_min(0)
        return positive / positive.amax(2, keepdim=True).clamp_min(torch.finfo(v.dtype).tiny)


def raw_maps(vectors: Tensor, features: Tensor) -> Tensor:
    """Return `(n, k, *cells)`: the positive part of `(n, c, *cells)` features along `(k, c)` vectors."""
    return torch.einsum("kc,nc...->nk...", vectors, features).clamp_min(0)


def strengths(vectors: Tensor, features: Tensor, batch: int = 64) -> Tensor:
    """Return `(n, k)`: the contraharmonic mean over the cells of each raw map."""
    parts = []
    for part in features.split(batch):
        raw = raw_maps(vectors, part).flatten(2)
        parts.append(raw.square().sum(2) / (raw.sum(2) + EPSILON))
    return torch.cat(parts)


def emblems(values: Tensor) -> Tensor:
    """Return `(k,)`: the median over images of `(n, k)` strengths; of an even number the lower middle one."""
    return values.median(0).values


def _like(emblem: Tensor, features: Tensor) -> Tensor:
    return emblem.reshape(1, -1, *[1] * (features.ndim - 2))
