"""Excitation backprop: chances drawn by loops over written-out matrices, zennit, and axioms."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

import networks
import seewhy
from seewhy import targets
from seewhy.errors import DoesNotFit
from seewhy.execution import Execution
from seewhy.methods import ExcitationBackprop
from seewhy.methods.relevance import excitation_backprop as module
from seewhy.methods.relevance.composites import Composite
from seewhy.methods.relevance.propagation import follow
from seewhy.methods.relevance.rules import Epsilon, Excitation, OwnSign
from seewhy.models.model import Model
from seewhy.question import ask

CLASS = 2
X = networks.batch((3, 8, 8), n=2)


def plain(bias: bool = True, pool: bool = False) -> nn.Sequential:
    """ReLUs, two convolutions behind the first, an average, a classifier."""
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=bias), nn.ReLU(),
        nn.Conv2d(4, 5, 3, stride=1 if pool else 2, padding=1, bias=bias), nn.ReLU(),
        nn.MaxPool2d(2) if pool else nn.Identity(),
        nn.Conv2d(5, 6, 3, padding=1, bias=bias), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5, bias=bias),
    ).eval()  # fmt: skip


# -- by loops


def matrix(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """`(inputs, outputs)`: what each input alone puts out, without the bias."""
    basis = torch.eye(int(torch.tensor(shape).prod()), dtype=torch.float64).reshape(-1, *shape)
    with torch.no_grad():
        return (layer(basis) - layer(0 * basis)).flatten(1)


def won(x: Tensor, w: Tensor, chances: Tensor) -> Tensor:
    """Chances of the inputs x >= 0 of a matrix, from those of its outputs, one product at a time."""
    out = torch.zeros_like(x)
    for j in chances.nonzero().flatten().tolist():
        excited = [float(x[i] * w[i, j]) if w[i, j] > 0 else 0.0 for i in range(len(x))]
        total = sum(excited)
        if total > 0:
            out += torch.tensor(excited, dtype=torch.float64) / total * chances[j]
    return out


def by_loops(net: nn.Sequential, x: Tensor, down_to: int, contrastive: bool) -> Tensor:
    """The map of one sample at the output of module `down_to`."""
    read, t = [], x[None].double()
    with torch.no_grad():
        for layer in net:
            read.append(t[0])
            t = layer(t)
    games = []
    for sign in (1, -1) if contrastive else (1,):
        chances = torch.zeros(5, dtype=torch.float64)
        chances[CLASS] = 1
        for i in range(len(net) - 1, down_to, -1):
            layer, given = net[i], read[i]
            if isinstance(layer, nn.ReLU | nn.Flatten | nn.Identity):
                chances = chances.reshape(given.shape)
                continue
            w = matrix(layer, tuple(given.shape)) * (sign if i == len(net) - 1 else 1)
            chances = won(given.flatten(), w, chances.flatten()).reshape(given.shape)
        games.append(chances)
    whole = games[0] - games[1] if contrastive else games[0]
    return whole.sum(0)


@pytest.mark.parametrize("contrastive", [False, True])
@pytest.mark.parametrize(("layer", "at"), [("1", 1), ("3", 3)])
def test_chances_are_those_drawn_by_loops(layer: str, at: int, contrastive: bool) -> None:
    net = plain()
    ours = ExcitationBackprop(layer=layer, contrastive=contrastive)(net, X, CLASS)
    assert ours.signed is contrastive
    wanted = torch.stack([by_loops(net.double(), x, at, contrastive) for x in X])
    torch.testing.assert_close(ours.native.double(), wanted, rtol=1e-4, atol=1e-7)


def test_zennits_composite_gives_the_same() -> None:
    """Its rule counts positive biases; here they are left out of its denominators, as the paper does."""
    composites = pytest.importorskip("zennit.composites")
    net = plain(pool=True)
    for p in net.parameters():
        p.requires_grad_(False)
    kept: list[Tensor] = []
    handle = net[1].register_forward_hook(lambda _m, _a, out: kept.append(out))
    with composites.ExcitationBackprop(zero_params=["bias"]).context(net) as changed:
        out = changed(X.clone().requires_grad_())
        (reference,) = torch.autograd.grad(
            out, kept[-1], nn.functional.one_hot(torch.full((2,), CLASS), 5) * 1.0
        )
    handle.remove()
    ours = ExcitationBackprop(layer="1")(net, X, CLASS).native
    wanted = reference.sum(1)
    assert float((ours - wanted).abs().max()) <= 1e-3 * float(wanted.abs().max())


def test_a_bottleneck_by_hand() -> None:
    """Outputs below 0 are won by what made them so, and excite through negative weights."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 2, 1, bias=False), nn.Flatten(), nn.Linear(8, 2)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [2.0]])[..., None, None])
        net[1].weight.copy_(torch.tensor([[1.0, -1.0], [3.0, 1.0]])[..., None, None])
        net[3].weight.copy_(torch.tensor([[-1.0] * 4 + [1.0] * 4, [0.0] * 8]))
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    # Per pixel p: a = (p, 2 p); b = (a1 - a2, 3 a1 + a2) = (-p, 5 p); the logit is sum(-b1 + b2) = sum(6 p).
    # b1 < 0 wins p / 60 and hands it to a2 alone; b2 wins 5 p / 60 and hands it to a1 : a2 as 3 : 2.
    found = ExcitationBackprop(layer="0")(net.eval(), x, 0)
    torch.testing.assert_close(found.native, x[:, 0] * 6 / 60)
    trace, _ = traced(net, x, ("0",))
    (chances,) = trace.reach([trace.layers["0"]])
    torch.testing.assert_close(chances[0, 0], x[0, 0] * 3 / 60)
    torch.testing.assert_close(chances[0, 1], x[0, 0] * (1 + 2) / 60)


# -- axioms


class Residual(nn.Module):
    """No biases, a batch norm that only scales, a residual sum with negative summands, an average."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(i, 6, 3, padding=1, bias=False) for i in (3, 6, 6))
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6, 5, bias=False)
        nn.init.uniform_(self.norm.weight, -1.5, 1.5)
        self.act = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).relu()
        x = self.act((x + self.norm(self.conv2(x))).relu())
        return self.head(self.conv3(x).relu().mean((2, 3)))


def traced(net: nn.Module, x: Tensor, layers: tuple[str, ...], rules: Composite = module.RULES):
    model = Model(net)
    with model.untouched():
        question = ask(model, x, 0 if len(x) == 1 else CLASS, Execution(), "logit")
        trace = follow(question, 0, len(x), rules, "taylor", layers)
        started = trace.from_slopes(question.target, question.rows)
    for last in module.last_layers(started.scores):
        last.rule = Excitation()
    return started, question


def residual(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return Residual().eval()


def chances_sum_to_one(seed: int, rules: Composite = module.RULES) -> None:
    """What is handed down are chances: at least 0, and 1 in all, at every layer that all passes through."""
    net, x = residual(seed).double(), networks.batch((3, 8, 8), seed=seed).double()
    trace, _ = traced(net, x, ("conv1", "act", "conv3", "head"), rules)
    for name, chances in zip(trace.layers, trace.reach(list(trace.layers.values())), strict=True):
        torch.testing.assert_close(chances.flatten(1).sum(1), torch.ones(2).double(), rtol=1e-5, atol=1e-7,
                                   msg=lambda m, name=name: f"{name}: {m}")  # fmt: skip
        assert float(chances.min()) >= -1e-9, name


@pytest.mark.parametrize("seed", range(4))
def test_chances_sum_to_one_layer_by_layer(seed: int) -> None:
    chances_sum_to_one(seed)


@pytest.mark.parametrize(
    "bug",
    [
        Composite(None, OwnSign(), OwnSign()),  # summands below 0 take part
        Composite(None, Epsilon(), OwnSign(), sums="own_sign"),  # negative contributions count
        Composite(None, Epsilon(0.5), OwnSign(), sums="own_sign"),  # a stabiliser that eats
    ],
)
def test_planted_bugs_break_the_sum(bug: Composite) -> None:
    with pytest.raises(AssertionError):
        chances_sum_to_one(1, bug)


def test_a_contrast_is_the_difference_of_its_classes() -> None:
    net, method = residual(2), ExcitationBackprop(layer="conv1", contrastive=True)
    a, b = (method(net, X, c).native for c in (1, 3))
    both = method(net, X, targets.Class(1) - targets.Class(3)).native
    torch.testing.assert_close(both, a - b, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(a.flatten(1).sum(1), torch.zeros(2), rtol=0, atol=1e-5)


def test_where_it_is_read_by_default() -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    net = resnet18(weights=None, num_classes=5).eval()
    result = ExcitationBackprop()(net, networks.batch((3, 64, 64), n=1), CLASS)
    assert result.provenance["layer"] == "layer3"
    assert result.provenance["cells"] == [4, 4]
    torch.testing.assert_close(result.native.sum(), torch.tensor(1.0), rtol=1e-3, atol=0)
    assert result.provenance["inputs"][0]["reliability"]["kept"] == pytest.approx(1, rel=1e-3)
    pad = nn.ZeroPad2d(1)  # its cells are more, and not its own
    padded = plain()
    padded[2] = nn.Sequential(pad, nn.Conv2d(4, 5, 3, stride=2))
    assert ExcitationBackprop()(padded.eval(), X, CLASS).provenance["layer"] == "1"
    one = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    assert ExcitationBackprop()(one.eval(), X, CLASS).provenance["layer"] == "1"


def test_refusals() -> None:
    with pytest.raises(DoesNotFit, match=r"% of the chances at .* would be negative"):
        ExcitationBackprop()(networks.vit(), networks.batch((3, 16, 16)), 1)
    with pytest.raises(DoesNotFit, match="parts that count against it"):
        seewhy.explain(plain(), X, "excitation_backprop", target=targets.Class(1) - targets.Class(3))
    with pytest.raises(DoesNotFit, match="does not depend"):
        ExcitationBackprop()(nn.Sequential(plain(), nn.Sigmoid()).eval(), X, CLASS)


def test_a_network_of_signed_averages_would_go_unnoticed_without_the_check() -> None:
    """The planted bug: the tolerance is 1."""
    check: Callable[[], object] = lambda: ExcitationBackprop()(networks.vit(), networks.batch((3, 16, 16)), 1)  # noqa: E731
    with mock.patch.object(module, "NEGATIVE", 1.0):
        assert float(check().values.min()) < 0  # type: ignore[attr-defined]
