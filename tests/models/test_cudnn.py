"""cuDNN's kernels and what stands in where it has none; the way back through them; biases of sums."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import networks
import seewhy
from seewhy import question
from seewhy.models import cudnn, packing
from seewhy.models.cudnn import CudnnWeight
from seewhy.models.input_gradient import InputGradient
from seewhy.models.model import Model
from seewhy.models.onednn import At, Rectifier
from seewhy.models.packed_block import PackedBlock
from seewhy.models.replica import replicate
from seewhy.models.tensor_float import without_tensor_float

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
WAYS: list[At] = [
    ([1, 1], [1, 1], [1, 1], 1),
    ([0, 2], [2, 2], [1, 1], 1),
    ([1, 1], [1, 2], [1, 1], 2),
    ([2, 2], [3, 1], [2, 2], 4),
]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("at", WAYS)
@pytest.mark.parametrize("rectifier", [None, nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("summed", [False, True])
def test_where_cudnn_has_no_kernel_torch_answers(at: At, rectifier: Rectifier | None, summed: bool) -> None:
    zeros, stride, dilation, groups = at
    weight, bias, x = drawn(8, 4 // groups, 3, 3), drawn(8, seed=1), drawn(2, 4, 11, 12, seed=2)
    exact = functional.conv2d(x.double(), weight.double(), bias.double(), stride, zeros, dilation, groups)
    shortcut = drawn(*exact.shape, seed=3) if summed else None
    exact = exact if shortcut is None else exact + shortcut
    exact = exact if rectifier is None else rectifier()(exact)
    before = None if shortcut is None else shortcut.clone()
    done = CudnnWeight(weight, at).convolve(x, bias, rectifier, shortcut)
    torch.testing.assert_close(done.double(), exact, rtol=1e-5, atol=1e-5)
    assert before is None or torch.equal(before, shortcut)


def test_a_kernel_that_is_missing_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def missing(*_: object) -> Tensor:
        asked.append(1)
        raise RuntimeError("cuDNN has no such plan")

    monkeypatch.setattr(torch, "cudnn_convolution_relu", missing)
    weight = CudnnWeight(drawn(4, 4, 1, 1), ([0, 0], [1, 1], [1, 1], 1))
    for _ in range(3):
        weight.convolve(drawn(1, 4, 5, 5), None, nn.ReLU)
    assert len(asked) == 1


def test_memory_that_runs_out_is_not_taken_for_a_missing_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "cudnn_convolution_relu", full)
    with pytest.raises(torch.OutOfMemoryError):
        CudnnWeight(drawn(4, 4, 1, 1), WAYS[0]).convolve(drawn(1, 4, 5, 5), None, nn.ReLU)


@pytest.mark.parametrize("at", WAYS)
@pytest.mark.parametrize("size", [(11, 12), (10, 9)])
def test_the_way_back_is_the_convolutions_gradient(at: At, size: tuple[int, int]) -> None:
    zeros, stride, dilation, groups = at
    weight = drawn(8, 4 // groups, 3, 3)
    x = drawn(2, 4, *size, seed=2).double().requires_grad_()
    y = functional.conv2d(x, weight.double(), None, stride, zeros, dilation, groups)
    slope, more = drawn(*y.shape, seed=3), drawn(*x.shape, seed=4)
    (exact,) = torch.autograd.grad(y, x, slope.double())
    margins = (zeros[1], zeros[1], zeros[0], zeros[0])
    back = InputGradient(weight, at, margins, (4, *size))
    back.how = "cudnn"  # as on accelerators; torch has the same function for processors
    torch.testing.assert_close(back(slope).double(), exact, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(back(slope, more).double(), exact + more, rtol=1e-5, atol=1e-5)


def test_the_way_back_through_unequal_margins_leaves_them_out() -> None:
    weight, x = drawn(8, 4, 3, 3), drawn(2, 4, 10, 10, seed=2).double().requires_grad_()
    y = functional.conv2d(functional.pad(x, (0, 1, 0, 1)), weight.double(), None, 2)
    slope = drawn(*y.shape, seed=3)
    (exact,) = torch.autograd.grad(y, x, slope.double())
    back = InputGradient(weight, ([0, 0], [2, 2], [1, 1], 1), (0, 1, 0, 1), (4, 10, 10))
    back.how = "cudnn"
    torch.testing.assert_close(back(slope).double(), exact, rtol=1e-5, atol=1e-5)


class Projected(nn.Module):
    """A residual block whose shortcut is a convolution, too, rectified by a function."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.one, self.side = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.one(x) + self.side(x))


class Rectified(nn.Module):
    """A convolution and a function behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.one(x))


def test_a_sum_adds_the_bias_of_its_shortcut() -> None:
    net, x = nn.Sequential(Projected()).eval().requires_grad_(False), drawn(2, 4, 6, 6)
    with torch.no_grad():
        own, smaller = net(x), net(x[..., :5])
        assert packing.pack(net, x) == 1
        torch.testing.assert_close(net(x), own, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(net(x[..., :5]), smaller, rtol=1e-5, atol=1e-5)  # by the modules
    biases = [m.bias for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert sum(b is not None for b in biases) == 1


def test_rectifying_functions_in_a_module_of_their_own_are_taken_in() -> None:
    net, x = nn.Sequential(Rectified(), Rectified()).eval().requires_grad_(False), drawn(2, 4, 6, 6)
    with torch.no_grad():
        own = net(x)
        assert packing.pack(net, x) == 2
        assert sum(isinstance(m, PackedBlock) for m in net.modules()) == 2
        torch.testing.assert_close(net(x), own, rtol=1e-5, atol=1e-5)


def test_a_copy_gives_single_inputs_where_launching_is_what_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on accelerators: the layer is resumed from in the copy that gave it."""
    net, x = networks.cnn(), networks.batch((3, 16, 16), n=1)
    for layer in ("2", "5"):
        own = seewhy.explain(net, x, "ablation_cam", target=1, layer=layer)
        with monkeypatch.context() as planted:
            planted.setitem(question._MANY, "cpu", 1)
            found = seewhy.explain(net, x, "ablation_cam", target=1, layer=layer)
        assert "first_passes" not in own.provenance
        assert found.provenance["first_passes"] == "folded copy, fp32"
        assert found.provenance["resumed_from"] == layer
        torch.testing.assert_close(found.values, own.values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("rectified", [pytest.param(True, marks=gpu), pytest.param(False, marks=gpu)])
def test_packed_networks_answer_on_an_accelerator(dtype: torch.dtype, rectified: bool) -> None:
    assert cudnn.able()
    net = nn.Sequential(networks.cnn()[:6], nn.Conv2d(8, 4, 1), Projected()).eval().cuda()
    net = net.requires_grad_(False) if rectified else nn.Sequential(net, Rectified().eval().cuda())
    x = networks.batch((3, 16, 16), n=5).cuda()
    replica = replicate(net, x, dtype, fold=True, fuse=True)
    assert replica.fused >= 3
    at = x.clone().requires_grad_()
    with without_tensor_float():
        own = net(at)
        (slope,) = torch.autograd.grad(own.square().sum(), at)
        near = 1e-4 if dtype == torch.float32 else 3e-2
        placed = replica.place(x).requires_grad_()
        done = replica.module(placed)
        torch.testing.assert_close(done.float(), own, rtol=near, atol=near)
        (back,) = torch.autograd.grad(done.float().square().sum(), placed)
    assert float((back.float() - slope).norm() / slope.norm()) < 5 * near


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", ["grad_cam", "integrated_gradients", "ablation_cam", "smooth_grad"])
def test_copies_say_what_the_network_says_on_an_accelerator(method: str) -> None:
    model = Model(networks.cnn().cuda())
    x = networks.batch((3, 16, 16), n=2)
    with without_tensor_float():
        own = seewhy.explain(model, x, method, target=1, precision="fp32")
        found = seewhy.explain(model, x, method, target=1)
    assert found.provenance["first_passes"] == "folded copy, fp32"
    torch.testing.assert_close(found.values, own.values, rtol=1e-3, atol=1e-4 * float(own.values.abs().max()))
