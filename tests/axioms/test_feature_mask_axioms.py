"""Axioms of SIDU and ViT-CX, each with a planted bug that the property must catch."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import networks
from seewhy.methods import SIDU, ViTCX
from seewhy.methods.masking import vit_cx

seeds = st.integers(0, 10_000)
QUICK = settings(max_examples=5)


def net_of(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 5)).eval()


def caught(holds: Callable[[], None]) -> None:
    with pytest.raises(AssertionError):
        holds()


class Permuted(nn.Module):
    """The same function with its channels in another order."""

    def __init__(self, net: nn.Module, order: Tensor) -> None:
        super().__init__()
        self.first, self.net, self.order = nn.Sequential(net[0], net[1], Reorder(order)), net, order

    def forward(self, x: Tensor) -> Tensor:
        return self.net[3](self.net[2](self.first(x)[:, self.order.argsort()]))


class Reorder(nn.Module):
    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.order]


def order_of_channels(plain, permuted, seed: int) -> None:
    """The order of a layer's channels does not matter."""
    net, x = net_of(seed), networks.batch((3, 8, 8), seed=seed)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    other = permuted(Permuted(net, order).eval(), x, 1).values
    torch.testing.assert_close(other, plain(net, x, 1).values, atol=1e-5, rtol=1e-4)


@QUICK
@given(seed=seeds)
def test_the_order_of_channels_does_not_matter(seed: int) -> None:
    order_of_channels(SIDU(layer="1"), SIDU(layer="first"), seed)
    # The noise belongs to a mask's number, so the order matters with it.
    order_of_channels(ViTCX(layer="1", noise=0), ViTCX(layer="first", noise=0), seed)


def test_order_catches_a_map_that_depends_on_it() -> None:
    def first_half(channels, size, distance):
        return vit_cx.unit(channels[:3], size)

    with mock.patch.object(vit_cx, "merged", first_half):
        caught(lambda: order_of_channels(ViTCX(layer="1", noise=0), ViTCX(layer="first", noise=0), 3))


class Renamed(nn.Module):
    def __init__(self, net: nn.Module, order: list[int]) -> None:
        super().__init__()
        self.net, self.order = net, order

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[:, self.order]


def renaming(plain, renamed, seed: int, order: list[int], target: int) -> None:
    net, x = net_of(seed), networks.batch((3, 8, 8), seed=seed)
    other = renamed(Renamed(net, order).eval(), x, order.index(target)).values
    torch.testing.assert_close(other, plain(net, x, target).values, atol=1e-5, rtol=1e-4)


@QUICK
@given(seed=seeds, order=st.permutations(range(5)), target=st.integers(0, 4))
def test_maps_follow_renamed_classes(seed: int, order: list[int], target: int) -> None:
    renaming(SIDU(layer="1"), SIDU(layer="net.1"), seed, order, target)
    renaming(ViTCX(layer="1"), ViTCX(layer="net.1"), seed, order, target)


def test_renaming_catches_another_noise() -> None:
    caught(lambda: renaming(ViTCX(layer="1"), ViTCX(layer="net.1", noise=0.5), 3, [1, 2, 3, 4, 0], 0))


def level(seed: int, add: float) -> None:
    """ViT-CX without noise shifts with the score: what every mask gains, every pixel gains over K."""
    net, x = net_of(seed), networks.batch((3, 8, 8), seed=seed)
    plain = ViTCX(layer="1", noise=0)(net, x, lambda z: z[:, 1])
    raised = ViTCX(layer="1", noise=0)(net, x, lambda z: z[:, 1] + add)
    rise = torch.tensor([add / k for k in plain.provenance["masks"]])[:, None, None]
    shown = plain.values != 0  # where no mask shows anything the map is 0
    torch.testing.assert_close(
        (raised.values - plain.values)[shown], rise.expand_as(shown)[shown], atol=1e-4, rtol=1e-4
    )


@QUICK
@given(seed=seeds, add=st.floats(-3, 3))
def test_vit_cx_shifts_with_the_score(seed: int, add: float) -> None:
    level(seed, add)


def test_level_catches_coverage_that_is_not_divided_out() -> None:
    with mock.patch.object(vit_cx, "_ratio", lambda weighted, cover: weighted.float()):
        caught(lambda: level(3, 2.0))
