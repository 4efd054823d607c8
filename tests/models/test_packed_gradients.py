"""Gradients through packed convolutions are those of the convolutions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import networks
from seewhy.models import input_gradient, packed
from seewhy.models.onednn import able
from seewhy.models.packed import PackedConvolution
from seewhy.models.replica import replicate
from seewhy.models.turned import evened, phases, turned

pytestmark = pytest.mark.skipif(not able(), reason="this torch has no such kernels")


def gradients(m: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `m` gives and the gradient of a sum of it with unequal weights."""
    at = x.clone().requires_grad_()
    y = m(at)
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
    return y.detach(), torch.autograd.grad((y * weights).sum(), at)[0]


def padded(c: nn.Conv2d, margins: packed.Margins) -> nn.Module:
    """Return the convolution with zeros around its input, in double precision."""
    return nn.Sequential(nn.ZeroPad2d(margins), c).double()


@given(
    side=st.integers(5, 12),
    kernel=st.sampled_from([(1, 1), (3, 3), (2, 2), (5, 3), (4, 4), (7, 7)]),
    stride=st.sampled_from([(1, 1), (2, 2), (3, 3), (2, 1)]),
    dilation=st.sampled_from([1, 1, 2]),
    kind=st.sampled_from(["dense", "few", "groups", "depthwise"]),
    margins=st.tuples(*[st.integers(0, 3)] * 4),
    rectifier=st.sampled_from([None, nn.ReLU(), nn.ReLU6(), nn.SiLU()]),
    n=st.integers(1, 3),
)
def test_any_convolution(
    side: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: int,
    kind: str,
    margins: packed.Margins,
    rectifier: nn.Module | None,
    n: int,
) -> None:
    channels, groups = {"dense": (32, 1), "few": (3, 1), "groups": (8, 4), "depthwise": (8, 8)}[kind]
    left, right, above, below = margins
    reach = [dilation * (k - 1) + 1 for k in kernel]
    assume(side + above + below >= reach[0] and side + left + right >= reach[1])
    generator = torch.Generator().manual_seed(side)
    c = nn.utils.skip_init(nn.Conv2d, channels, 8, kernel, stride, dilation=dilation, groups=groups)
    assert isinstance(c, nn.Conv2d)
    c.requires_grad_(False)
    for t in c.parameters():
        t.copy_(torch.randn(t.shape, generator=generator))
    x = torch.randn(n, channels, side, side, generator=generator)
    mine = PackedConvolution(c, rectifier, x.shape[1:], margins)
    reference = nn.Sequential(padded(_twin(c), margins), *([rectifier] if rectifier is not None else []))
    found, wanted = gradients(mine, x), gradients(reference, x.double())
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(mine(x), found[0], rtol=1e-4, atol=1e-5)


def _twin(c: nn.Conv2d) -> nn.Conv2d:
    made = nn.Conv2d(
        c.in_channels,
        c.out_channels,
        (c.kernel_size[0], c.kernel_size[1]),
        (c.stride[0], c.stride[1]),
        dilation=(c.dilation[0], c.dilation[1]),
        groups=c.groups,
    )
    made.load_state_dict(c.state_dict())
    return made.requires_grad_(False)


@pytest.mark.parametrize("change", ["turned", "phases", "gates"])
def test_a_planted_bug_is_found(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if change == "turned":
        monkeypatch.setattr(input_gradient, "turned", lambda w, groups: turned(w.flip(-1), groups))
    elif change == "phases":
        monkeypatch.setattr(input_gradient, "phases", lambda w, s, a, b: phases(w, s, a, b - 1))
    else:
        monkeypatch.setattr(packed, "_gated", lambda slope, done, rectifier, over: slope)
    stride = 2 if change == "phases" else 1
    c = nn.Conv2d(3, 8, 3, stride, 1).requires_grad_(False)
    x = networks.batch((3, 8, 8), n=2)
    mine = PackedConvolution(c, nn.ReLU(), x.shape[1:], (1, 1, 1, 1))
    found, wanted = gradients(mine, x)[1], gradients(nn.Sequential(c, nn.ReLU()), x)[1]
    assert not torch.allclose(found, wanted, atol=1e-3)


def test_zeros_around_weights_stand_for_unequal_margins() -> None:
    x, w = networks.batch((4, 9, 9), n=2), networks.batch((1, 3, 3), n=4)
    wide, around = evened(w, (0, 2, 1, 0))
    wanted = functional.conv2d(functional.pad(x, (0, 2, 1, 0)), w, None, 2, groups=4)
    found = functional.conv2d(x, wide, None, 2, around, groups=4)
    torch.testing.assert_close(found, wanted)


def test_gradients_of_a_whole_network() -> None:
    x = networks.batch((3, 16, 16), n=3)
    plain = replicate(networks.cnn(), x, torch.float32, fold=True)
    quick = replicate(networks.cnn(), x, torch.float32, fold=True, fuse=True)
    assert quick.fused > 0
    for a, b in zip(gradients(quick.module, x), gradients(plain.module, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_who_asks_for_second_gradients_is_told() -> None:
    c = nn.Conv2d(3, 8, 3, padding=1).requires_grad_(False)
    x = networks.batch((3, 8, 8), n=2).requires_grad_()
    y = PackedConvolution(c, nn.ReLU(), x.shape[1:], (1, 1, 1, 1))(x)
    (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
