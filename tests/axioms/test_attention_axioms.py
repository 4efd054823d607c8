"""Axioms of the attention methods, each with a planted bug that the property must catch."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import networks
from seewhy.methods import AttentionRollout, LeGrad, TransformerAttribution
from seewhy.methods.attention import flow
from seewhy.methods.attention import transformer_attribution as ta
from seewhy.models.attention import TokenAttention
from seewhy.models.grids import Grid
from seewhy.question import Question

seeds = st.integers(0, 10_000)
QUICK = settings(max_examples=4)


def vit(seed: int) -> networks.ViT:
    torch.manual_seed(seed)
    return networks.ViT().eval()


def caught(holds: Callable[[], None]) -> None:
    """Assert that the property fails."""
    with pytest.raises(AssertionError):
        holds()


# -- rollout hands out the whole row ------------------------------------------------------------------------


def stochastic(seed: int, layers: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.rand(2, 3, 10, 10, generator=draw).softmax(-1) for _ in range(layers)]


def whole(seed: int, layers: int) -> None:
    """The cells of a product of row-stochastic matrices sum to 1 (no prefix here)."""
    attention = TokenAttention(Grid("tokens", (2, 5)), tuple(range(layers)), (0, 4), ("",) * layers)
    steps = [AttentionRollout()._step(w) for w in stochastic(seed, layers)]
    torch.testing.assert_close(flow.descend(attention, steps).sum((1, 2)), torch.ones(2))


@given(seeds, st.integers(1, 5))
def test_rollout_hands_out_one(seed: int, layers: int) -> None:
    whole(seed, layers)


def test_whole_catches_rows_that_are_not_normalised() -> None:
    with mock.patch.object(AttentionRollout, "_step", lambda self, w: w.mean(1) + torch.eye(10)):
        caught(lambda: whole(1, 3))


def test_tokens_that_attend_to_themselves_alone_stay_where_they_are() -> None:
    attention = TokenAttention(Grid("tokens", (2, 5)), (0, 1), (3,), ("", ""))
    steps = [AttentionRollout()._step(torch.eye(10).expand(1, 2, 10, 10))] * 2
    assert torch.equal(flow.descend(attention, steps)[0], torch.eye(10)[3].reshape(2, 5))


# -- patches shuffled ---------------------------------------------------------------------------------------


class Shuffled(nn.Module):
    """The same network on shuffled patches: the patches and their positions move together."""

    def __init__(self, net: networks.ViT, order: Tensor) -> None:
        super().__init__()
        self.net, self.order = net, order

    def forward(self, x: Tensor) -> Tensor:
        net = self.net
        x = net.patch(x).flatten(2).transpose(1, 2) + net.positions[:, 1:]
        first = (net.cls + net.positions[:, :1]).expand(len(x), -1, -1)
        x = torch.cat([first, x[:, self.order]], 1)
        for block in net.blocks:
            x = block(x)
        return net.head(net.norm(x)[:, 0])


def equivariance(method, seed: int, planted: bool = False) -> None:
    """Attention knows no order: what a patch gets moves with it."""
    net, x = vit(seed), networks.batch((3, 16, 16), seed=seed)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(seed))
    attention = TokenAttention(Grid("tokens", (4, 4), 1), (0, 1), (0,), ("net.blocks.0", "net.blocks.1"))
    name = type(method).__module__
    with mock.patch(f"{name}.token_attention", return_value=attention):
        moved = method(Shuffled(net, order).eval(), x, 1).native.flatten(1)
    plain = method(net, x, 1).native.flatten(1)
    expected = plain if planted else plain[:, order]
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=1e-4)


METHODS = {
    "rollout": AttentionRollout(),
    "transformer attribution": TransformerAttribution(),
    "its first generation": TransformerAttribution(generation=1),
    "le_grad": LeGrad(),
}


@pytest.mark.parametrize("name", METHODS)
@QUICK
@given(seed=seeds)
def test_follows_shuffled_patches(name: str, seed: int) -> None:
    equivariance(METHODS[name], seed)


def test_shuffling_catches_a_map_that_stays() -> None:
    caught(lambda: equivariance(TransformerAttribution(), 3, planted=True))


# -- classes renamed, scores scaled -------------------------------------------------------------------------


class Renamed(nn.Module):
    def __init__(self, net: nn.Module, order: list[int]) -> None:
        super().__init__()
        self.net, self.order = net, order

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[:, self.order]


def renaming(method, seed: int, order: list[int], target: int) -> None:
    net, x = vit(seed), networks.batch((3, 16, 16), seed=seed)
    renamed = method(Renamed(net, order).eval(), x, order.index(target)).values
    torch.testing.assert_close(renamed, method(net, x, target).values, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", METHODS)
@QUICK
@given(seed=seeds, order=st.permutations(range(5)), target=st.integers(0, 4))
def test_maps_follow_renamed_classes(name: str, seed: int, order: list[int], target: int) -> None:
    renaming(METHODS[name], seed, order, target)


def test_renaming_catches_a_target_that_ignores_its_index() -> None:
    real = flow.mixings
    with mock.patch.object(ta.flow, "mixings", lambda q, *a, **k: shifted(real(q, *a, **k), q)):
        caught(lambda: renaming(TransformerAttribution(), 3, [1, 2, 3, 4, 0], 0))


def shifted(layers: list[flow.Mixing], question: Question) -> list[flow.Mixing]:
    """Let the first class' score leak into the slopes."""
    leak = 1 + question.output[:, 0].abs().reshape(-1, 1, 1, 1)
    return [flow.Mixing(m.weights, m.slopes * leak) for m in layers]


def scaling(method, seed: int, factor: float) -> None:
    """LeGrad is linear in a positive factor of the score."""
    net, x = vit(seed), networks.batch((3, 16, 16), seed=seed)
    scaled = method(net, x, lambda z: factor * z[:, 1]).values
    torch.testing.assert_close(scaled, factor * method(net, x, 1).values, atol=1e-6, rtol=1e-4)


@QUICK
@given(seed=seeds, factor=st.floats(0.1, 5))
def test_le_grad_scales_with_the_score(seed: int, factor: float) -> None:
    scaling(LeGrad(), seed, factor)


def test_scaling_catches_a_product_of_layers() -> None:
    caught(lambda: scaling(TransformerAttribution(), 3, 4.0))
