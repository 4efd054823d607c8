"""Guided backpropagation, DeconvNet and Guided Grad-CAM against rules by hand and against captum."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Deconvolution as _CaptumDeconvolution
from captum.attr import GuidedBackprop as _CaptumGuidedBackprop
from captum.attr import GuidedGradCam as _CaptumGuidedGradCam
from torch import Tensor, nn
from torch.nn import functional

import networks
import seewhy
from seewhy.agreement import Agreement
from seewhy.conformance import state_of
from seewhy.errors import DoesNotFit
from seewhy.inputs.photos import demo_photos
from seewhy.methods import METHODS, DeconvNet, Gradient, GuidedBackprop, GuidedGradCAM

X = networks.batch((3, 16, 16), n=3)
CLASS = 2
RULED = {"guided": GuidedBackprop, "deconvnet": DeconvNet}
PEERS = {"guided": _CaptumGuidedBackprop, "deconvnet": _CaptumDeconvolution}


def plain_cnn() -> nn.Module:
    """Two convolutions, max pooling with overlapping windows, ReLU modules of their own."""
    torch.manual_seed(6)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 25, 5),
    ).eval()


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize("rule", RULED)
@pytest.mark.parametrize("family", ["cnn", "plain", "clip"])
def test_ruled_gradients_are_captums(rule, family) -> None:
    net = plain_cnn() if family == "plain" else networks.FAMILIES[family][0]()
    x = X if family != "clip" else networks.batch(networks.FAMILIES["clip"][1], n=2)
    reference = PEERS[rule](net).attribute(x.clone().requires_grad_(), target=CLASS).detach()
    assert float(reference.abs().max()) > 1e-3
    for channels, expected in (("sum", reference.sum(1)), ("max_abs", reference.abs().amax(1))):
        ours = RULED[rule](channels=channels)(net, x, CLASS).values
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_guided_grad_cam_is_captums() -> None:
    net = plain_cnn()
    reference = _CaptumGuidedGradCam(net, net[3]).attribute(X.clone().requires_grad_(), target=CLASS)
    ours = GuidedGradCAM(layer="3", channels="sum", enlarge="nearest")(net, X, CLASS).values
    torch.testing.assert_close(ours, reference.sum(1).detach(), atol=1e-6, rtol=1e-5)


class Written(nn.Module):
    """y = v . relu(W2 relu(W1 x)), its ReLUs written in one of many ways."""

    WAYS = ("modules", "in place", "one module", "functions", "torch", "methods", "methods in place", "side")

    def __init__(self, way: str, top: float = float("inf")) -> None:
        super().__init__()
        torch.manual_seed(8)
        self.w1, self.w2 = nn.Linear(12, 9, bias=False), nn.Linear(9, 7, bias=False)
        self.v = nn.Linear(7, 4, bias=False)
        self.relus = nn.ModuleList(nn.ReLU(way == "in place") for _ in range(2))
        self.way, self.top = way, top

    def rectify(self, z: Tensor, i: int) -> Tensor:
        match self.way:
            case "modules" | "in place":
                return self.relus[i](z)
            case "one module":
                return self.relus[0](z)
            case "functions":
                return functional.relu(z)
            case "torch":
                return torch.relu(z)
            case "methods":
                return z.relu()
            case "methods in place":
                return z.relu_()
            case "side":
                functional.relu(z, inplace=True)  # only the effect on z counts
                return z
            case "relu6":
                return functional.relu6(z)
            case "hardtanh":
                return functional.hardtanh(z, 0.0, 6.0)
        raise AssertionError(self.way)

    def forward(self, x: Tensor) -> Tensor:
        return self.v(self.rectify(self.w2(self.rectify(self.w1(x.flatten(1)), 0)), 1))


def by_hand(net: Written, x: Tensor, rule: str, top: float = float("inf")) -> Tensor:
    """Return the ruled gradient of a `Written` network in float64: matrices and signs alone."""
    w1, w2, v = (m.weight.detach().double() for m in (net.w1, net.w2, net.v))
    z1 = x.flatten(1).double() @ w1.T
    z2 = z1.clamp(0, top) @ w2.T
    back = v[CLASS].expand(len(x), -1)
    for z, w in ((z2, w2), (z1, w1)):
        back = back.clamp_min(0)
        if rule == "guided":
            back = back * ((z > 0) & (z < top))
        back = back @ w
    return back.reshape(x.shape)


@pytest.mark.parametrize("rule", RULED)
@pytest.mark.parametrize("way", Written.WAYS)
def test_relus_are_ruled_however_they_are_written(rule, way) -> None:
    net, x = Written(way).eval(), networks.batch((3, 2, 2), n=4, seed=1)
    ours = RULED[rule](channels="sum")(net, x, CLASS).values
    expected = by_hand(net, x, rule)
    torch.testing.assert_close(ours, expected.sum(1).float(), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(ours, Gradient(channels="sum")(net, x, CLASS).values, atol=1e-3)


@pytest.mark.parametrize("rule", RULED)
@pytest.mark.parametrize("way", ["relu6", "hardtanh"])
def test_relu6_is_also_off_above_its_top(rule, way) -> None:
    net, x = Written(way).eval(), 12 * networks.batch((3, 2, 2), n=4, seed=1)
    assert bool((net.w1(x.flatten(1)) > 6).any())
    ours = RULED[rule](channels="sum")(net, x, CLASS).values
    torch.testing.assert_close(ours, by_hand(net, x, rule, 6.0).sum(1).float(), atol=1e-6, rtol=1e-5)


def test_deconvnet_puts_values_where_the_maxima_were() -> None:
    """One filter, one pooling window each: the map is the filter's transpose at the switches."""
    net = nn.Sequential(
        nn.Conv2d(1, 1, 1, bias=False), nn.MaxPool2d(2), nn.Flatten(), nn.ReLU(), nn.Linear(4, 1)
    )
    with torch.no_grad():
        net[0].weight.fill_(2.0)
        net[4].weight.copy_(torch.tensor([[1.0, -1.0, 3.0, 5.0]]))
    x = -torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(0))  # every ReLU is off
    _, switches = functional.max_pool2d(x, 2, return_indices=True)
    expected = functional.max_unpool2d(torch.tensor([[[[1.0, 0.0], [3.0, 5.0]]]]), switches, 2) * 2
    ours = DeconvNet(channels="sum")(net.eval(), x, seewhy.targets.Output(0)).values
    torch.testing.assert_close(ours, expected[:, 0])


class Gated(nn.Module):
    """A network whose activation is one function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.conv, self.head, self.function = nn.Conv2d(3, 4, 3), nn.Linear(4, 5), function

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.conv(x)).mean((2, 3)))


@pytest.mark.parametrize("name", ["guided_backprop", "deconvnet", "guided_grad_cam"])
@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (functional.gelu, "calls GELU, for which"),
        (nn.SiLU(), "has SiLU"),
        (lambda z: functional.leaky_relu(z.relu(), 0.2), "calls LeakyReLU, for which"),
        (torch.tanh, "calls no ReLU"),
        (functional.hardtanh, "calls Hardtanh"),
    ],
    ids=["gelu", "silu module", "leaky", "tanh", "hardtanh"],
)
def test_other_activations_are_refused(name, function, reason) -> None:
    net = Gated(function).eval()
    before = state_of(net)
    with pytest.raises(DoesNotFit, match=reason):
        METHODS[name]()(net, X, CLASS)
    assert state_of(net) == before


def test_the_rule_ends_with_the_method() -> None:
    """The gradient after a ruled one is the gradient before it."""
    net = networks.cnn()
    before = Gradient()(net, X, CLASS).values
    GuidedBackprop()(net, X, CLASS)
    torch.testing.assert_close(Gradient()(net, X, CLASS).values, before, atol=0, rtol=0)


def test_guided_backprop_and_deconvnet_fail_the_sanity_check() -> None:
    """With a random last layer the answer is chance; these maps hardly notice, the gradient does."""
    model = seewhy.load("efficientnet-lite0")
    x = model.prepare(list(demo_photos().values())[:4]).tensor
    heads = [m for m in model.module.modules() if isinstance(m, nn.Linear)]
    methods = {
        "gradient": Gradient(),
        "guided": GuidedBackprop(),
        "deconvnet": DeconvNet(),
    }
    targets = [rank[0].index for rank in model.predict(x, 1)]
    before = {k: m(model, x, targets).values for k, m in methods.items()}
    weight = heads[-1].weight
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)) * weight.std())
    after = {k: m(model, x, targets).values for k, m in methods.items()}
    with torch.no_grad():
        weight.copy_(kept)
    agreement = {k: float(Agreement.of(before[k], after[k]).spearman.mean()) for k in methods}
    assert agreement["guided"] > 0.95
    assert agreement["deconvnet"] > 0.95
    assert agreement["gradient"] < 0.6
