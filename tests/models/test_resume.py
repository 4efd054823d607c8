"""Resuming from a layer gives the full pass' answer and gradient, at the cost of what is behind the layer."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seewhy.errors import DoesNotFit, UnknownName
from seewhy.models import taps
from seewhy.models.model import Model
from seewhy.models.resume import resume_from

SHAPE = (3, 16, 16)


class Counting(nn.Conv2d):
    """A convolution that counts its calls."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class Stage(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = Counting(8, 8, 3, padding=1), Counting(8, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)  # used twice

    def forward(self, x: Tensor) -> Tensor:
        out = self.b(self.act(self.a(x)))
        out += x
        return self.act(out)


class Net(nn.Module):
    """Residual stages, plain code between modules, a shared convolution and a tuple on the way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = Counting(3, 8, 3, padding=1)
        self.one, self.two = Stage(), Stage()
        self.pack = Pack()
        self.shared = Counting(8, 8, 1)
        self.positions = Positions()
        self.head = nn.Linear(8, 4)
        self.unused = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Any:
        where = self.positions(x)  # made first, used last: it depends on no pixel
        x = self.shared(torch.tanh(self.stem(x)))
        x = self.one(x)
        x, _cells = self.pack(x)
        x = self.shared(x) * 2
        x = self.two(x)
        return {"logits": self.head((x + where).mean((2, 3))), "middle": x}


class Pack(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        return x * 1.5, (x.shape[2], x.shape[3])


class Positions(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linspace(0, 1, x.shape[3]).expand(len(x), 8, x.shape[2], -1)


class Routed(nn.Module):
    """Before `late` it picks a channel that depends on the input; after it, that channel is read."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.choose, self.late, self.head = (
            nn.Conv2d(3, 8, 1),
            Choose(),
            nn.Conv2d(8, 8, 1),
            nn.Linear(8, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        chosen = self.choose(x)
        x = self.late(x).mean((2, 3))
        return self.head(x) + x.gather(1, chosen[:, None])


class Choose(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)).argmax(1)


def x(n: int = 2) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(3))


def full(model: Model, layer: str, inputs: Tensor, edit: Any) -> Tensor:
    """The reference: run the whole network and replace the layer's output on the way."""
    with taps.replace(model.module, {layer: edit}):
        return model.answer(inputs).output


# "two.act" and "shared" are called twice: from their last call.
GOOD = ["one", "pack", "shared", "two", "two.act", "one.act", "head"]


@pytest.mark.parametrize("layer", GOOD)
def test_resumed_equals_the_full_pass_with_its_gradient_for_any_batch(layer: str) -> None:
    model = Model(Net())
    with model.untouched():
        resumed = resume_from(model, layer, x())
        assert torch.equal(resumed.answer.output, model.answer(x()).output)
        assert torch.equal(resumed.activation, model.answer(x(), [layer]).activations[layer])
        a = (resumed.activation.repeat_interleave(3, 0) * 1.3 + 0.1).requires_grad_()
        answer = resumed(a)
        assert answer.activations[layer] is a
        if layer != "two.act" and layer != "shared" and layer != "one.act":
            expected = full(model, layer, x().repeat_interleave(3, 0), lambda _old: a)
            torch.testing.assert_close(answer.output, expected)
            weights = torch.randn(answer.output.shape)
            (g,) = torch.autograd.grad((answer.output * weights).sum(), a, retain_graph=True)
            (g_full,) = torch.autograd.grad((expected * weights).sum(), a)
            torch.testing.assert_close(g, g_full)
            assert g.any()


def test_an_edit_that_the_reference_does_not_make_is_seen() -> None:
    model = Model(Net())
    with model.untouched():
        resumed = resume_from(model, "one", x())
        expected = full(model, "one", x(), lambda old: old * 1.1)
        assert not torch.allclose(resumed(resumed.activation).output, expected)
        torch.testing.assert_close(resumed(resumed.activation * 1.1).output, expected)


def test_only_what_is_behind_the_layer_runs() -> None:
    net = Net()
    model = Model(net)
    counters = {n: m for n, m in net.named_modules() if isinstance(m, Counting)}
    with model.untouched():
        resumed = resume_from(model, "one", x())
        before = {n: m.calls for n, m in counters.items()}
        resumed(resumed.activation)
    ran = {n: m.calls - before[n] for n, m in counters.items()}
    assert ran == {"stem": 0, "one.a": 0, "one.b": 0, "shared": 1, "two.a": 1, "two.b": 1}


def test_the_check_is_made_once_for_a_layer_and_a_shape_and_again_for_other_weights() -> None:
    net = Net()
    model = Model(net)
    with model.untouched():
        resume_from(model, "two", x())
        calls = net.stem.calls
        resume_from(model, "two", x(1))
        assert net.stem.calls == calls + 1
        with torch.no_grad():
            net.shared.weight.mul_(2)
        again = resume_from(model, "one", x())
        torch.testing.assert_close(again(again.activation).output, model.answer(x()).output)


@pytest.mark.parametrize("layer", ["two.a", "two.b", "one.b", "positions"])
def test_a_layer_that_the_network_bypasses_is_refused_with_the_reason(layer: str) -> None:
    model = Model(Net())
    for _ in range(2):  # found out, then remembered
        with model.untouched(), pytest.raises(DoesNotFit, match=f"{layer!r}.*bypasses"):
            resume_from(model, layer, x())


def test_without_nan_the_bypass_would_go_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: zeros as placeholders run through silently and give another answer."""
    from seewhy.models import calls

    right = calls.Kind.placeholder
    monkeypatch.setattr(calls.Kind, "placeholder", lambda *a: torch.nan_to_num(right(*a)))
    model = Model(Net())
    with model.untouched(), pytest.raises(DoesNotFit, match="differs from the full pass"):
        resume_from(model, "two.b", x())


def test_whole_numbers_that_depend_on_the_input_are_refused() -> None:
    model = Model(Routed())
    with model.untouched(), pytest.raises(DoesNotFit, match="'choose', before it, puts out whole numbers"):
        resume_from(model, "late", x(8))


class Interrupted(Net):
    error: type[BaseException] | None = None

    def forward(self, x: Tensor) -> Any:
        out = super().forward(x)
        if self.error is not None:
            raise self.error
        return out


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_every_forward_comes_back(error: type[BaseException] | None) -> None:
    net = Interrupted()
    own = net.one.a.forward
    net.one.a.forward = own  # an instance's own forward, as some libraries put there
    model = Model(net)
    with model.untouched():
        resumed = resume_from(model, "two", x())
        net.error = error
        with pytest.raises(error) if error else nullcontext():
            resumed(resumed.activation)
    assert net.one.a.__dict__["forward"] is own
    assert [n for n, m in net.named_modules() if "forward" in m.__dict__] == ["one.a"]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_the_caller_s_activation_is_not_written_into() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4 * 256, 2))
    model = Model(net)
    with model.untouched():
        resumed = resume_from(model, "0", x())
        kept = resumed.activation.clone()
        resumed(resumed.activation)
        assert torch.equal(resumed.activation, kept)


def test_layers_behind_can_be_read_on_the_way() -> None:
    model = Model(Net())
    with model.untouched():
        resumed = resume_from(model, "one", x())
        answer = resumed(resumed.activation, layers=["two"])
        torch.testing.assert_close(answer.activations["two"], model.answer(x(), ["two"]).activations["two"])


def test_what_cannot_be_resumed_is_said() -> None:
    model = Model(Net())
    with model.untouched():
        with pytest.raises(UnknownName, match="Did you mean"):
            resume_from(model, "won", x())
        with pytest.raises(DoesNotFit, match="never calls it"):
            resume_from(model, "unused", x())
        resumed = resume_from(model, "one", x())
        with pytest.raises(DoesNotFit, match=r"shape \(8, 4, 4\)"):
            resumed(torch.zeros(2, 8, 4, 4))


class Writer(nn.Module):
    """Plain code before the layer writes into what a module returned."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mid, self.head = Counting(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x += 1
        return self.head(self.mid(x).mean((2, 3)))


def test_a_network_that_writes_into_a_placeholder_gets_one_of_its_own() -> None:
    module = Writer()
    model = Model(module)
    with model.untouched():
        resumed = resume_from(model, "mid", x())
        calls = module.stem.calls
        torch.testing.assert_close(resumed(resumed.activation).output, model.answer(x()).output)
        assert module.stem.calls == calls + 1
