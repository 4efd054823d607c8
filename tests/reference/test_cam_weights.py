"""The relatives of Grad-CAM against their formulas in float64, written as loops, and against a peer."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_grad_cam as peers
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor

import networks
from layer_reference import CLASS, activation_and_slope, as_peers_show
from seewhy.methods import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM

CASES = ["cnn 2", "cnn 3", "vit blocks.1.norm1", "swin features.1", "clip 5"]
METHODS = [HiResCAM, LayerCAM, GradCAMPlusPlus, XGradCAM]


def loops(method: type, A: Tensor, g: Tensor) -> Tensor:
    """Each map before its ReLU, one sample and channel at a time."""
    maps = torch.zeros_like(A[:, 0])
    for i in range(len(A)):
        for a, s in zip(A[i], g[i], strict=True):
            if method is HiResCAM:
                maps[i] += s * a
            elif method is LayerCAM:
                maps[i] += torch.where(s > 0, s, 0) * a
            elif method is GradCAMPlusPlus:
                S = a[a > 0].sum()
                alpha = torch.where(s == 0, 0, s**2 / (2 * s**2 + s**3 * S).where(s != 0, 1))
                maps[i] += (alpha * torch.where(s > 0, s, 0)).sum() * a
            elif a.abs().sum() > 0:
                maps[i] += (s * a.abs()).sum() / a.abs().sum() * a
    return maps


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", METHODS)
def test_is_its_formula(method, case) -> None:
    family, layer = case.split()
    build, shape = networks.FAMILIES[family]
    net, x = build(), networks.batch(shape, n=3)
    expected = loops(method, *activation_and_slope(net, x, layer, family)).float()
    scale = float(expected.abs().max())
    result = method(layer=layer, relu=False)(net, x, CLASS)
    torch.testing.assert_close(result.native, expected, atol=1e-5 * scale, rtol=1e-5)
    assert result.signed
    rectified = method(layer=layer)(net, x, CLASS)
    torch.testing.assert_close(rectified.native, expected.relu(), atol=1e-5 * scale, rtol=1e-5)
    assert rectified.provenance["layer"] == layer


@pytest.mark.parametrize(
    ("method", "peer"),
    [
        (HiResCAM, peers.HiResCAM),
        (LayerCAM, peers.LayerCAM),
        (XGradCAM, peers.XGradCAM),
        (GradCAMPlusPlus, peers.GradCAMPlusPlus),
    ],
)
def test_is_the_peers_behind_a_relu(method, peer) -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=3)
    with torch.no_grad():  # steep scores, so that the peer's epsilon beside squared gradients is nothing
        net[8].weight *= 1000
    with peer(model=net, target_layers=[net[5]]) as reference:
        expected = reference(input_tensor=x, targets=[ClassifierOutputTarget(CLASS)] * len(x))
    ours = as_peers_show(method(layer="5")(net, x, CLASS).native, (16, 16))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_pooled_linear_heads_make_hires_cam_and_xgrad_cam_grad_cam() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=3)
    cam = GradCAM(layer="5", relu=False)(net, x, CLASS).native
    for method in (HiResCAM, XGradCAM):
        torch.testing.assert_close(
            method(layer="5", relu=False)(net, x, CLASS).native, cam, atol=1e-6, rtol=1e-5
        )


def test_grad_cam_pp_of_small_gradients_has_no_epsilon() -> None:
    # With f made smaller by 10^4, g S << 2 and the weights are half the sum of positive gradients.
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=2)
    with torch.no_grad():
        net[8].weight *= 1e-4
    A, g = activation_and_slope(net, x, "5", "cnn")
    expected = torch.einsum("nk,nkhw->nhw", g.relu().sum((2, 3)) / 2, A).float()
    native = GradCAMPlusPlus(layer="5")(net, x, CLASS).native
    torch.testing.assert_close(native, expected, atol=0, rtol=1e-3)


def test_dead_channels_are_nothing_to_xgrad_cam() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=2)
    with torch.no_grad():
        net[4].weight[:3] = 0
        net[4].bias[:3] = -1
    assert bool(XGradCAM(layer="5", relu=False)(net, x, CLASS).native.isfinite().all())


def test_hires_cam_is_nothing_where_only_norms_read_the_tokens() -> None:
    # Patch tokens reach the class token through norms alone from here on, and those ignore length.
    net, x = networks.vit(), networks.batch((3, 16, 16), n=2)
    A, g = activation_and_slope(net, x, "blocks.0", "vit")
    assert float((A * g).sum(1).abs().max()) < 1e-4 * float((A * g).abs().max())
