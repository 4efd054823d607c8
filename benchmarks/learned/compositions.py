"""Compositions made on the device: cut-outs over photos, image `i` from (seed, i) alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from benchmarks.learned.material import Material
from seewhy.models.preprocessing import Preprocessing
from seewhy.perturb.counters import uniform
from seewhy.training.sources import Source
from seewhy.types import Batch, Size


class Compositions(Source):
    """One object, in three of ten pictures two, over a window of a photo.

    Parameters
    ----------
    material
        On the device where the pictures are made.
    look
        The explained model's preprocessing.
    fingerprint
        Of the material.
    chosen
        Inputs to look at while training, made elsewhere.
    objects
        At most how many objects a picture has: 1 or 2.
    """

    def __init__(
        self,
        material: Material,
        look: Preprocessing,
        fingerprint: str = "",
        chosen: Tensor | None = None,
        objects: int = 2,
    ) -> None:
        self.material, self.look, self._fingerprint, self.objects = material, look, fingerprint, objects
        self.chosen = torch.empty(0, *self.shape) if chosen is None else chosen

    @property
    def shape(self) -> Size:
        """See `Source.shape`."""
        return (3, *self.look.size)

    @property
    def fingerprint(self) -> str:
        """See `Source.fingerprint`."""
        return self._fingerprint

    def held_out(self) -> Batch:
        """See `Source.held_out`."""
        return self.chosen

    def batch(self, seed: int, indices: Tensor) -> Batch:
        """See `Source.batch`."""
        place = self.material.photos.device
        pixels = self.pixels(seed, indices.to(place)).to(indices.device)
        mean, std = (
            torch.tensor(v, device=pixels.device).reshape(1, 3, 1, 1) for v in (self.look.mean, self.look.std)
        )
        return (pixels * self.look.scale - mean) / std

    def pixels(self, seed: int, indices: Tensor) -> Tensor:
        """Return `(k, 3, h, w)` float32 display pixels."""
        u = uniform(seed, indices, 24)
        photos, objects = self.material.photos, self.material.objects
        behind = photos[(u[:, 0] * len(photos)).long()].float()
        window = 0.6 + 0.4 * u[:, 1]
        room = 1 - window
        sign = torch.where(u[:, 4] < 0.5, -1.0, 1.0)
        at = (room * (2 * u[:, 2] - 1), room * (2 * u[:, 3] - 1))
        picture = self._sampled(behind, window * sign, window, torch.zeros_like(window), *at)
        picture = (picture * (0.8 + 0.4 * u[:, 5, None, None, None])).clamp(0, 255)
        for i, lanes in enumerate((u[:, 6:13], u[:, 14:21])[: self.objects]):
            thing = objects[(lanes[:, 0] * len(objects)).long()].float()
            side = 0.4 + 0.45 * lanes[:, 1]
            turned = (lanes[:, 2] - 0.5) * math.pi / 6
            mirrored = torch.where(lanes[:, 3] < 0.5, -1.0, 1.0)
            x, y = ((2 * lanes[:, j] - 1) * (1 - 0.6 * side) for j in (4, 5))
            layer = self._placed(thing, side, mirrored, turned, x, y)
            opaque = layer[:, 3:] / 255
            if i:
                opaque = opaque * (u[:, 21] < 0.3)[:, None, None, None]
            picture = picture * (1 - opaque) + layer[:, :3] * opaque
        return picture

    def _sampled(
        self, of: Tensor, across: Tensor, down: Tensor, turned: Tensor, x: Tensor, y: Tensor
    ) -> Tensor:
        """Return windows of images: `across` and `down` their half sides, (x, y) their middles, -1 to 1."""
        cos, sin = turned.cos(), turned.sin()
        rows = torch.stack([across * cos, -down * sin, x, across * sin, down * cos, y], 1).reshape(-1, 2, 3)
        grid = affine_grid(rows, [len(of), of.shape[1], *self.look.size], align_corners=False)
        return grid_sample(of, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _placed(
        self, thing: Tensor, side: Tensor, mirrored: Tensor, turned: Tensor, x: Tensor, y: Tensor
    ) -> Tensor:
        """Return objects of `side`, a share of the picture, with their middles at (x, y), -1 to 1."""
        cos, sin = turned.cos(), turned.sin()
        a, b, c, d = cos / side * mirrored, -sin / side * mirrored, sin / side, cos / side
        rows = torch.stack([a, b, -(a * x + b * y), c, d, -(c * x + d * y)], 1).reshape(-1, 2, 3)
        grid = affine_grid(rows, [len(thing), 4, *self.look.size], align_corners=False)
        return grid_sample(thing, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
