"""Meaningful perturbation: its energy written out, its optimum on a model that looks at one place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput
from seewhy.methods.optimised.meaningful_perturbation import MeaningfulPerturbation
from seewhy.models.model import Model
from seewhy.targets import Class, Output


def test_area_and_edges_by_plain_loops() -> None:
    coarse = torch.rand(1, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = 0.0
    for i in range(5):
        for j in range(4):
            down = float(coarse[0, i + 1, j] - coarse[0, i, j]) if i < 4 else 0.0
            right = float(coarse[0, i, j + 1] - coarse[0, i, j]) if j < 3 else 0.0
            wanted += 0.3 * (1 - float(coarse[0, i, j])) + 0.2 * (down**2 + right**2) ** 1.25
    found = MeaningfulPerturbation(area=0.3, edges=0.2, beta=2.5).energy(coarse)
    assert float(found[0]) == pytest.approx(wanted, abs=1e-12)


def test_steps_are_those_of_adam_on_that_energy() -> None:
    net, x = networks.cnn().eval(), networks.batch((3, 16, 16), n=1)
    method = MeaningfulPerturbation(3, 4, 1e-2, 1e-1, 2.0, blur=0, jitter=0, operator="mean")
    mask = torch.full((1, 1, 4, 4), 0.5, requires_grad=True)
    optimiser = torch.optim.Adam([mask], lr=0.1)
    for _ in range(3):
        large = mask.repeat_interleave(4, 2).repeat_interleave(4, 3)
        edges = mask.diff(dim=2).square().sum() + mask.diff(dim=3).square().sum()
        loss = net(large * x).softmax(1)[0, 1] + 1e-2 * (1 - mask).sum() + 1e-1 * edges
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            mask.clamp_(0, 1)
    wanted = (1 - mask).detach().repeat_interleave(4, 2).repeat_interleave(4, 3)
    found = method(Model(net), x, Class(1, "probability")).values
    assert float((found - wanted[0]).abs().max()) < 1e-5


class Place(nn.Module):
    def __init__(self, where: Tensor) -> None:
        super().__init__()
        self.where = where

    def forward(self, x: Tensor) -> Tensor:
        return (x.mean(1) * self.where).flatten(1).sum(1, keepdim=True) / self.where.sum()


def test_it_hides_what_the_score_needs() -> None:
    where = torch.zeros(32, 32)
    where[4:14, 18:28] = 1
    method = MeaningfulPerturbation(100, 16, area=1.5e-2, edges=1e-3, operator="mean")
    result = method(Model(Place(where), kind="regression"), torch.ones(1, 3, 32, 32), Output())
    hidden = result.values[0] > 0.5
    overlap = float((hidden & where.bool()).sum() / (hidden | where.bool()).sum())
    assert overlap > 0.7
    assert result.provenance["passes"] == {"forward": 101, "backward": 100}


def test_refusals() -> None:
    for wrong in ({"steps": 0}, {"area": -1.0}, {"beta": 1.0}, {"rate": 0.0}, {"operator": "blur:-1"}):
        with pytest.raises(BadInput):
            MeaningfulPerturbation(**wrong)  # type: ignore[arg-type]
