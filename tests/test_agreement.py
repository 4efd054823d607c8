"""Rank vectors: their products are the rank correlations of maps."""

from __future__ import annotations

import torch

from seewhy.agreement import Agreement, rank_vectors


def test_products_of_rank_vectors_are_rank_correlations() -> None:
    generator = torch.Generator().manual_seed(2)
    maps = torch.rand(4, 9, 7, generator=generator).exp().mul(8).round()  # with ties
    vectors = rank_vectors(maps)
    expected = torch.stack([Agreement.of(maps, maps[i : i + 1].expand(4, -1, -1)).spearman for i in range(4)])
    torch.testing.assert_close((vectors @ vectors.T).float(), expected, atol=1e-6, rtol=0)
    values = maps.flatten(1).double()
    values = values - values.mean(1, keepdim=True)
    values = values / values.norm(dim=1, keepdim=True)  # a bug: values instead of their ranks
    assert not torch.allclose((values @ values.T).float(), expected, atol=1e-3)


def test_a_flat_map_and_one_with_a_hole_have_none() -> None:
    maps = torch.stack([torch.ones(3, 3), torch.arange(9.0).reshape(3, 3)])
    maps[1, 0, 0] = torch.nan
    assert rank_vectors(maps).isnan().all()
