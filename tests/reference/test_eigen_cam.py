"""Eigen-CAM against singular values of numpy, a peer, and its own rule for the sign."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_grad_cam as peers
import torch

import networks
import seewhy
from layer_reference import CLASS, activation_and_slope, as_peers_show
from seewhy.methods import EigenCAM
from seewhy.methods.cam.eigen_cam import component

CASES = ["cnn 2", "cnn 3", "vit blocks.1.norm1", "swin features.1", "clip 5"]


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_is_numpys_projection(case, centre, gradient) -> None:
    family, layer = case.split()
    build, shape = networks.FAMILIES[family]
    net, x = build(), networks.batch(shape, n=3)
    A, g = activation_and_slope(net, x, layer, family)
    features = (A * g if gradient else A).flatten(2).transpose(1, 2).numpy()
    result = EigenCAM(layer=layer, gradient=gradient, centre=centre)(net, x, CLASS)
    for i, rows in enumerate(features):
        R = rows - rows.mean(0) if centre else rows
        _, s, Vt = np.linalg.svd(R, full_matrices=False)
        expected, ours = R @ Vt[0], result.native[i].flatten().double().numpy()
        expected = expected * np.sign(expected @ ours)  # the sign is tested below
        np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())
        explained = result.provenance["inputs"][i]["reliability"]["explained"]
        assert explained == pytest.approx(s[0] ** 2 / (s**2).sum(), rel=1e-3)


def test_is_the_peers_up_to_the_sign() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=3)
    with peers.EigenCAM(model=net, target_layers=[net[5]]) as reference:
        expected = reference(input_tensor=x, targets=None)
    native = EigenCAM(layer="5")(net, x, CLASS).native
    both = np.stack([as_peers_show((sign * native).relu(), (16, 16)) for sign in (1, -1)])
    gaps = np.abs(both - expected).max((2, 3)).min(0)
    assert gaps.max() < 1e-5


def test_active_cells_are_high_and_order_does_not_matter() -> None:
    rows = torch.zeros(6, 3, dtype=torch.float64)
    rows[4] = torch.tensor([3.0, 0, 1])
    for order in (torch.arange(6), torch.arange(6).flip(0)):
        found, explained = component(rows[order], centre=True)
        assert int(found.argmax()) == int((order == 4).nonzero())
        assert explained == pytest.approx(1)
    # Without activity: the largest value is positive, whatever the solver returned.
    angle = torch.tensor([0.1, 0.2, 0.1, 0.3, 2.0], dtype=torch.float64)
    ring = -torch.stack([angle.cos() + 2, angle.sin() + 2], 1)
    found, _ = component(ring, centre=True)
    mirrored, _ = component(ring.flip(1), centre=True)
    assert int(found.abs().argmax()) == int(found.argmax()) == 4
    torch.testing.assert_close(mirrored, found)


def test_equal_cells_give_zeros() -> None:
    found, explained = component(torch.ones(4, 3, dtype=torch.float64), centre=True)
    assert float(found.abs().max()) == 0
    assert explained == 0


def test_rectified_is_not_signed() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=2)
    plain, rectified = EigenCAM()(net, x, CLASS), EigenCAM(relu=True)(net, x, CLASS)
    assert torch.equal(rectified.native, plain.native.relu())
    assert plain.signed
    assert not rectified.signed


def test_one_pass_and_no_class() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=2)
    result = seewhy.explain(net, x, method="eigen_cam", target=1)
    assert result.provenance["passes"] == {"forward": 1, "backward": 0}
    assert torch.equal(result.values, seewhy.explain(net, x, method="eigen_cam", target=3).values)
