"""Packed convolutions: oneDNN's answers are the network's, and only what can be packed is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import networks
import seewhy
from seewhy.execution import Execution
from seewhy.models import onednn
from seewhy.models.fast_copy import fast_copy, kept_copy
from seewhy.models.model import Model
from seewhy.models.onednn import able
from seewhy.models.packed import PackedConvolution
from seewhy.models.packing import pack
from seewhy.models.replica import replicate
from seewhy.question import ask

pytestmark = pytest.mark.skipif(not able(), reason="this torch has no such kernels")

RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish)


def images(n: int = 2, size: int = 16) -> Tensor:
    return networks.batch((3, size, size), n=n)


def made(module: nn.Module) -> list[PackedConvolution]:
    return [m for m in module.modules() if isinstance(m, PackedConvolution)]


class Same(nn.Conv2d):
    """Pads below and on the right, as TensorFlow does."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(functional.pad(x, (0, 1, 0, 1)), self.weight, self.bias, self.stride)


class Standardised(nn.Conv2d):
    """Is no convolution with its weights."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class Net(nn.Module):
    """Two convolutions and whatever a test does with them."""

    def __init__(self, forward: Callable[[Net, Tensor], Tensor], first: type[nn.Conv2d] = nn.Conv2d) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.one = first(3, 8, 3, stride=2 if first is Same else 1, padding=0 if first is Same else 1)
            self.two = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.act, self.other = nn.ReLU(inplace=True), nn.ReLU6()
        self.does = forward
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.does(self, x)


def chain(m: Net, x: Tensor) -> Tensor:
    return m.other(m.two(m.act(m.one(x))))


def shared(m: Net, x: Tensor) -> Tensor:
    return m.act(m.two(m.act(m.one(x))))


def summed(m: Net, x: Tensor) -> Tensor:
    """Also rectifies what is no convolution's result: the module must stay."""
    return m.act(m.two(m.act(m.one(x))) + 1)


def again(m: Net, x: Tensor) -> Tensor:
    """Asks one convolution twice: it is left alone, and the rectifier with it."""
    y = m.act(m.one(x))
    return m.two(m.other(m.two(y)))


def twice_rectified(m: Net, x: Tensor) -> Tensor:
    return m.two(m.other(m.act(m.one(x))))


def nothing(m: Net, x: Tensor) -> Tensor:
    return m.two(m.one(x)).relu()


@pytest.mark.parametrize(
    ("forward", "fused", "packs"),
    [
        (chain, 2, 2),
        (shared, 2, 2),
        (summed, 0, 0),
        (again, 1, 1),
        (twice_rectified, 1, 2),
        (nothing, 0, 0),
    ],
)
def test_what_a_convolution_takes_in(
    forward: Callable[[Net, Tensor], Tensor], fused: int, packs: int
) -> None:
    net, x = Net(forward), images()
    wanted = net(x)
    assert pack(net, x) == fused
    assert len(made(net)) == packs
    torch.testing.assert_close(net(x), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rectifier", RECTIFIERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.filterwarnings("ignore:.*bfloat16.*")
def test_rectifiers_are_torchs(rectifier: type[nn.Module], dtype: torch.dtype) -> None:
    net, x = Net(shared).to(dtype), (4 * images()).to(dtype)
    net.act = rectifier()
    wanted = net(x)
    assert pack(net, x) == 2
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(net(x), wanted, rtol=tolerance, atol=tolerance)


def test_how_a_foreign_convolution_pads_is_found() -> None:
    net, x = Net(chain, Same), images()
    wanted = net(x)
    assert pack(net, x) == 2
    assert made(net)[0].margins == (0, 1, 0, 1)
    torch.testing.assert_close(net(x), wanted, rtol=1e-5, atol=1e-6)


def test_what_is_no_convolution_with_its_weights_is_left() -> None:
    net, x = Net(chain, Standardised), images()
    wanted = net(x)
    assert pack(net, x) == 1
    assert isinstance(net.one, Standardised)
    torch.testing.assert_close(net(x), wanted, rtol=1e-5, atol=1e-6)


def test_who_asks_for_more_gets_the_layers_themselves() -> None:
    """Other sizes and types."""
    net, plain, x = Net(chain), Net(chain), images()
    pack(net, x)
    assert torch.equal(net(images(size=24)), plain(images(size=24)))
    assert torch.equal(net.double()(x.double()), plain.double()(x.double()))


def test_the_kernel_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = Net(chain), images()
    pack(net, x)
    monkeypatch.setitem(onednn.KERNELS, nn.ReLU, ("tanh", []))  # planted: whoever asks it is found out
    assert not torch.allclose(net(x), Net(chain)(x))


def test_batches_of_all_sizes_are_answered_alike() -> None:
    net, x = Net(chain), images(7)
    pack(net, x)
    singles = torch.cat([net(one[None]) for one in x])
    torch.testing.assert_close(net(x), singles, rtol=1e-5, atol=1e-6)


def test_a_layer_that_is_read_is_not_fused_away() -> None:
    """What is read behind a normalisation is no longer there once the rectifier went in front of it."""
    model, x = Model(networks.cnn()), images(6)
    norm = next(name for name, m in model.module.named_modules() if isinstance(m, nn.BatchNorm2d))
    whole, reading, same = (kept_copy(model, x, layers, (1,))[0] for layers in ((), (norm,), ()))
    assert whole is same
    assert reading is not whole
    fused = [sum(m.rectifier is not None for m in made(copy.module)) for copy in (whole, reading)]
    assert fused[0] == fused[1] + 1
    own, other = model.answer(x, [norm]), reading.answer(x, [norm])
    torch.testing.assert_close(other.activations[norm], own.activations[norm], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(other.output, own.output, rtol=1e-4, atol=1e-5)


def test_of_copies_that_spare_a_layer_the_last_is_kept() -> None:
    model, x = Model(networks.cnn()), images(6)
    norms = [name for name, m in model.module.named_modules() if isinstance(m, nn.BatchNorm2d)]
    first = kept_copy(model, x, (), (1,))[0]
    one, two = (kept_copy(model, x, (norm,), (1,))[0] for norm in norms[:2])
    assert len({id(c) for c in (first, one, two)}) == 3
    assert kept_copy(model, x, (norms[1],), (1,))[0] is two
    assert kept_copy(model, x, (), (1,))[0] is first
    assert kept_copy(model, x, (norms[0],), (1,))[0] is not one
    assert kept_copy(model, x, (), (2,))[0] is not first


def test_who_asks_for_bf16_gets_a_copy_in_it_and_is_told_how_far_off_it_is() -> None:
    model, x = seewhy.load("mobilenet-v2"), networks.batch((3, 96, 96), n=2)
    asked = {p: seewhy.explain(model, x, "grad_cam", 3, precision=p) for p in ("auto", "bf16", "fp32")}
    notes = {p: found.provenance.get("first_passes") for p, found in asked.items()}
    assert notes == {"auto": None, "bf16": "folded copy, bf16", "fp32": None}
    assert 0 < asked["bf16"].provenance["first_passes_gap"] < 0.25
    assert not torch.equal(asked["bf16"].native, asked["fp32"].native)
    gap = (asked["bf16"].native - asked["fp32"].native).norm() / asked["fp32"].native.norm()
    assert gap < 0.25
    # What does more than read layers is not made of halves.
    other = [seewhy.explain(model, x, "fd_cam", 3, precision=p) for p in ("bf16", "fp32")]
    assert "first_passes_gap" not in other[0].provenance


def test_other_layers_than_those_compared_are_read_of_the_network() -> None:
    """A copy may have fused them away."""
    model, x = Model(networks.cnn()), images(6)
    read, other = "4", "1"
    with model.untouched():
        question = ask(model, x, 0, Execution(), "logit", [read])
        assert question.copy is not None
        own = model.answer(x, [other]).activations[other]
        found = question.differentiable_answer(0, 6, [other]).activations[other]
        copied = question.copy.answer(x, [other]).activations[other]
    assert torch.equal(found, own)
    assert not torch.allclose(copied, own, atol=1e-3)


def test_copies_for_training_are_folded_only() -> None:
    model = Model(networks.cnn())
    copy = fast_copy(model, images())
    assert copy is not model
    assert not made(copy.module)


def test_scores_are_made_with_packed_convolutions() -> None:
    model = Model(networks.cnn())
    result = seewhy.explain(model, images(1), "rise", 0, masks=100)
    scoring = result.provenance["scoring"]
    assert scoring["fused"] > 0
    assert scoring["noise"] < 1e-3


def test_a_packed_copy_that_answers_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(onednn.KERNELS, nn.ReLU, ("tanh", []))  # planted
    model = Model(networks.cnn())
    kept = kept_copy(model, images(6), (), (1,))[0]
    assert kept is not model
    assert not made(kept.module)
    result = seewhy.explain(model, images(1), "rise", 0, masks=100)
    assert result.provenance["scoring"]["folded"] > 0
    assert "fused" not in result.provenance["scoring"]


def test_a_torch_without_the_kernels_folds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "able", lambda: False)
    replica = replicate(networks.cnn(), images(), torch.float32, fold=True, fuse=True)
    assert replica.folded > 0
    assert replica.fused == 0
