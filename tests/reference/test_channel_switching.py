"""Channels switched off, resumed or not, against loops in float64; Ablation-CAM against a peer, too."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import pytorch_grad_cam as peers
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

import networks
from layer_reference import CLASS, activation_and_slope, as_peers_show, score_with
from seewhy.errors import DoesNotFit
from seewhy.methods import AblationCAM
from seewhy.methods.cam import switching
from seewhy.models.model import Model

CASES = [
    ("cnn 2", "2"),
    ("cnn 3", "3"),
    ("vit blocks.1.norm1", "blocks.0"),
    ("vit blocks.0", "blocks.0"),
    ("swin features.1", "features.1"),
    ("clip 5", "5"),
]


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(("case", "anchor"), CASES)
def test_ablation_cam_is_its_formula(case, anchor, resume) -> None:
    family, layer = case.split()
    build, shape = networks.FAMILIES[family]
    net, x = build(), networks.batch(shape, n=3)
    A, _ = activation_and_slope(net, x, layer, family)
    channels = A.shape[1]
    ones = torch.ones(channels, dtype=torch.float64)
    y = score_with(net, x, layer, family, ones)
    expected = torch.zeros_like(A[:, 0])
    for k in range(channels):
        gate = ones.clone()
        gate[k] = 0
        w = (y - score_with(net, x, layer, family, gate)) / y.abs()
        expected += w.reshape(-1, *[1] * (A.ndim - 2)) * A[:, k]
    refusing = mock.patch.object(switching, "resume_from", side_effect=DoesNotFit("a", "b"))
    if resume:
        result = AblationCAM(layer=layer, relu=False)(net, x, CLASS)
        assert result.provenance["resumed_from"] == anchor
        assert result.provenance["passes"]["forward"] <= 6
    else:
        with refusing:
            result = AblationCAM(layer=layer, relu=False)(net, x, CLASS)
        assert result.provenance["resumed_from"] is None
        assert result.provenance["passes"]["forward"] >= channels
    scale = float(expected.abs().max())
    torch.testing.assert_close(result.native.double(), expected, atol=2e-5 * scale, rtol=1e-4)


def test_ablation_cam_is_the_peers() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=3)
    with torch.no_grad():
        net[8].bias += 10  # positive scores: where they are negative the peer turns the map round
    ours = as_peers_show(AblationCAM(layer="5")(net, x, CLASS).native, (16, 16))
    with peers.AblationCAM(model=net, target_layers=[net[5]]) as peer:
        expected = peer(input_tensor=x, targets=[ClassifierOutputTarget(CLASS)] * len(x))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_negative_scores_do_not_turn_the_map_round() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=2)
    maps = []
    for bias in (10.0, -10.0):
        with torch.no_grad():
            net[8].bias[:] = bias
        native = AblationCAM(layer="5", relu=False)(net, x, CLASS).native
        maps.append(native / native.abs().amax((1, 2), keepdim=True))
    torch.testing.assert_close(*maps, atol=1e-4, rtol=0)


def test_a_target_that_reads_what_is_skipped_runs_the_whole_network() -> None:
    from seewhy.targets import BoundTarget, Target

    class Early(Target):
        """The logit, plus the mean of an early layer."""

        @property
        def layers(self) -> tuple[str, ...]:
            return ("2",)

        def bind(self, model, answer, default):
            def score(answer, rows):
                return answer.output[:, CLASS] + answer.activations["2"].flatten(1).mean(1)

            return BoundTarget(score, ({"label": "early"},) * len(answer.output), ("2",))

    net, x = networks.cnn(), networks.batch((3, 16, 16), n=2)
    result = AblationCAM(layer="5", relu=False)(net, x, Early())
    assert bool(result.native.isfinite().all())
    assert result.provenance["resumed_from"] in ("2", "1", "0", None)


def test_a_single_input_passes_the_whole_network_once() -> None:
    """The first pass is also the one that resuming begins with, and the map is that of a batch."""
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=2)
    model, begins = Model(net), net.get_submodule("0")
    both = AblationCAM(layer="3")(model, x, CLASS)  # the network's structure is recorded once
    work = nn.Conv2d._conv_forward
    with mock.patch.object(nn.Conv2d, "_conv_forward", autospec=True, side_effect=work) as worked:
        alone = AblationCAM(layer="3")(model, x[:1], CLASS)
    assert [c.args[0] for c in worked.call_args_list].count(begins) == 1
    torch.testing.assert_close(alone.native, both.native[:1], rtol=1e-4, atol=1e-6)
