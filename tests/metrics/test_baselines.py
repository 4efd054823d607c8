"""Maps that know nothing of the model."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage
from torch import Tensor

from seewhy.metrics.baselines import BASELINES, centre_map, edge_map, random_map


def pixels(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("shape", [(2, 3, 12, 17), (2, 1, 12, 17), (2, 3, 4, 12, 17)])
def test_shape_and_singles(name: str, shape: tuple[int, ...]) -> None:
    photos = pixels(*shape)
    maps = BASELINES[name](photos, 3)
    assert maps.shape == (2, *shape[2:])
    assert maps.dtype == torch.float32
    assert bool(maps.isfinite().all())
    assert float(maps.std()) > 0
    assert torch.equal(maps[1:], BASELINES[name](photos[1:], 3))


def test_random_follows_the_seed() -> None:
    photos = pixels(1, 3, 30, 30)
    assert torch.equal(random_map(photos, 1), random_map(photos, 1))
    assert not torch.equal(random_map(photos, 1), random_map(photos, 2))


def test_centre_falls_from_the_middle() -> None:
    heat = centre_map(pixels(1, 3, 21, 41), 0)[0]
    assert divmod(int(heat.argmax()), 41) == (10, 20)
    assert torch.allclose(heat, heat.flip(0, 1))
    # One deviation, a quarter of the side, from the middle: exp(-1/2).
    assert float(centre_map(pixels(1, 3, 400, 400), 0)[0, 200, 300]) == pytest.approx(0.6065, abs=0.01)


def test_edges_are_the_sobel_magnitude() -> None:
    photos = pixels(2, 3, 12, 17)
    grey = photos.double().mean(1).numpy()
    for found, frame in zip(edge_map(photos, 0), grey, strict=True):
        across, down = (ndimage.sobel(frame, axis, mode="nearest") / 8 for axis in (1, 0))
        assert float((found - torch.from_numpy((across**2 + down**2) ** 0.5)).abs().max()) < 1e-3
