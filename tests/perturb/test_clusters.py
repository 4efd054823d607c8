"""Complete linkage against SciPy; scaled maps and their distances against large ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist, pdist

from seewhy.perturb.clusters import complete_linkage, cosine_distances, unit
from seewhy.resize import resize


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    return len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(set(a.tolist())) == len(set(b.tolist()))


@given(st.integers(0, 10_000), st.integers(2, 60), st.floats(0.02, 1.5))
def test_complete_linkage_is_scipys(seed: int, count: int, below: float) -> None:
    points = np.random.default_rng(seed).random((count, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    ours = complete_linkage(distances, below)
    reference = fcluster(linkage(pdist(points), "complete"), below, "distance")
    assert same_partition(ours, reference)
    assert ours[0] == 0
    assert np.all(ours <= np.arange(count))


@pytest.mark.parametrize("count", [0, 1])
def test_few_are_their_own_clusters(count: int) -> None:
    assert complete_linkage(np.zeros((count, count)), 1.0).tolist() == list(range(count))


def test_nothing_merges_at_the_threshold_itself() -> None:
    distances = np.array([[0, 0.5], [0.5, 0]])
    assert complete_linkage(distances, 0.5).tolist() == [0, 1]
    assert complete_linkage(distances, 0.51).tolist() == [0, 0]


@pytest.mark.parametrize(("cells", "size"), [((4, 5), (32, 45)), ((2, 3, 4), (8, 9, 16))])
def test_maps_are_scaled_and_compared_as_if_enlarged(cells, size) -> None:
    torch.manual_seed(1)
    maps = torch.randn(7, *cells, dtype=torch.float64)
    maps[3] = 0.25  # constant
    maps[5] = -maps[0]
    found = unit(maps, size)
    large = resize(maps, size).flatten(1)[[0, 1, 2, 4, 5, 6]]
    low, high = large.min(1, keepdim=True).values, large.max(1, keepdim=True).values
    expected = (large - low) / (high - low)
    torch.testing.assert_close(resize(found, size).flatten(1), expected)
    torch.testing.assert_close(resize(found, size)[4], 1 - resize(found, size)[0])
    distances = cosine_distances(found, size)
    np.testing.assert_allclose(distances.numpy(), cdist(expected, expected, "cosine"), atol=1e-12)


def test_no_maps_are_no_maps() -> None:
    assert unit(torch.zeros(0, 4, 4), (16, 16)).shape == (0, 4, 4)
    assert unit(torch.ones(3, 4, 4), (16, 16)).shape == (0, 4, 4)
