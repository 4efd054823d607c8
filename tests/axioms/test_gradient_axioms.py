"""Axioms of the gradient methods as properties, each with a planted bug that the property must catch."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import networks
from seewhy.methods import (
    BlurIG,
    ExpectedGradients,
    GradCAM,
    Gradient,
    InputXGradient,
    IntegratedGradients,
    SmoothGrad,
)
from seewhy.methods.gradient import integrated_gradients as ig
from seewhy.question import Question

seeds = st.integers(0, 10_000)
classes = st.integers(0, 4)


def smooth_net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()


def caught(holds: Callable[..., None]) -> None:
    """Assert that the property fails somewhere."""
    with pytest.raises(AssertionError):
        holds()


# -- completeness --------------------------------------------------------------------------------------------


def completeness(seed: int, target: int) -> None:
    net, x = smooth_net(seed), networks.batch((3, 8, 8), seed=seed)
    values = IntegratedGradients(steps=64)(net, x, target).values
    with torch.no_grad():
        rise = net(x)[:, target] - net(torch.zeros_like(x))[:, target]
    torch.testing.assert_close(values.flatten(1).sum(1), rise, atol=2e-3, rtol=1e-2)


@given(seeds, classes)
def test_integrated_gradients_hand_out_the_whole_score(seed: int, target: int) -> None:
    completeness(seed, target)


def test_completeness_catches_weights_that_do_not_sum_to_one() -> None:
    broken = {**ig.RULES, "gauss_legendre": lambda n: np.polynomial.legendre.leggauss(n)}  # nodes of [-1, 1]
    with mock.patch.object(ig, "RULES", broken):
        caught(lambda: completeness(1, 2))


# -- linearity -----------------------------------------------------------------------------------------------


def linearity(method, seed: int, a: float, b: float) -> None:
    """A map of a f_0 + b f_1 is a map(f_0) + b map(f_1), for methods that are linear in the score."""
    net, x = smooth_net(seed), networks.batch((3, 8, 8), seed=seed)
    both = method(net, x, lambda z: a * z[:, 0] + b * z[:, 1]).values
    apart = a * method(net, x, 0).values + b * method(net, x, 1).values
    torch.testing.assert_close(both, apart, atol=1e-4, rtol=1e-3)


LINEAR = {
    "gradient": Gradient(channels="sum"),
    "input x gradient": InputXGradient(),
    "smooth grad": SmoothGrad(samples=3, channels="sum"),
    "integrated gradients": IntegratedGradients(steps=8),
    "expected gradients": ExpectedGradients(samples=4),
    "blur ig": BlurIG(steps=4, max_sigma=3.0),
    "grad_cam": GradCAM(layer="0", relu=False),
}


@pytest.mark.parametrize("name", LINEAR)
@given(seed=seeds, a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_linear_in_the_score(name: str, seed: int, a: float, b: float) -> None:
    linearity(LINEAR[name], seed, a, b)


def test_linearity_catches_a_rectified_map() -> None:
    caught(lambda: linearity(GradCAM(layer="0", relu=True), 3, 1.0, -2.0))
    caught(lambda: linearity(Gradient(channels="max_abs"), 3, 1.0, -2.0))


# -- sensitivity ---------------------------------------------------------------------------------------------


def dummy(method, seed: int, blind: Callable[[Tensor], Tensor]) -> None:
    """Pixels that the model cannot see get exactly nothing."""
    net, x = smooth_net(seed), networks.batch((3, 8, 8), seed=seed)
    values = method(nn.Sequential(Blind(blind), net).eval(), x, 1).values
    assert float(values[:, :, :3].abs().max()) == 0
    assert float(values[:, :, 3:].abs().max()) > 0


class Blind(nn.Module):
    def __init__(self, blind: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.blind = blind

    def forward(self, x: Tensor) -> Tensor:
        return self.blind(x)


def hide_left(x: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(x[..., :3]), x[..., 3:]], -1)


@pytest.mark.parametrize(
    "method", [Gradient(), SmoothGrad(samples=3), IntegratedGradients(steps=4)], ids=repr
)
@given(seed=seeds)
def test_unseen_pixels_get_nothing(method, seed: int) -> None:
    dummy(method, seed, hide_left)


def test_sensitivity_catches_a_leak() -> None:
    caught(lambda: dummy(Gradient(), 5, lambda x: hide_left(x) + 1e-3 * x.flip(-1)))


# -- classes renamed -----------------------------------------------------------------------------------------


class Renamed(nn.Module):
    def __init__(self, net: nn.Module, order: list[int]) -> None:
        super().__init__()
        self.net, self.order = net, order

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[:, self.order]


def renaming(method, seed: int, order: list[int], target: int) -> None:
    net, x = smooth_net(seed), networks.batch((3, 8, 8), seed=seed)
    renamed = method(Renamed(net, order).eval(), x, order.index(target)).values
    torch.testing.assert_close(renamed, method(net, x, target).values, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", [Gradient(), IntegratedGradients(steps=4), GradCAM(layer="0")], ids=repr)
@given(seed=seeds, order=st.permutations(range(5)), target=classes)
def test_maps_follow_renamed_classes(method, seed: int, order: list[int], target: int) -> None:
    if isinstance(method, GradCAM):
        net, x = smooth_net(seed), networks.batch((3, 8, 8), seed=seed)
        renamed = GradCAM(layer="net.0")(Renamed(net, order).eval(), x, order.index(target)).values
        torch.testing.assert_close(renamed, method(net, x, target).values, atol=1e-6, rtol=1e-5)
    else:
        renaming(method, seed, order, target)


def test_renaming_catches_a_target_that_ignores_its_index() -> None:
    with mock.patch.object(Question, "scores", lambda self, x, rows=None: self.answer(x).output[:, 0]):
        caught(lambda: renaming(Gradient(), 3, [1, 2, 3, 4, 0], 0))
