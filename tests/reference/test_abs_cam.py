"""Abs-CAM's stages against loops in float64, and what follows from the formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

import networks
from layer_reference import CLASS, activation_and_slope
from seewhy.methods import AbsCAM, GradCAM, ScoreCAM

CASES = ["cnn 2", "cnn 3", "vit blocks.1.norm1", "swin features.1", "clip 5"]


@pytest.mark.parametrize("case", CASES)
def test_is_its_formula(case) -> None:
    family, layer = case.split()
    build, shape = networks.FAMILIES[family]
    net, x = build(), networks.batch(shape, n=2)
    A, g = activation_and_slope(net, x, layer, family)
    A = A.relu()
    mode = "trilinear" if family == "clip" else "bilinear"

    def enlarged(m: Tensor) -> Tensor:
        return interpolate(m[None, None], size=shape[1:], mode=mode)[0, 0]

    first = AbsCAM(layer=layer, stage="init")(net, x, CLASS)
    for scores in ("increase", "absolute"):
        final = AbsCAM(layer=layer, scores=scores)(net, x, CLASS)
        masked = AbsCAM(layer=layer, scores=scores, sums="masks")(net, x, CLASS)
        net.double()
        for i in range(len(x)):
            init = torch.zeros_like(A[i, 0])
            by_channel, by_mask = torch.zeros(shape[1:]).double(), torch.zeros(shape[1:]).double()
            for a, s in zip(A[i], g[i], strict=True):
                w = s.abs().mean()
                init += w * a
                up = enlarged(a)
                if up.max() == up.min():
                    continue
                mask = (up - up.min()) / (up.max() - up.min())
                with torch.no_grad():
                    y = net((x[i].double() * mask)[None])[0, CLASS]
                    empty = net(torch.zeros_like(x[:1]).double())[0, CLASS]
                y = y.abs() if scores == "absolute" else (y - empty).relu()
                by_channel += y * w * up
                by_mask += y * mask
            for ours, expected in (
                (first.native[i], init),
                (final.values[i], by_channel.relu()),
                (masked.values[i], by_mask.relu()),
            ):
                scale = float(expected.abs().max())
                torch.testing.assert_close(ours.double(), expected, atol=2e-5 * scale + 1e-9, rtol=1e-4)
        net.float()


def test_the_first_stage_does_not_know_for_from_against() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16))
    method = AbsCAM(layer="5", stage="init")
    up, down = method(net, x, lambda y: y[:, CLASS]), method(net, x, lambda y: -y[:, CLASS])
    torch.testing.assert_close(up.native, down.native)


def test_the_first_stage_is_grad_cam_where_all_gradients_are_positive() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16))
    with torch.no_grad():
        net[8].weight.abs_()
    torch.testing.assert_close(
        AbsCAM(layer="5", stage="init")(net, x, CLASS).native, GradCAM(layer="5")(net, x, CLASS).native
    )


def test_the_second_stage_scores_the_masks_of_score_cam() -> None:
    # With all weights one (gradients of one number everywhere), the sums are Score-CAM's with logits.
    net, x = networks.cnn(), networks.batch((3, 16, 16))
    with torch.no_grad():
        net[8].weight.fill_(16.0 * 4)
        net[8].bias.fill_(1.0)
    ours = AbsCAM(layer="5", scores="absolute")(net, x, lambda y: y[:, CLASS]).values
    theirs = ScoreCAM(layer="5")(net, x, lambda y: y[:, CLASS]).values
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
