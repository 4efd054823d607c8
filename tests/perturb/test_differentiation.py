"""Gradients from a folded copy: the same function, taken where it pays, and only when it is true."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import networks
import seewhy
from seewhy.execution import Execution
from seewhy.methods.gradient.integrated_gradients import IntegratedGradients
from seewhy.models.model import Model
from seewhy.models.onednn import able
from seewhy.models.replica import replicate
from seewhy.perturb import differentiation
from seewhy.perturb.differentiation import differentiated
from seewhy.question import Question, ask
from seewhy.targets import Neuron
from seewhy.types import Batch, Rows

SHAPE = (3, 16, 16)
MANY = 10


def pose(net: nn.Module, target: object = 1, n: int = 2, **options: Any) -> Question:
    return ask(Model(net), networks.batch(SHAPE, n=n), target, Execution(**options), "logit")


def chosen(question: Question, count: int = MANY) -> Question:
    def points(rows: Rows, which: Tensor) -> Batch:
        return question.x[rows] * ((which + 1) / count).reshape(-1, 1, 1, 1)

    return differentiated(question, count, points)


def slope(net: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(net(x)[:, 1].sum(), x)[0]


class Looked(nn.Module):
    """Looks at what a convolution gave before it is normalised, which folding changes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = networks.normalised()

    def forward(self, x: Tensor) -> Tensor:
        first: list[Tensor] = []
        with self.net.conv1.register_forward_hook(lambda _m, _args, y: first.append(y)):
            y: Tensor = self.net(x)
        return y + first[0].square().mean((1, 2, 3))[:, None]


def test_the_folded_copy_is_the_same_function() -> None:
    net, x = networks.normalised().double(), networks.batch(SHAPE, n=3).double()
    folded = replicate(net, x, torch.float64, fold=True)
    assert folded.folded == 2
    torch.testing.assert_close(slope(folded.module, x), slope(net, x), rtol=1e-10, atol=1e-12)
    other = copy.deepcopy(net)
    other.bn1.running_var.mul_(1.001)
    assert float((slope(other, x) - slope(net, x)).norm() / slope(net, x).norm()) > 1e-5, "it could be seen"


@pytest.mark.parametrize(
    "method",
    ["integrated_gradients", "smooth_grad", "var_grad", "blur_ig", "expected_gradients"],
)
def test_maps_from_the_copy_are_those_of_the_network(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = networks.normalised(), networks.batch(SHAPE, n=2)
    many = {"samples" if "grad" in method and "integrated" not in method else "steps": MANY}
    quick = seewhy.explain(net, x, method=method, target=1, **many)
    assert quick.provenance["gradients"]["folded"] == 2
    monkeypatch.setattr(differentiation, "_WORTH", 1000)
    own = seewhy.explain(net, x, method=method, target=1, **many)
    assert "gradients" not in own.provenance
    assert own.provenance["passes"] == quick.provenance["passes"], "trials are not counted"
    gap = float((quick.values - own.values).abs().max() / own.values.abs().max())
    assert gap < 1e-4
    for i, sample in enumerate(own.provenance["inputs"]):
        for name, value in sample["reliability"].items():
            other = quick.provenance["inputs"][i]["reliability"][name]
            assert other == pytest.approx(value, rel=1e-3, abs=1e-4)


class Residual(nn.Module):
    """A stem, two residual blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.stem = nn.Conv2d(3, 16, 3, padding=1)
            self.one, self.two = Block(), Block()
            self.head = nn.Linear(16, 5)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.two(self.one(self.stem(x))).mean((2, 3)))
        return y


class Block(nn.Module):
    """As those of ResNets."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(16), nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += x
        done: Tensor = self.relu(y)
        return done


@pytest.mark.skipif(not able(), reason="this torch has no such kernels")
def test_residual_blocks_take_gradients_back_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = Residual(), networks.batch(SHAPE, n=2)
    maps: dict[str, Tensor] = {}
    for halves in (True, False):
        monkeypatch.setattr(differentiation, "native_halves", lambda _, halves=halves: halves)
        found = seewhy.explain(Residual(), x, method="integrated_gradients", target=1, steps=MANY)
        facts = found.provenance["gradients"]
        assert facts.get("backward") == ("bf16" if halves else None)
        assert facts["fused"] == 4
        assert (1e-4 < facts["noise"] < 0.02) if halves else facts["noise"] < 1e-4
        maps[str(halves)] = found.native
    own = seewhy.explain(net, x, method="integrated_gradients", target=1, steps=MANY, precision="fp32").native
    assert float((maps["False"] - own).norm() / own.norm()) < 1e-4
    assert 1e-5 < float((maps["True"] - own).norm() / own.norm()) < 0.02


@pytest.mark.skipif(not able(), reason="this torch has no such kernels")
def test_what_is_worse_in_half_precision_stays_single(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differentiation, "native_halves", lambda _: True)
    monkeypatch.setattr(differentiation, "_TRUE", 1e-4)
    question = pose(Residual())
    assert chosen(question).model.module is not question.model.module
    assert "backward" not in question.notes["gradients"]
    assert question.notes["gradients"]["fused"] == 4


def test_a_copy_that_is_not_true_is_refused() -> None:
    question = pose(Looked())
    assert chosen(question).model.module is question.model.module
    assert not question.notes
    true = pose(networks.normalised())
    assert chosen(true).model.module is not true.model.module
    assert true.notes["gradients"]["noise"] < 1e-4


@pytest.mark.parametrize(
    "why", ["few points", "double precision", "nothing to fold", "a layer is read", "fp32"]
)
def test_where_there_is_no_copy(why: str) -> None:
    net, target, count = networks.normalised(), 1, MANY
    if why == "few points":
        count = differentiation._WORTH - 1
    elif why == "double precision":
        net = net.double()
    elif why == "nothing to fold":
        net = networks.vit()
    elif why == "a layer is read":
        target = Neuron("conv2", 1)
    question = pose(net, target, precision="fp32" if why == "fp32" else "auto")
    assert chosen(question, count) is question
    assert not question.notes


def test_a_trial_is_made_once_for_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = networks.normalised(), networks.batch(SHAPE, n=1)
    trials: list[int] = []
    tried = differentiation._tried
    monkeypatch.setattr(differentiation, "_tried", lambda q, n, p: trials.append(n) or tried(q, n, p))
    method = IntegratedGradients(steps=MANY)
    first = method(net, x, 1)
    assert torch.equal(method(net, x, 1).values, first.values)
    assert len(trials) == 1
    with torch.no_grad():
        net.conv1.weight.mul_(1.5)
    changed = method(net, x, 1)
    assert len(trials) == 2
    assert not torch.equal(changed.values, first.values), "not from the copy of the old weights"


def test_a_network_that_cannot_be_copied_is_asked_itself() -> None:
    net = networks.normalised()
    net.lock = (i for i in ())  # type: ignore[assignment]  # generators cannot be copied
    question = pose(net)
    assert chosen(question).model.module is net
    assert not question.notes
