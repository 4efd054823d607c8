"""FullGrad against its identity in float64 and against sums by hand."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import networks
import seewhy
from seewhy.conformance import state_of
from seewhy.errors import DoesNotFit
from seewhy.inputs.photos import demo_photos
from seewhy.methods import FullGrad
from seewhy.methods.gradient import biases

X = networks.batch((3, 16, 16), n=3)
CLASS = 2


class Residual(nn.Module):
    """A residual network in which biases are added by functions, in place, twice, and by activations."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.first, self.twice = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.act, self.head = nn.ReLU(inplace=True), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        x = x + self.act(self.twice(x))
        x = functional.relu6(40 * self.twice(x), inplace=True)
        x = functional.silu(functional.max_pool2d(x, 2))
        return self.head(functional.gelu(x).mean((2, 3)))


@pytest.mark.parametrize("family", ["cnn", "clip", "residual"])
def test_terms_add_up_to_the_score(family) -> None:
    build, shape = (Residual, (3, 16, 16)) if family == "residual" else networks.FAMILIES[family]
    net, x = build().eval(), networks.batch(shape, n=3)
    result = FullGrad(post="complete")(net, x, CLASS)
    facts = [i["reliability"] for i in result.provenance["inputs"]]
    assert max(f["completeness_error"] for f in facts) < 1e-6
    total = result.values.flatten(1).sum(1) + torch.tensor([f["unplaced"] for f in facts])
    with torch.no_grad():
        torch.testing.assert_close(total, net(x)[:, CLASS], atol=2e-5, rtol=1e-4)


def test_a_forgotten_bias_is_noticed() -> None:
    with (
        mock.patch.object(biases, "_shift", return_value=None),
        pytest.raises(DoesNotFit, match="miss"),
    ):
        FullGrad()(networks.cnn(), X, CLASS)


def by_hand(net: nn.Sequential, x: Tensor, complete: bool) -> Tensor:
    """Return the map of conv, ReLU, conv, ReLU, mean, linear in float64, from its gradients alone."""
    net, x = net.double(), x.double().requires_grad_()
    z1 = net[0](x)
    z2 = net[2](z1.relu())
    score = net[6](z2.relu().mean((2, 3)))[:, CLASS].sum()
    g0, g1, g2 = torch.autograd.grad(score, [x, z1, z2])
    total = torch.zeros(len(x), *x.shape[2:], dtype=torch.float64)
    for g, factor in ((g0, x), (g1, net[0].bias[:, None, None]), (g2, net[2].bias[:, None, None])):
        for i in range(len(x)):
            t = g[i] * (factor[i] if factor is x else factor)
            if complete:
                part = t * t[0].numel() / x[0, 0].numel()
            else:
                part = (t.abs() - t.abs().min()) / (t.abs().max() - t.abs().min())
            up = functional.interpolate(part[None], tuple(x.shape[2:]), mode="bilinear", align_corners=False)
            total[i] += up[0].sum(0).detach()
    net.float()
    return total


@pytest.mark.parametrize("post", ["published", "complete"])
def test_maps_by_hand(post) -> None:
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 5),
    ).eval()  # fmt: skip
    ours = FullGrad(post=post)(net, X, CLASS).values
    torch.testing.assert_close(ours, by_hand(net, X, post == "complete").float(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("family", ["vit", "swin"])
def test_transformers_are_refused(family) -> None:
    build, shape = networks.FAMILIES[family]
    net = build()
    before = state_of(net)
    with pytest.raises(DoesNotFit, match="miss the score by"):
        FullGrad()(net, networks.batch(shape), CLASS)
    assert state_of(net) == before


def test_a_real_network_is_complete() -> None:
    model = seewhy.load("efficientnet-lite0")
    result = FullGrad()(model, [demo_photos()["cat"]])
    assert result.provenance["inputs"][0]["reliability"]["completeness_error"] < 1e-5
