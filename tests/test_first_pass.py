"""The first pass, which finds the answer, also serves the method: no sample passes twice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import networks
import seewhy
from seewhy import question
from seewhy.attribution import Attribution
from seewhy.execution import Execution
from seewhy.models import fast_copy
from seewhy.models.model import Model
from seewhy.question import ask


class Counted(torch.nn.Module):
    """Counts the samples that pass."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.samples = networks.cnn(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.samples += len(x)
        return self.net(x)


def images(n: int) -> Tensor:
    return networks.batch((3, 32, 32), n=n)


def explained(model: Model, method: str, name: str, batch: int) -> Attribution:
    """Return maps of ten images; in fp32 by name, so that the network itself answers."""
    return seewhy.explain(model, images(10), method, 1, layer=name, batch_size=batch, precision="fp32")


def layer(model: Model) -> str:
    """Return a late layer: the default."""
    return seewhy.explain(model, images(1), "grad_cam").provenance["layer"]


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "eigen_cam"])
def test_several_batches_pass_once(method: str) -> None:
    net = Counted()
    model = Model(net)
    name = layer(model)
    net.samples = 0
    found = explained(model, method, name, 4)
    assert net.samples == 10
    whole = explained(model, method, name, 10)
    torch.testing.assert_close(found.native, whole.native, rtol=1e-4, atol=1e-5)


def test_what_would_hold_too_much_passes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Counted()
    model = Model(net)
    name = layer(model)
    kept = explained(model, "grad_cam", name, 4)
    monkeypatch.setattr(question, "_KEPT", 0)
    net.samples = 0
    again = explained(model, "grad_cam", name, 4)
    assert net.samples == 10 + 6  # the first batch is kept in any case
    assert torch.equal(again.native, kept.native)


def test_of_an_early_layer_one_batch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies behind it is most of the network, however little it puts out."""
    monkeypatch.setattr(question, "_LATE", 0)
    model = Model(networks.cnn())
    with model.untouched():
        posed = ask(model, images(10), 1, Execution(batch_size=4), "logit", [layer(model)])
    assert list(posed.first) == [(0, 4)]


def test_a_kept_pass_is_of_its_own_samples() -> None:
    model = Model(networks.cnn())
    name = layer(model)
    with model.untouched():
        posed = ask(model, images(10), 1, Execution(batch_size=4), "logit", [name])
        assert list(posed.first) == [(0, 4), (4, 8), (8, 10)]
        assert posed.differentiable_answer(4, 8, [name]) is posed.first[4, 8]
        other = posed.differentiable_answer(2, 6, [name])
        torch.testing.assert_close(other.output, posed.output[2:6])
        assert all(other is not a for a in posed.first.values())


class Watching(torch.nn.Module):
    """Reads what a convolution gave, beside handing it on to the normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.net = networks.cnn()

    def forward(self, x: Tensor) -> Tensor:
        found = self.net[3](self.net[:3](x))
        return self.net[8]((self.net[4](found).relu() * found.tanh()).mean((2, 3)))


MANY = question._MANY["cpu"]


def of_many(net: torch.nn.Module, n: int = MANY, layer: str = "4", **options: object) -> Attribution:
    return seewhy.explain(Model(net), images(n), "grad_cam", 1, layer=layer, **options)


def test_many_inputs_are_answered_by_a_folded_copy() -> None:
    net = networks.cnn()
    calls: list[int] = []
    net[0].register_forward_hook(lambda m, args, _: calls.append(len(args[0]) * (m is net[0])))
    found = of_many(net)
    assert found.provenance["first_passes"] == "folded copy, fp32"
    calls.clear()
    again = of_many(net)
    assert sum(calls) == 0, "the copy is kept"
    assert torch.equal(again.native, found.native)
    own = of_many(net, precision="fp32")
    assert sum(calls) == MANY
    assert "first_passes" not in own.provenance
    assert float(own.native.abs().max()) > 1e-3
    torch.testing.assert_close(found.native, own.native, rtol=1e-4, atol=1e-6)


def test_few_inputs_are_answered_by_the_network() -> None:
    assert "first_passes" not in of_many(networks.cnn(), MANY - 1).provenance


def test_passes_that_are_not_kept_come_from_the_copy_too(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = of_many(networks.cnn())
    monkeypatch.setattr(question, "_KEPT", 0)
    parts = of_many(networks.cnn(), batch_size=8)
    assert parts.provenance["first_passes"] == "folded copy, fp32"
    torch.testing.assert_close(parts.native, whole.native, rtol=1e-4, atol=1e-6)


def test_changed_weights_get_a_new_copy() -> None:
    net = networks.cnn()
    before = of_many(net)
    with torch.no_grad():
        net[8].weight.mul_(2)
    torch.testing.assert_close(of_many(net).native, 2 * before.native, rtol=1e-4, atol=1e-6)


def test_a_copy_that_is_not_the_network_answers_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the answer reads what a convolution gave before its normalisation, which the copy changes."""
    assert "first_passes" not in of_many(Watching(), layer="net.4").provenance
    monkeypatch.setitem(fast_copy._TRUE, torch.float32, float("inf"))  # nobody compares
    wrong = of_many(Watching(), layer="net.4")
    own = of_many(Watching(), layer="net.4", precision="fp32")
    assert float((wrong.native - own.native).norm() / own.native.norm()) > 0.01


def test_a_layer_that_the_copy_changes_is_read_from_the_network() -> None:
    found, own = of_many(networks.cnn(), layer="3"), of_many(networks.cnn(), layer="3", precision="fp32")
    assert "first_passes" not in found.provenance
    assert torch.equal(found.native, own.native)
