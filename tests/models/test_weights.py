"""A look at the weights: sound or not, changed or not; and the parts of a network, each once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import networks
from seewhy.errors import NotFinite
from seewhy.models import check_sums as check_sums_module
from seewhy.models.check_sums import check_sums
from seewhy.models.model import Model
from seewhy.models.untouched import parts, untouched
from seewhy.models.weights import digest, sweep, unsound
from seewhy.question import Checks


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


def test_a_sweep_tells_changes_and_exchanges_in_large_weights() -> None:
    net = nn.Linear(701, 601, bias=False)  # blocks, a part of one, and a rest
    flat = net.weight.data.view(-1)
    before = sweep(net).settle()
    for i in (0, 5, 70_000, 300_000, len(flat) - 1):
        kept = flat[i].clone()
        flat.view(torch.int32)[i] ^= 1  # the last digit
        assert sweep(net).settle() != before
        flat[i] = kept
    for a, b in ((0, 2), (0, 512), (0, 131_072), (3, 130_000), (300_000, 300_001)):
        flat[[a, b]] = flat[[b, a]]
        assert sweep(net).settle() != before, f"{a} and {b} changed places"
        flat[[a, b]] = flat[[b, a]]
    assert sweep(net).settle() == before
    rows, columns = flat[:131_072].view(256, 512), flat[131_072:262_144].view(256, 512)
    rows[:2], columns[:, :2] = rows[:2].flip(0), columns[:, :2].flip(1)
    assert sweep(net).settle() != before


def test_checks_say_late_what_is_unsound() -> None:
    model, sound, not_so = Model(networks.cnn()), torch.tensor(True), torch.tensor(False)
    assert Checks(model, sweep(model.module), sound).weights == model.weights_hash
    with pytest.raises(NotFinite, match="It holds NaN or infinity"):
        _ = Checks(model, sweep(model.module), not_so).weights
    next(model.module.parameters()).data.view(-1)[0] = torch.nan
    with pytest.raises(NotFinite, match=r"Its weight '0\.weight'"):
        _ = Checks(model, sweep(model.module), not_so).weights


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.int64, torch.bool])
@pytest.mark.parametrize("together", [4, 1 << 22])
def test_check_sums_tell_every_change(
    dtype: torch.dtype, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of accelerators, here."""
    monkeypatch.setattr(check_sums_module, "_TOGETHER", together)
    drawn = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    tensors = [(drawn > 0).to(dtype) if dtype == torch.bool else (8 * drawn).to(dtype), torch.ones(2, 2)]
    before = check_sums(tensors).tolist()
    assert check_sums([t.clone() for t in tensors]).tolist() == before
    for place in range(15):
        changed = tensors[0].clone()
        changed.view(-1)[place] = not changed.view(-1)[place] if dtype == torch.bool else 100
        assert check_sums([changed, tensors[1]]).tolist() != before
    swapped = tensors[0].clone()
    a, b = 0, next(i for i in range(15) if swapped.view(-1)[i] != swapped.view(-1)[0])
    swapped.view(-1)[a], swapped.view(-1)[b] = tensors[0].view(-1)[b], tensors[0].view(-1)[a]
    assert check_sums([swapped, tensors[1]]).tolist() != before
