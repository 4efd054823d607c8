"""A network that its user edits between two calls: the second call is about the edited one.

Copies of a network are kept from call to call. What they do must not outlive what the network does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import networks
import seewhy
from seewhy.models import untouched

Edit = Callable[[nn.Sequential], object]
CALLS: dict[str, dict[str, Any]] = {
    "grad_cam": {"layer": "4"},
    "integrated_gradients": {"steps": 10},
    "rise": {"masks": 200},
    "occlusion": {"window": 3, "stride": 1},
}


def silenced(_m: nn.Module, _given: object, y: Tensor) -> Tensor:
    return y * torch.tensor([1.0, 0.0]).repeat(y.shape[1] // 2)[:, None, None]


def hooked(net: nn.Sequential) -> object:
    return net[2].register_forward_hook(silenced)


def exchanged(net: nn.Sequential) -> object:
    net[2] = nn.Tanh()
    return net


def put(net: nn.Sequential) -> object:
    net[2].forward = torch.tanh
    return net


def maps(net: nn.Module, method: str) -> Tensor:
    x = networks.batch((3, 16, 16), n=5)
    return seewhy.explain(net, x, method, 1, **CALLS[method]).native


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("edit", [hooked, exchanged, put])
def test_the_second_call_sees_the_edit(method: str, edit: Edit) -> None:
    net = networks.cnn()
    fresh = copy.deepcopy(net)
    before = maps(net, method)
    edit(net)
    edit(fresh)
    found = maps(net, method)
    assert torch.equal(found, maps(fresh, method))
    assert not torch.allclose(found, before, rtol=1e-2)


@pytest.mark.parametrize("method", CALLS)
def test_a_hook_that_is_taken_off_is_gone(method: str) -> None:
    net = networks.cnn()
    handle = net[2].register_forward_hook(silenced)
    maps(net, method)
    handle.remove()
    assert torch.equal(maps(net, method), maps(networks.cnn(), method))


@pytest.mark.parametrize("method", CALLS)
def test_planted_copies_that_do_not_look_are_found_out(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seewhy.question.wiring", lambda _module: ())
    with pytest.raises(AssertionError):
        test_the_second_call_sees_the_edit(method, hooked)


def test_backward_hooks_are_told_apart() -> None:
    net = networks.cnn()
    before = untouched.wiring(net)
    handle = net[2].register_full_backward_hook(lambda *_: None)
    assert untouched.wiring(net) != before
    handle.remove()
    assert untouched.wiring(net) == before
