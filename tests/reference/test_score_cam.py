"""Score-CAM against loops in float64 and a peer; Abs-CAM's second stage shares its masks."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_grad_cam as peers
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn.functional import interpolate

import networks
from layer_reference import CLASS, activation_and_slope, as_peers_show
from seewhy.methods import ScoreCAM
from seewhy.methods.cam.channel_masks import ChannelMasks
from seewhy.targets import Class

CASES = ["cnn 2", "cnn 3", "vit blocks.1.norm1", "swin features.1", "clip 5"]


def enlarged(maps: Tensor, size: tuple[int, ...], corners: bool = False) -> Tensor:
    mode = "trilinear" if len(size) == 3 else "bilinear"
    return interpolate(maps[None, None], size=size, mode=mode, align_corners=corners)[0, 0]


def seen_through(net: nn.Module, x: Tensor, A: Tensor, corners: bool = False) -> list[tuple[int, Tensor]]:
    """For one `(c, *size)` input: channel and answer of each mask that is not constant, float64."""
    found = []
    for k, a in enumerate(A):
        if a.max() > a.min():
            up = enlarged(a, tuple(x.shape[1:]), corners)
            mask = (up - up.min()) / (up.max() - up.min())
            with torch.no_grad():
                found.append((k, net.double()((x.double() * mask)[None])[0]))
    net.float()
    return found


@pytest.mark.parametrize("case", CASES)
def test_is_its_formula(case) -> None:
    family, layer = case.split()
    build, shape = networks.FAMILIES[family]
    net, x = build(), networks.batch(shape, n=2)
    A, _ = activation_and_slope(net, x, layer, family)
    A = A.relu()
    for variant in ("official", "paper", "library"):
        result = ScoreCAM(layer=layer, variant=variant)(net, x, CLASS)
        for i in range(len(x)):
            answers = seen_through(net, x[i], A[i], corners=variant == "library")
            sums = torch.zeros_like(A[i, 0])
            if variant == "library":
                scores = torch.stack([y[CLASS] for _, y in answers])
            else:
                scores = torch.stack([y.softmax(0)[CLASS] for _, y in answers])
            if variant == "paper":  # less the score of an empty input, as the paper writes it
                with torch.no_grad():
                    scores = scores - net(torch.zeros_like(x[:1])).softmax(1)[0, CLASS]
            weights = scores if variant == "official" else scores.softmax(0)
            for (k, _), w in zip(answers, weights, strict=True):
                sums += w * A[i, k]
            expected = sums.relu()
            scale = max(1e-6, float(expected.abs().max()))
            torch.testing.assert_close(
                result.native[i].double(), expected, atol=1e-5 * max(scale, 1), rtol=1e-4
            )
            if variant == "official":  # enlarged before the ReLU
                shown = enlarged(sums, shape[1:]).relu().float()
                torch.testing.assert_close(result.values[i], shown, atol=1e-5 * max(scale, 1), rtol=1e-4)


def test_the_library_variant_is_the_peers() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=3)
    with peers.ScoreCAM(model=net, target_layers=[net[5]]) as peer:
        expected = peer(input_tensor=x, targets=[ClassifierOutputTarget(CLASS)] * len(x))
    ours = as_peers_show(ScoreCAM(layer="5", variant="library")(net, x, CLASS).native, (16, 16))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_dead_channels_cost_nothing_and_change_nothing() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=3)
    with torch.no_grad():
        net[4].weight[:3] = 0
        net[4].bias[:3] = -1
    result = ScoreCAM(layer="5")(net, x, CLASS)
    assert result.provenance["channels"] == 5
    # The pass that gives the answer gives the activation; then one a channel.
    assert result.provenance["passes"]["forward"] == 1 + 5


def test_constant_channels_make_no_mask() -> None:
    edits = ChannelMasks(torch.ones(2, 3, 4, 4), (8, 8), None)
    assert edits.count == 0
    assert torch.equal(edits.spread(torch.empty(2, 0), 0.0), torch.zeros(2, 3))
    one = torch.ones(2, 3, 4, 4)
    one[1, 2, 0, 0] = 5
    edits = ChannelMasks(one, (8, 8), None)
    assert edits.count == 1
    expected = torch.tensor([[0.0, 0, 0], [0, 0, 7]])
    assert torch.equal(edits.spread(torch.tensor([[6.0], [7.0]]), 0.0), expected)


def test_a_target_that_states_its_score_keeps_it() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=2)
    method = ScoreCAM(layer="5", variant="paper")
    assert not torch.equal(method(net, x, Class(CLASS, "logit")).native, method(net, x, Class(CLASS)).native)
    torch.testing.assert_close(
        method(net, x, Class(CLASS, "probability")).native, method(net, x, CLASS).native, atol=0, rtol=0
    )
