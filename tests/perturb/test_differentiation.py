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
    """A backward hook on a normalisation changes the gradient, and folding would lose it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = networks.normalised()
        self.net.bn1.register_full_backward_hook(lambda _m, into, _out: (into[0] * 1.1,))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


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
