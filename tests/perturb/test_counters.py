"""Numbers by address: the same anywhere, and as random as they must be."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from seewhy.perturb.counters import normal, uniform

WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def finalise(z: int) -> int:
    """splitmix64's finaliser in Python's own integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


@pytest.mark.parametrize("seed", [0, 1, -7, 2**63 + 5])
def test_equals_plain_integers(seed: int) -> None:
    key = finalise((seed + GOLDEN) & WORD)
    found = uniform(seed, torch.tensor([0, 3, 10**12]), 4)
    for row, index in enumerate([0, 3, 10**12]):
        stream = finalise((index * GOLDEN + key) & WORD)
        wanted = [(finalise((stream + lane * GOLDEN) & WORD) >> 40) / 2**24 for lane in range(1, 5)]
        assert found[row].tolist() == wanted


def test_an_address_gives_the_same_number_in_any_batch() -> None:
    whole = uniform(5, torch.arange(100), 12)
    assert torch.equal(whole[40:60], uniform(5, torch.arange(40, 60), 12))
    assert torch.equal(whole[:, :3], uniform(5, torch.arange(100), 3))
    assert not torch.equal(whole, uniform(6, torch.arange(100), 12))


def test_uniform_in_every_direction() -> None:
    drawn = uniform(0, torch.arange(4000), 50)
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) < 1
    assert stats.kstest(drawn.flatten().numpy(), "uniform").pvalue > 1e-3
    lanes, neighbours = torch.corrcoef(drawn.T), torch.corrcoef(drawn[:50])
    assert float((lanes - torch.eye(50)).abs().max()) < 5 / 4000**0.5
    assert float((neighbours - torch.eye(50)).abs().max()) < 5 / 50**0.5


def test_normal() -> None:
    drawn = normal(3, torch.arange(50_000), 2)
    assert bool(drawn.isfinite().all())
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-3
