"""Gradient methods and Grad-CAM against closed forms in float64 and against installed peers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient as _CaptumInputXGradient
from captum.attr import IntegratedGradients as _CaptumIG
from captum.attr import LayerGradCam as _CaptumGradCam
from captum.attr import Saliency as _CaptumSaliency
from pytorch_grad_cam import GradCAM as _PeerGradCam
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

import networks
import seewhy
from seewhy.methods import GradCAM, Gradient, InputXGradient, IntegratedGradients, SmoothGrad

X = networks.batch((3, 16, 16), n=3)
CLASS = 2


class Quadratic(nn.Module):
    """f_c(x) = sum a_c x^2 + b_c x: gradients and integrals by hand."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.a, self.b = nn.Parameter(torch.randn(2, 3, 6, 6)), nn.Parameter(torch.randn(2, 3, 6, 6))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("nchw,kchw->nk", x.square(), self.a) + torch.einsum("nchw,kchw->nk", x, self.b)


@pytest.fixture
def quadratic() -> tuple[Quadratic, Tensor, Tensor, Tensor]:
    net = Quadratic()
    return net, networks.batch((3, 6, 6)), net.a[1].detach(), net.b[1].detach()


def test_gradient_of_a_quadratic(quadratic) -> None:
    net, x, a, b = quadratic
    slope = 2 * a * x + b
    maps = {
        "max_abs": slope.abs().amax(1),
        "l2": slope.square().sum(1).sqrt(),
        "sum": slope.sum(1),
    }
    for channels, expected in maps.items():
        torch.testing.assert_close(Gradient(channels=channels)(net, x, 1).values, expected)
    torch.testing.assert_close(InputXGradient()(net, x, 1).values, (slope * x).sum(1))


def test_smooth_grad_of_a_quadratic_is_the_gradient_at_the_mean_noise(quadratic) -> None:
    # The gradient is linear in x, so its mean over noise is the gradient at the mean; with N draws the mean
    # noise has deviation noise * range / sqrt(N), and five of them bound every pixel.
    net, x, a, b = quadratic
    smooth = SmoothGrad(samples=400, noise=0.1, channels="sum")(net, x, 1).values
    plain = (2 * a * x + b).sum(1)
    spread = 0.1 * (x.flatten(1).amax(1) - x.flatten(1).amin(1))[:, None, None]
    bound = 5 * spread / 20 * (2 * a).square().sum(0).sqrt()
    assert bool(((smooth - plain).abs() <= bound).all())
    assert not torch.equal(smooth, plain)


def test_gradient_is_captums_saliency() -> None:
    net = networks.cnn()
    reference = _CaptumSaliency(net).attribute(X.clone().requires_grad_(), target=CLASS, abs=True).amax(1)
    torch.testing.assert_close(Gradient()(net, X, CLASS).values, reference, atol=1e-6, rtol=0)


def test_input_x_gradient_is_captums() -> None:
    net = networks.cnn()
    reference = _CaptumInputXGradient(net).attribute(X.clone().requires_grad_(), target=CLASS).sum(1)
    torch.testing.assert_close(InputXGradient()(net, X, CLASS).values, reference.detach(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("rule", ["gauss_legendre", "midpoint", "trapezoid"])
def test_integrated_gradients_of_a_quadratic_is_exact(quadratic, rule) -> None:
    # The slope is linear along the path: these rules integrate it exactly, and the map is a x^2 + b x.
    net, x, a, b = quadratic
    result = IntegratedGradients(steps=5, rule=rule)(net, x, 1)
    torch.testing.assert_close(result.values, (a * x * x + b * x).sum(1), atol=1e-4, rtol=1e-4)
    assert max(i["reliability"]["completeness_error"] for i in result.provenance["inputs"]) < 1e-4


@pytest.mark.parametrize(("rule", "sign"), [("left", -1), ("right", 1)])
def test_one_sided_rules_are_off_by_what_the_formula_says(quadratic, rule, sign) -> None:
    # Rectangles with n steps miss a x^2 by +- a x^2 / n.
    net, x, a, b = quadratic
    n = 4
    result = IntegratedGradients(steps=n, rule=rule)(net, x, 1).values
    torch.testing.assert_close(result, (a * x * x * (1 + sign / n) + b * x).sum(1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["cnn", "vit", "swin", "clip"])
def test_integrated_gradients_is_captums(family) -> None:
    build, shape = networks.FAMILIES[family]
    net, x = build(), networks.batch(shape, n=2)
    result = IntegratedGradients()(net, x, CLASS)
    reference = _CaptumIG(net).attribute(x, target=CLASS, n_steps=50, method="gausslegendre").sum(1)
    torch.testing.assert_close(result.values, reference.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", ["cnn 3", "cnn 5", "vit blocks.0", "clip 3"])
def test_grad_cam_is_captums(case) -> None:
    family, layer = case.split()
    build, shape = networks.FAMILIES[family]
    net, x = build(), networks.batch(shape, n=3)
    if family == "vit":  # captum knows no tokens: the formula by hand, in float64
        reference = vit_grad_cam(net, x, layer)
    else:
        reference = _CaptumGradCam(net, net.get_submodule(layer)).attribute(x, target=CLASS)[:, 0].detach()
    result = GradCAM(layer=layer, relu=False)(net, x, CLASS)
    torch.testing.assert_close(result.native, reference.float(), atol=1e-5, rtol=0)
    rectified = GradCAM(layer=layer)(net, x, CLASS).native
    torch.testing.assert_close(rectified, reference.float().relu(), atol=1e-5, rtol=0)


def vit_grad_cam(net: nn.Module, x: Tensor, layer: str) -> Tensor:
    """Grad-CAM on tokens with one class token, 4 x 4 cells, written out in float64."""
    net = net.double()
    kept = []
    hook = net.get_submodule(layer).register_forward_hook(lambda _m, _a, out: kept.append(out))
    score = net(x.double())[:, CLASS].sum()
    hook.remove()
    (g,) = torch.autograd.grad(score, kept[0])
    tokens, slopes = kept[0][:, 1:].detach(), g[:, 1:]
    cam = torch.zeros(len(x), 16, dtype=torch.float64)
    for i in range(len(x)):
        for k in range(tokens.shape[2]):
            cam[i] += slopes[i, :, k].mean() * tokens[i, :, k]
    net.float()
    return cam.reshape(len(x), 4, 4)


def test_grad_cam_is_the_peers_after_its_scaling() -> None:
    net = networks.cnn()
    with _PeerGradCam(model=net, target_layers=[net[3]]) as peer:
        reference = peer(input_tensor=X, targets=[ClassifierOutputTarget(CLASS)] * len(X))
    native = GradCAM(layer="3")(net, X, CLASS).native

    def min_max(m: Tensor) -> Tensor:
        m = m - m.amin((1, 2), keepdim=True)
        return m / (1e-7 + m.amax((1, 2), keepdim=True))

    # The peer scales to [0, 1] at low resolution, resizes, and scales again.
    ours = min_max(seewhy.resize.resize(min_max(native), (16, 16)).relu())
    np.testing.assert_allclose(ours.numpy(), reference, atol=1e-5)


def test_grad_cam_is_cam_for_a_pooled_linear_head() -> None:
    net = networks.cnn().double()
    with torch.no_grad():
        features = net[:6](X.double())
    cam = torch.einsum("nkhw,k->nhw", features, net[8].weight[CLASS]) / features[0, 0].numel()
    ours = GradCAM(layer="5", relu=False)(net.float(), X, CLASS).native
    torch.testing.assert_close(ours, cam.detach().float(), atol=1e-5, rtol=0)


def test_integrated_gradients_is_complete_on_networks() -> None:
    for family in ("cnn", "vit"):
        build, shape = networks.FAMILIES[family]
        result = IntegratedGradients(steps=300)(build(), networks.batch(shape, n=2), CLASS)
        assert max(i["reliability"]["completeness_error"] for i in result.provenance["inputs"]) <= 0.01
        total = result.values.flatten(1).sum(1)
        with torch.no_grad():
            net = build()
            rise = net(networks.batch(shape, n=2))[:, CLASS] - net(torch.zeros(1, *shape))[:, CLASS]
        torch.testing.assert_close(total, rise, atol=0.01 * float(rise.abs().max()), rtol=0)
