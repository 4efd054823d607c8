"""The first pass, which finds the answer, also serves the method: no sample passes twice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import networks
import seewhy
from seewhy import question
from seewhy.execution import Execution
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


def layer(model: Model) -> str:
    """Return a late layer: the default."""
    return seewhy.explain(model, images(1), "grad_cam").provenance["layer"]


@pytest.mark.parametrize("method", ["grad_cam", "layer_cam", "eigen_cam"])
def test_several_batches_pass_once(method: str) -> None:
    net = Counted()
    model = Model(net)
    name = layer(model)
    net.samples = 0
    found = seewhy.explain(model, images(10), method, 1, layer=name, batch_size=4)
    assert net.samples == 10
    whole = seewhy.explain(model, images(10), method, 1, layer=name, batch_size=10)
    torch.testing.assert_close(found.native, whole.native, rtol=1e-4, atol=1e-5)


def test_what_would_hold_too_much_passes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Counted()
    model = Model(net)
    name = layer(model)
    kept = seewhy.explain(model, images(10), "grad_cam", 1, layer=name, batch_size=4)
    monkeypatch.setattr(question, "_KEPT", 0)
    net.samples = 0
    again = seewhy.explain(model, images(10), "grad_cam", 1, layer=name, batch_size=4)
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
