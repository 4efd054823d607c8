"""A look at the weights: sound or not, changed or not; and the parts of a network, each once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import networks
from seewhy.models.untouched import parts, untouched
from seewhy.models.weights import digest, sweep, unsound


class Shared(nn.Module):
    """A module twice, a parameter twice, a buffer, and a place left empty."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(3, 3)
        self.same = self.one
        self.tied = nn.Linear(3, 3, bias=False)
        self.tied.weight = self.one.weight
        self.norm = nn.BatchNorm1d(3)
        self.register_module("empty", None)
        self.register_buffer("nothing", None)


@pytest.mark.parametrize("net", [Shared(), networks.cnn(), networks.vit()], ids=["shared", "cnn", "vit"])
def test_parts_are_those_that_torch_names(net: nn.Module) -> None:
    modules, tensors = parts(net)
    assert {id(m) for m in modules} == {id(m) for m in net.modules()}
    assert len(modules) == len(list(net.modules()))
    assert sorted(map(id, tensors)) == sorted(map(id, (*net.parameters(), *net.buffers())))
    count = len(list(net.parameters()))
    assert all(isinstance(t, nn.Parameter) for t in tensors[:count])


def test_a_sweep_tells_every_change_and_nothing_else() -> None:
    net = networks.cnn()
    before = sweep(net).settle()
    assert before == sweep(net).settle()
    weight = next(net.parameters())
    kept = weight.detach().clone()
    weight.data.flatten()[0] += 1e-6
    assert sweep(net).settle() != before
    weight.data.copy_(kept)
    assert sweep(net).settle() == before
    assert digest(net) == digest(networks.cnn())


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_an_unsound_weight_is_found_and_named(bad: float) -> None:
    net = networks.cnn()
    assert unsound(net) is None
    name, weight = list(net.named_parameters())[-1]
    weight.data.flatten()[-1] = bad
    assert unsound(net) == name


def test_only_what_was_otherwise_is_set_back() -> None:
    net = networks.cnn().train()
    first = next(net.parameters())
    first.requires_grad_(False)
    inner = list(net.modules())[1].eval()
    with untouched(net):
        assert not any(m.training for m in net.modules())
        assert not any(p.requires_grad for p in net.parameters())
    assert net.training
    assert not inner.training
    assert not first.requires_grad
    assert all(p.requires_grad for p in list(net.parameters())[1:])
