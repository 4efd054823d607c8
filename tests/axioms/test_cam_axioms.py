"""Axioms of class activation maps as properties, each with a planted bug that the property must catch."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import networks
from seewhy.methods import GradCAM, HiResCAM, XGradCAM

seeds = st.integers(0, 10_000)
classes = st.integers(0, 4)


def net_of(seed: int) -> nn.Module:
    """Nothing but a linear layer behind the ReLU, without a bias, so that scores are made of cells alone."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5, bias=False)).eval()


def caught(holds: Callable[..., None]) -> None:
    """Assert that the property fails somewhere."""
    with pytest.raises(AssertionError):
        holds()


def conservation(method, seed: int, target: int) -> None:
    """The map adds up to the score of a head that is linear and has no constant part."""
    net, x = net_of(seed), networks.batch((3, 8, 8), seed=seed)
    native = method(layer="1", relu=False)(net, x, target).native
    with torch.no_grad():
        score = net(x)[:, target]
    torch.testing.assert_close(native.flatten(1).sum(1), score, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("method", [HiResCAM, XGradCAM])
@given(seed=seeds, target=classes)
def test_maps_add_up_to_the_score(method, seed: int, target: int) -> None:
    conservation(method, seed, target)


def test_conservation_catches_a_plain_mean_and_a_rectified_slope() -> None:
    caught(lambda: conservation(GradCAM, 3, 1))
    with mock.patch.object(HiResCAM, "combine", lambda _self, a, g: (g.relu() * a).sum(1)):
        caught(lambda: conservation(HiResCAM, 3, 1))
    with mock.patch.object(
        XGradCAM, "combine", lambda _self, a, g: (g.mean((2, 3), keepdim=True) * a).sum(1)
    ):
        caught(lambda: conservation(XGradCAM, 3, 1))
