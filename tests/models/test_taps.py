"""Taps: what they read is what a plain hook sees, and nothing of them stays behind."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seewhy.errors import UnknownName
from seewhy.models import taps

Pair = namedtuple("Pair", "features extra")


class Named(nn.Module):
    """Conv, in-place ReLU, a layer with a structured output, a ReLU used twice, and a head."""

    def __init__(self, wrap: Callable[[Tensor], Any] = lambda t: t) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.mid = Wrapped(wrap)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv(x))
        raw = self.mid(x)
        x = raw if isinstance(raw, Tensor) else raw["features"] if isinstance(raw, dict) else raw[0]
        x = self.act(x - 0.2)
        return self.head(x.mean((2, 3)))


class Wrapped(nn.Module):
    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.wrap = nn.Conv2d(4, 4, 1), wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.conv(x))


WRAPS: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda t: t,
    "tuple": lambda t: (t, (4, 4)),
    "list": lambda t: [t, None],
    "named tuple": lambda t: Pair(t, 1),
    "dict": lambda t: {"features": t, "n": 3},
}


def hooks_of(net: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules())


def seen_by_a_plain_hook(net: nn.Module, layer: str, x: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(
        lambda _m, _a, out: seen.append(out.detach().clone())
    )
    net(x)
    handle.remove()
    return seen[-1]


@pytest.mark.parametrize("layer", ["conv", "act", "mid", "mid.conv", "head"])
def test_read_equals_a_plain_hook(layer: str) -> None:
    net, x = Named(), torch.randn(2, 3, 4, 4)
    with taps.read(net, [layer]) as taken:
        out = net(x)
    # An in-place ReLU runs behind `conv`; a reused one keeps its last output.
    assert torch.equal(taken[layer], seen_by_a_plain_hook(net, layer, x))
    assert torch.equal(out, net(x))
    assert hooks_of(net) == 0


def test_a_reader_that_keeps_the_tensor_itself_would_see_the_in_place_relu() -> None:
    net, x = Named(), torch.randn(2, 3, 4, 4)
    kept: list[Tensor] = []
    handle = net.conv.register_forward_hook(lambda _m, _a, out: kept.append(out))
    with torch.no_grad():
        net(x)
    handle.remove()
    assert not torch.equal(kept[0], seen_by_a_plain_hook(net, "conv", x))


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS.keys())
@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_reach_the_tapped_output(wrap: Callable[[Tensor], Any], frozen: bool) -> None:
    net, x = Named(wrap), torch.randn(2, 3, 4, 4)
    net.requires_grad_(not frozen)
    with taps.read(net, ["conv", "mid"], differentiable=True) as taken:
        out = net(x)
    g_conv, g_mid = torch.autograd.grad(out[:, 0].sum(), [taken["conv"], taken["mid"]])
    # By hand: the head is linear behind a mean and a ReLU.
    by_hand = (taken["mid"] > 0.2) * net.head.weight[0].reshape(1, 4, 1, 1) / 16
    torch.testing.assert_close(g_mid, by_hand.detach())
    mixed = torch.einsum("oi,nohw->nihw", net.mid.conv.weight[:, :, 0, 0], by_hand)
    torch.testing.assert_close(g_conv, (mixed * (taken["conv"] > 0)).detach())


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS.keys())
def test_replace_changes_what_follows_and_nothing_else(wrap: Callable[[Tensor], Any]) -> None:
    net, x = Named(wrap).requires_grad_(False), torch.randn(2, 3, 4, 4)
    before = net(x)
    with taps.replace(net, {"mid": lambda t: t * 0}):
        zeroed = net(x)
    torch.testing.assert_close(zeroed, net.head.bias.expand(2, -1))
    assert torch.equal(net(x), before)


def test_nested_taps_see_each_others_edits_and_leave_one_by_one() -> None:
    net, x = Named().requires_grad_(False), torch.randn(1, 3, 4, 4)
    with taps.replace(net, {"mid": torch.zeros_like}):
        with taps.read(net, ["mid", "head"]) as taken:
            net(x)
        assert not taken["mid"].any()
        assert hooks_of(net) == 1
        with taps.read(net, ["mid"], differentiable=True) as taken:
            out = net(x)
        assert torch.autograd.grad(out.sum(), taken["mid"])[0].shape == (1, 4, 4, 4)
    assert hooks_of(net) == 0


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_no_hook_stays_after_an_exception_in_the_network(error: type[BaseException]) -> None:
    def fail(_t: Tensor) -> Any:
        raise error

    net = Named(fail)
    with pytest.raises(error), taps.read(net, ["conv", "mid", "act"], differentiable=True):
        net(torch.randn(1, 3, 4, 4))
    assert hooks_of(net) == 0


def test_no_hook_stays_after_an_unknown_layer() -> None:
    net = Named()
    with pytest.raises(UnknownName, match=r"'cnv'.*Did you mean 'conv'"), taps.read(net, ["conv", "cnv"]):
        pass
    assert hooks_of(net) == 0


def test_an_output_of_whole_numbers_can_be_read() -> None:
    net = nn.Sequential(nn.Flatten(), Argmax())
    with taps.read(net, ["1"], differentiable=True) as taken:
        net(torch.eye(3)[None])
    assert taken["1"].tolist() == [0]


class Argmax(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.argmax(1)


def test_a_network_without_layers_says_so() -> None:
    with pytest.raises(UnknownName, match="no layers"):
        taps.find_layer(nn.Identity(), "")
