"""FD-CAM against its steps written as loops in float64, and the shortcut against the long way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import networks
from layer_reference import CLASS, activation_and_slope, score_with
from seewhy.methods import FDCAM
from seewhy.targets import Class

CASES = ["cnn 2", "cnn 5", "vit blocks.1.norm1", "swin features.1", "clip 3"]


def steps(net: nn.Module, x: Tensor, layer: str, family: str, q: float) -> Tensor:
    """The map before its ReLU."""
    A, g = activation_and_slope(net, x, layer, family)
    A, channels = A.relu(), A.shape[1]
    whole = score_with(net, x, layer, family, torch.ones(channels, dtype=torch.float64))
    maps = torch.zeros_like(A[:, 0])
    for i in range(len(x)):
        rows = A[i].flatten(1).numpy()
        live = [k for k in range(channels) if np.abs(rows[k]).max() > 0]
        s, w = {}, {}
        for k in live:
            cosines = np.zeros(channels)
            for j in live:
                cosines[j] = rows[k] @ rows[j] / math.sqrt((rows[k] @ rows[k]) * (rows[j] @ rows[j]))
            on = torch.from_numpy((cosines > np.quantile(cosines, q)).astype(float))
            alone = score_with(net, x[i : i + 1], layer, family, on)
            without = score_with(net, x[i : i + 1], layer, family, 1 - on)
            s[k] = float(alone + whole[i] - without)
            w[k] = float(g[i, k].mean())

        def between(values: dict[int, float], k: int) -> float:
            low, high = min(values.values()), max(values.values())
            return (values[k] - low) / (high - low) if high > low else 1.0

        for k in live:
            maps[i] += (math.exp(between(s, k)) * between(w, k) - 0.5) * A[i, k]
    return maps


@pytest.mark.parametrize("case", CASES)
def test_is_its_steps(case) -> None:
    family, layer = case.split()
    build, shape = networks.FAMILIES[family]
    net, x = build(), networks.batch(shape, n=2)
    for q in (0.95, 0.6) if family == "cnn" else (0.8,):
        expected = steps(net, x, layer, family, q)
        result = FDCAM(layer=layer, quantile=q, relu=False)(net, x, CLASS)
        scale = float(expected.abs().max())
        torch.testing.assert_close(result.native.double(), expected, atol=2e-4 * scale, rtol=1e-3)
        linear = {i["reliability"]["linear"] for i in result.provenance["inputs"]}
        assert linear == {case == "cnn 5"}


@pytest.mark.parametrize("target", [CLASS, Class(CLASS, "probability")])
def test_the_shortcut_changes_nothing(target) -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=3)
    short = FDCAM(layer="5", relu=False)(net, x, target)
    whole = FDCAM(layer="5", relu=False, shortcut=False)(net, x, target)
    torch.testing.assert_close(short.native, whole.native, atol=1e-5, rtol=1e-5)
    # A probability is not linear, so that all gates are run.
    assert short.provenance["inputs"][0]["reliability"]["linear"] == (target == CLASS)


def test_of_a_pooled_linear_head_in_closed_form() -> None:
    # s_k = b + 2 sum over the group of W_l mean A_l.
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=1)
    A, _ = activation_and_slope(net, x, "5", "cnn")
    weight, bias = net[8].weight[CLASS].detach().double(), float(net[8].bias[CLASS].detach())
    rows = nn.functional.normalize(A[0].flatten(1), dim=1)
    cosines = rows @ rows.T
    groups = (cosines > cosines.quantile(0.6, dim=1, keepdim=True)).double()
    s = bias + 2 * groups @ (weight * A[0].mean((1, 2)))
    s, w = ((v - v.min()) / (v.max() - v.min()) for v in (s, weight))
    expected = torch.einsum("k,khw->hw", s.exp() * w - 0.5, A[0])
    native = FDCAM(layer="5", quantile=0.6, relu=False)(net, x, CLASS).native[0]
    torch.testing.assert_close(native.double(), expected, atol=1e-5, rtol=1e-4)


def test_dead_channels_and_equal_gradients_are_defined() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=2)
    with torch.no_grad():
        net[4].weight[:3] = 0
        net[4].bias[:3] = -1
        net[8].weight.fill_(0.5)
    native = FDCAM(layer="5", relu=False)(net, x, CLASS).native
    torch.testing.assert_close(native.double(), steps(net, x, "5", "cnn", 0.95), atol=1e-4, rtol=1e-3)
