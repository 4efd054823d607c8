"""LRP: every rule against the written-out matrix, whole networks against merged ones, and against zennit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput, DoesNotFit
from seewhy.execution import Execution
from seewhy.methods import LRP
from seewhy.methods.relevance.propagation import Trace, follow
from seewhy.methods.relevance.rules import (
    TINY,
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    Rule,
    Weighted,
    WSquare,
    ZBox,
    ZPlus,
    redistribute,
)
from seewhy.models.model import Model
from seewhy.question import Question, ask

CLASS = 2

# -- rules: contributions in a matrix, relevance by loops


def shares(c: Tensor, bias: Tensor, r: Tensor, eps: float) -> Tensor:
    """Relevance of inputs from contributions `(inputs, outputs)`, the bias' part and outputs' relevance."""
    out = torch.zeros(len(c), dtype=torch.float64)
    for j in range(c.shape[1]):
        n = float(c[:, j].sum() + bias[j])
        n += eps if n >= 0 else -eps
        for i in range(len(c)):
            out[i] += c[i, j] / n * r[j]
    return out


def pos(t: Tensor) -> Tensor:
    return torch.maximum(t, torch.zeros_like(t))


def neg(t: Tensor) -> Tensor:
    return torch.minimum(t, torch.zeros_like(t))


def by_epsilon(x: Tensor, w: Tensor, b: Tensor, reached: Tensor, r: Tensor) -> Tensor:
    return shares(x[:, None] * w, b, r, 0.1)


def by_z_plus(x: Tensor, w: Tensor, b: Tensor, reached: Tensor, r: Tensor) -> Tensor:
    return shares(pos(x[:, None] * w), pos(b), r, TINY)


def by_alpha_beta(x: Tensor, w: Tensor, b: Tensor, reached: Tensor, r: Tensor) -> Tensor:
    c = x[:, None] * w
    return 3 * shares(pos(c), pos(b), r, TINY) - 2 * shares(neg(c), neg(b), r, TINY)


def by_gamma(x: Tensor, w: Tensor, b: Tensor, reached: Tensor, r: Tensor) -> Tensor:
    c = x[:, None] * w
    z = c.sum(0) + b
    up = shares(c + 0.5 * pos(c), b + 0.5 * pos(b), torch.where(z > 0, r, 0), TINY)
    down = shares(c + 0.5 * neg(c), b + 0.5 * neg(b), torch.where(z < 0, r, 0), TINY)
    return up + down


def by_flat(x: Tensor, w: Tensor, b: Tensor, reached: Tensor, r: Tensor) -> Tensor:
    return shares(reached, 0 * b, r, TINY)


def by_w_square(x: Tensor, w: Tensor, b: Tensor, reached: Tensor, r: Tensor) -> Tensor:
    return shares(w * w, 0 * b, r, TINY)


def by_z_box(x: Tensor, w: Tensor, b: Tensor, reached: Tensor, r: Tensor) -> Tensor:
    return shares(x[:, None] * w + 4 * pos(w) - 5 * neg(w), 0 * b, r, TINY)


BOX = torch.full((1, 1), -4.0), torch.full((1, 1), 5.0)
RULES: dict[str, tuple[Rule, Callable[..., Tensor]]] = {
    "epsilon": (Epsilon(0.1), by_epsilon),
    "z_plus": (ZPlus(), by_z_plus),
    "alpha_beta": (AlphaBeta(3.0), by_alpha_beta),
    "gamma": (Gamma(0.5), by_gamma),
    "flat": (Flat(), by_flat),
    "w_square": (WSquare(), by_w_square),
    "z_box": (ZBox(*BOX), by_z_box),
}
LAYERS: dict[str, tuple[Callable[..., nn.Module], tuple[int, ...]]] = {
    "linear": (lambda bias: nn.Linear(7, 4, bias=bias), (7,)),
    "conv1d": (lambda bias: nn.Conv1d(2, 3, 3, stride=2, padding=1, bias=bias), (2, 7)),
    "conv2d": (lambda bias: nn.Conv2d(2, 4, 3, padding="same", groups=2, bias=bias), (2, 4, 5)),
    "dilated": (lambda bias: nn.Conv2d(2, 3, 2, dilation=2, padding=1, bias=bias), (2, 4, 4)),
    "conv3d": (lambda bias: nn.Conv3d(2, 2, 2, bias=bias), (2, 3, 3, 2)),
    "transposed": (
        lambda bias: nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1, bias=bias),
        (2, 2, 3),
    ),
}


def matrix(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """`(inputs, outputs)`: what each input alone puts out, without the bias."""
    count = int(torch.tensor(shape).prod())
    basis = torch.eye(count, dtype=torch.float64).reshape(count, *shape)
    with torch.no_grad():
        return (layer(basis) - layer(0 * basis)).flatten(1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("sign", ["signed", "positive"])
def test_rules_are_their_formulas(name: str, kind: str, bias: bool, sign: str) -> None:
    torch.manual_seed(3)
    build, shape = LAYERS[kind]
    layer = build(bias).double()
    rule, formula = RULES[name]
    x = torch.randn(2, *shape, dtype=torch.float64)
    x = x.abs() if sign == "positive" else x
    if isinstance(rule, ZBox):
        rule = ZBox(*(t.double().reshape(1, *[1] * len(shape)) for t in BOX))
    with torch.no_grad():
        z = layer(x)
        b = layer(0 * x[:1]).flatten()
        w = matrix(layer, shape)
        kept = [p.clone() for p in layer.parameters()]
        layer.weight.fill_(1.0)
        reached = matrix(layer, shape)
        layer.weight.copy_(kept[0])
    relevance = torch.randn_like(z)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        changed = {"weight": weight}
        if layer.bias is not None:
            changed["bias"] = torch.zeros_like(layer.bias) if bias is None else bias
        return torch.func.functional_call(layer, changed, (x,))

    described = Weighted(run, layer.weight.detach(), None if layer.bias is None else layer.bias.detach(), 0)
    found = sum(a * q for a, q in redistribute(rule, described, x, relevance))
    for i in range(2):
        expected = formula(x[i].flatten(), w, b, reached, relevance[i].flatten())
        torch.testing.assert_close(found[i].flatten(), expected, rtol=1e-7, atol=1e-9)


def test_alpha_one_is_z_plus_and_gamma_zero_is_epsilon_zero() -> None:
    net, x = networks.cnn(), networks.batch((3, 16, 16))
    one = LRP(composite="epsilon_alpha2_beta1", alpha=1.0)(net, x, CLASS).values
    torch.testing.assert_close(one, LRP(composite="epsilon_plus")(net, x, CLASS).values)
    none = LRP(composite="gamma", gamma=0.0)(net.double(), x.double(), CLASS).values
    zero = LRP(composite="epsilon", epsilon=0.0)(net.double(), x.double(), CLASS).values
    torch.testing.assert_close(none, zero, rtol=1e-4, atol=1e-7)


# -- networks


def residual(bias: bool = False) -> nn.Module:
    """Convolutions with batch norm, functional and in-place operations, two residual sums, a gate."""
    torch.manual_seed(5)
    net = Residual(bias)
    networks.settle(net, torch.randn(16, 3, 12, 12))
    if not bias:
        for m in net.modules():
            if isinstance(m, nn.BatchNorm2d):  # no shift is left: conservation is exact
                m.running_mean.zero_()
                nn.init.uniform_(m.weight, -1.5, 1.5)
    return net.eval()


class Residual(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1, bias=bias), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1, groups=2, bias=bias), nn.BatchNorm2d(6)
        self.conv3, self.bn3 = nn.Conv2d(6, 8, 1, stride=2, bias=bias), nn.BatchNorm2d(8)
        self.gate = nn.Conv2d(8, 8, 1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 5, bias=bias)
        for bn in (self.bn1, self.bn2, self.bn3) if bias else ():
            nn.init.normal_(bn.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn1(self.conv1(x)))
        x = nn.functional.max_pool2d(x, 2)
        y = nn.functional.silu(self.bn2(self.conv2(x)))
        y += x
        z = nn.functional.relu6(self.bn3(self.conv3(y)))
        z = z * torch.sigmoid(self.gate(z.mean((2, 3), keepdim=True)))
        return self.head(z.mean((2, 3)) + nn.functional.avg_pool2d(z, z.shape[-1]).flatten(1))


def merged(net: nn.Module) -> nn.Module:
    """The same network with batch norm merged into its convolutions, as other packages do it, in place."""
    for i in (1, 2, 3):
        conv, bn = getattr(net, f"conv{i}"), getattr(net, f"bn{i}")
        fused = torch.nn.utils.fusion.fuse_conv_bn_eval(conv, bn)
        setattr(net, f"conv{i}", fused)
        setattr(net, f"bn{i}", nn.Identity())
    return net


def traced(method: LRP, net: nn.Module, x: Tensor, layers: tuple[str, ...] = ()) -> tuple[Question, Trace]:
    model = Model(net)
    with model.untouched():
        question = ask(model, x, CLASS, Execution(), "logit")
        trace = follow(question, 0, len(x), method.rules(model, x), method.softmax, layers)
    return question, trace


COMPOSITES = [
    "epsilon",
    "gamma",
    "epsilon_plus",
    "epsilon_plus_flat",
    "epsilon_gamma_box",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
]


@pytest.mark.parametrize("composite", COMPOSITES)
def test_batch_norm_counts_as_merged(composite: str) -> None:
    x = networks.batch((3, 12, 12)).double()
    ours = LRP(composite=composite)(residual(bias=True).double(), x, CLASS).values
    merged_by_hand = LRP(composite=composite)(merged(residual(bias=True).double()), x, CLASS).values
    torch.testing.assert_close(ours, merged_by_hand, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_a_tap_between_convolution_and_norm_changes_nothing(composite: str) -> None:
    net, x = residual(bias=True), networks.batch((3, 12, 12))
    plain = traced(LRP(composite=composite), net, x)[1].relevance().pixels
    tapped = traced(LRP(composite=composite), net, x, ("conv1", "bn1", "conv3"))[1].relevance()
    torch.testing.assert_close(tapped.pixels, plain, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(tapped.layers["conv1"], tapped.layers["bn1"], rtol=1e-4, atol=1e-7)


def test_epsilon_without_stabiliser_is_gradient_times_input_for_relu_networks() -> None:
    net, x = networks.cnn().double(), networks.batch((3, 16, 16)).double()
    lrp = LRP(composite="epsilon", epsilon=0.0)(net, x, CLASS).values
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(net(leaf)[:, CLASS].sum(), leaf)
    torch.testing.assert_close(lrp, (leaf * g).sum(1).detach().float(), rtol=1e-4, atol=1e-7)


def test_conditional_relevance_by_hand() -> None:
    # Two layers side by side, [[1, 2], [0, 1]] and [[2, 3], [0, 0]], behind each a ReLU, then [1, 4, 5, 0].
    net = Parallel()
    x = torch.tensor([[-1.0, 1.0]])[..., None, None]
    _, trace = traced(LRP(composite="epsilon_plus", epsilon=1e-9), net, x, ("l1", "l2"))
    whole = trace.relevance()
    torch.testing.assert_close(whole.pixels.flatten(), torch.tensor([-11.0, 21.0]))
    torch.testing.assert_close(whole.layers["l1"], torch.tensor([[1.0, 4.0]]))
    torch.testing.assert_close(whole.layers["l2"], torch.tensor([[5.0, 0.0]]))
    first, none = torch.tensor([1.0, 0.0]), torch.zeros(2)
    torch.testing.assert_close(
        trace.relevance({"l1": first, "l2": none}).pixels.flatten(), torch.tensor([-1.0, 2.0])
    )
    both = trace.relevance({"l1": first, "l2": first})
    torch.testing.assert_close(both.pixels.flatten(), torch.tensor([-11.0, 17.0]))
    torch.testing.assert_close(trace.relevance().pixels, whole.pixels)  # masks leave nothing behind


class Parallel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l1, self.l2 = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.l3 = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            self.l1.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
            self.l2.weight.copy_(torch.tensor([[2.0, 3.0], [0.0, 0.0]]))
            self.l3.weight.copy_(torch.tensor([[1.0, 4.0, 5.0, 0.0]]).expand(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.l3(torch.cat([self.l1(x), self.l2(x)], 1).relu())


# -- attention


@pytest.mark.parametrize("softmax", ["taylor", "constant"])
def test_vision_transformer_is_the_written_out_backward_pass(softmax: str) -> None:
    """The rules as detached and halved parts of a transformer written again, float64, plain autograd."""
    net, x = networks.vit().double(), networks.batch((3, 16, 16)).double()
    leaf = x.clone().requires_grad_()

    def half(t: Tensor) -> Tensor:
        return 0.5 * t + 0.5 * t.detach()

    def norm(layer: nn.LayerNorm, t: Tensor) -> Tensor:
        deviation = (t.var(-1, correction=0, keepdim=True) + layer.eps).sqrt().detach()
        return (t - t.mean(-1, keepdim=True)) / deviation * layer.weight + layer.bias

    t = net.patch(leaf).flatten(2).transpose(1, 2)
    t = torch.cat([net.cls.expand(len(t), -1, -1), t], 1) + net.positions
    for block in net.blocks:
        n, tokens, width = t.shape
        q, k, v = block.qkv(norm(block.norm1, t)).reshape(n, tokens, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        a = (half(q) @ half(k).transpose(-2, -1) / (width // 2) ** 0.5).softmax(-1)
        mixed = half(a) @ half(v) if softmax == "taylor" else a.detach() @ v
        t = t + block.proj(mixed.transpose(1, 2).reshape(n, tokens, width))
        h = block.mlp[0](norm(block.norm2, t))
        t = t + block.mlp[2](h * (nn.functional.gelu(h) / h).detach())
    score = net.head(norm(net.norm, t)[:, 0])[:, CLASS].sum()
    (g,) = torch.autograd.grad(score, leaf)
    expected = (leaf * g).sum(1).detach().float()
    ours = LRP(composite="epsilon", epsilon=0.0, softmax=softmax)(net, x, CLASS).values
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-8)


def test_multi_head_attention_modules_are_followed() -> None:
    from torchvision.models import VisionTransformer

    torch.manual_seed(1)
    net = VisionTransformer(16, 4, 2, 2, 16, 32, num_classes=5).eval()
    nn.init.normal_(net.heads.head.weight)
    x = networks.batch((3, 16, 16))
    for method in (LRP(composite="epsilon"), LRP(composite="gamma"), LRP()):
        values = method(net, x, CLASS).values
        assert float(values.abs().max()) > 0
    for linear_by_value in (LRP(composite="epsilon", softmax="constant"),):
        assert not torch.equal(linear_by_value(net, x, CLASS).values, values)


# -- peers


@pytest.mark.parametrize(
    "composite", ["EpsilonPlus", "EpsilonPlusFlat", "EpsilonGammaBox", "EpsilonAlpha2Beta1Flat"]
)
def test_composites_are_zennits(composite: str) -> None:
    """On a network without sums (that peer copies relevance there), merged by hand (it leaves eps in)."""
    composites = pytest.importorskip("zennit.composites")
    torch.manual_seed(8)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, 5),
    ).eval()  # fmt: skip
    for p in net.parameters():
        p.requires_grad_(False)
    x = networks.batch((3, 10, 10), n=3)
    low, high = x.flatten(1).amin(1)[:, None, None, None], x.flatten(1).amax(1)[:, None, None, None]
    options = {"low": low.expand_as(x), "high": high.expand_as(x)} if "Box" in composite else {}
    leaf = x.clone().requires_grad_()
    with getattr(composites, composite)(**options).context(net) as changed:
        out = changed(leaf)
        seed = torch.zeros_like(out)
        seed[:, CLASS] = out.detach()[:, CLASS]
        (reference,) = torch.autograd.grad(out, leaf, seed)
    name = {
        "EpsilonPlus": "epsilon_plus",
        "EpsilonPlusFlat": "epsilon_plus_flat",
        "EpsilonGammaBox": "epsilon_gamma_box",
        "EpsilonAlpha2Beta1Flat": "epsilon_alpha2_beta1_flat",
    }[composite]
    ours = LRP(composite=name)(net, x, CLASS).values
    expected = reference.sum(1)
    assert float((ours - expected).abs().max()) <= 1e-3 * float(expected.abs().max())


@pytest.mark.filterwarnings("ignore:Input Tensor")
def test_epsilon_is_captums() -> None:
    """Its other rules are no reference."""
    from captum.attr import LRP as _CaptumLRP  # noqa: N811
    from captum.attr._utils.lrp_rules import EpsilonRule

    net = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()  # fmt: skip
    x = networks.batch((3, 10, 10), n=3)
    for layer in net:
        layer.rule = EpsilonRule(1e-6)
    reference = _CaptumLRP(net).attribute(x, target=CLASS).sum(1).detach()
    ours = LRP(composite="epsilon")(net, x, CLASS).values
    assert float((ours - reference).abs().max()) <= 1e-3 * float(reference.abs().max())


# -- refusals


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


def test_an_uncovered_operation_is_refused_by_name_and_layer() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(Odd()), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    with pytest.raises(DoesNotFit, match=r"'exp' in the layer '1\.0' \(Odd\)"):
        LRP()(net, networks.batch((3, 8, 8)), CLASS)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_scripted_networks_are_refused() -> None:
    net = torch.jit.trace(networks.cnn(), networks.batch((3, 16, 16)))
    with pytest.raises(DoesNotFit, match="compiled or scripted"):
        LRP()(net, networks.batch((3, 16, 16)), CLASS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epsilon": -1.0},
        {"gamma": -1.0},
        {"alpha": 0.5},
        {"linear": "flat"},
        {"convolution": "z_box"},
    ],
)
def test_parameters_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(BadInput):
        LRP(**wrong)
