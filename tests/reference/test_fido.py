"""FIDO: its relaxed draws and first step written out, its regions on a model that looks at one place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.methods.optimised.fido import FIDO
from seewhy.models.model import Model
from seewhy.targets import Output


def test_draws_are_bernoulli_with_their_probability() -> None:
    theta = torch.tensor([0.1, 0.5, 0.9]).reshape(1, 1, 3)
    found = FIDO(draws=20000, temperature=0.05).relaxed(theta.logit(), 0, 0)
    assert float(((found > 0.5).float().mean(0) - theta[0]).abs().max()) < 0.01
    assert float((found * (1 - found)).mean()) < 0.03


class Place(nn.Module):
    def __init__(self, where: Tensor) -> None:
        super().__init__()
        self.where = where

    def forward(self, x: Tensor) -> Tensor:
        return 10 * (x.mean(1) * self.where).flatten(1).sum(1, keepdim=True) / self.where.sum()


@pytest.mark.parametrize("region", ["ssr", "sdr"])
def test_the_region_is_the_place(region: str) -> None:
    where = torch.zeros(32, 32)
    where[4:14, 18:28] = 1
    method = FIDO(region, 60, 2, 16, sparsity=20.0, operator="mean")  # type: ignore[arg-type]
    result = method(Model(Place(where), kind="regression"), torch.ones(1, 3, 32, 32), Output())
    found = result.values[0] > 0.5
    assert float((found & where.bool()).sum() / (found | where.bool()).sum()) > 0.7
    assert result.provenance["passes"] == {"forward": 121, "backward": 120}


def test_holes_are_filled_by_the_operator() -> None:
    net, x = Model(networks.cnn().eval()), networks.batch((3, 16, 16))
    maps = [FIDO(steps=4, cells=4, operator=name)(net, x, 1).values for name in ("mean", "harmonic")]
    assert float((maps[0] - maps[1]).abs().max()) > 1e-4


def test_refusals() -> None:
    for wrong in ({"steps": 0}, {"rate": 0.0}, {"sparsity": -1.0}, {"temperature": 0.0}):
        with pytest.raises(BadInput):
            FIDO(**wrong)  # type: ignore[arg-type]
