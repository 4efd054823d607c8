"""Frozen networks asked in parts: the same losses and slopes as at once, whatever the parts."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

import networks
from seewhy.methods.learned.explainer import provide
from seewhy.models.model import Model
from seewhy.training import parts
from seewhy.training.attention import PTAMETraining
from seewhy.training.masks import Objective

NAMES = tuple("abcde")


def ranges(size: int) -> Any:
    return lambda x: [slice(i, i + size) for i in range(0, len(x), size)]


def test_ranges_cover_all_inputs_once() -> None:
    x = torch.zeros(21, 3, 224, 224)
    taken = torch.cat([torch.arange(21)[some] for some in parts.ranges(x)])
    assert torch.equal(taken, torch.arange(21))
    assert len(parts.ranges(x)) == 3  # of eight at most


def test_losses_and_slopes_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    mask = x.sin().requires_grad_()
    weights = torch.arange(1.0, 6.0)

    def lose(some: slice, own: Tensor) -> Tensor:
        return (own * x[some]).sum(1).square()

    found = []
    for size in (5, 2):
        monkeypatch.setattr(parts, "ranges", ranges(size))
        losses = parts.lost_in_parts(x, mask, lose)
        found.append((losses.detach(), torch.autograd.grad((losses * weights).sum(), mask)[0]))
    torch.testing.assert_close(found[0], found[1])


def test_a_loss_that_mixes_inputs_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: the comparison above notices when an input's loss looks at its neighbours."""
    x, mask = torch.zeros(4, 1), torch.arange(4.0).requires_grad_()
    found = []
    for size in (4, 2):
        monkeypatch.setattr(parts, "ranges", ranges(size))
        found.append(parts.lost_in_parts(x, mask, lambda _, own: own - own.mean()).detach())
    assert not torch.allclose(found[0], found[1])


@pytest.mark.parametrize("objective", get_args(Objective))
@pytest.mark.parametrize("itself", [True, False])
def test_a_step_in_parts_is_a_step_at_once(
    objective: Objective, itself: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(networks.cnn(), labels=NAMES)
    auxiliary = model if itself else Model(networks.normalised(), labels=NAMES)
    training = PTAMETraining(provide(auxiliary), objective=objective, shared=True, evidence=1)
    x = networks.batch((3, 16, 16), n=5, seed=2)
    slopes = []
    for size in (5, 2):
        monkeypatch.setattr(parts, "ranges", ranges(size))
        monkeypatch.setattr("seewhy.training.attention.ranges", ranges(size))
        trainee = training.begin(model, (3, 16, 16), 5, 0)
        with model.untouched(), auxiliary.untouched():
            trainee.step(x).loss.backward()
        slopes.append({name: p.grad for name, p in trainee.module.named_parameters()})
    assert any(g is not None and bool(g.abs().max() > 0) for g in slopes[0].values())
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-3, atol=1e-6)
