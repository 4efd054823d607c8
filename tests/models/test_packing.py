"""Packing: what a block takes in, and what is left alone because more happens than meets the eye."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import networks
from seewhy.models.onednn import able
from seewhy.models.packed import PackedConvolution
from seewhy.models.packed_block import PackedBlock
from seewhy.models.packing import pack
from seewhy.models.tape import Tape

pytestmark = pytest.mark.skipif(not able(), reason="this torch has no such kernels")


class Block(nn.Module):
    """A residual block that does with its parts whatever a test does."""

    def __init__(self, does: Callable[[Block, Tensor], Tensor], act: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.one = nn.Conv2d(8, 8, 3, padding=1)
            self.two = nn.Conv2d(8, 8, 1)
            self.three = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.act = act()
        if hasattr(self.act, "inplace"):
            self.act.inplace = True
        self.idle, self.drop = nn.Identity(), nn.Dropout()
        self.does = does

    def forward(self, x: Tensor, again: bool = False) -> Tensor:
        return self.does(self, x)


def net(does: Callable[[Block, Tensor], Tensor], act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return a stem and the block."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stem = nn.Conv2d(3, 8, 3, padding=1)
    return nn.Sequential(stem, nn.ReLU(), Block(does, act)).eval().requires_grad_(False)


def images(n: int = 3, size: int = 8) -> Tensor:
    return networks.batch((3, size, size), n=n)


def residual(m: Block, x: Tensor) -> Tensor:
    """As torchvision's: the shortcut is added in place, and one rectifier serves all."""
    identity = x
    out = m.act(m.idle(m.one(x)))
    out = m.drop(m.three(out))
    out += identity
    return m.act(out)


def projected(m: Block, x: Tensor) -> Tensor:
    out = m.three(m.act(m.one(x)))
    return m.act(out + m.two(x))


def linear(m: Block, x: Tensor) -> Tensor:
    return torch.add(x, m.three(m.act(m.one(x))))


def functions(m: Block, x: Tensor) -> Tensor:
    return functional.relu(m.three(torch.relu(m.one(x))) + x)


def chained(m: Block, x: Tensor) -> Tensor:
    """Two sums: the second takes the first."""
    y = m.act(m.one(x) + x)
    return m.act(m.two(y) + y)


@pytest.mark.parametrize("does", [residual, projected, linear, functions, chained])
@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6, nn.SiLU])
def test_blocks_that_are_packed(does: Callable[[Block, Tensor], Tensor], act: type[nn.Module]) -> None:
    found, plain, x = net(does, act), net(does, act), images()
    assert pack(found, x[:1]) >= 3
    assert isinstance(found[2], PackedBlock)
    torch.testing.assert_close(found(x), plain(x), rtol=1e-5, atol=1e-5)
    at = x.clone().requires_grad_()
    slopes = [torch.autograd.grad(m(at).square().sum(), at)[0] for m in (found, plain)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=1e-4)
    other = images(size=12)
    torch.testing.assert_close(found(other), plain(other), rtol=1e-5, atol=1e-5)


def scaled(m: Block, x: Tensor) -> Tensor:
    return m.act(m.three(m.act(m.one(x))) + 0.5 * x)


def broadcast(m: Block, x: Tensor) -> Tensor:
    return m.act(m.three(m.act(m.one(x))) + x[:, :, :1, :1])


def weighed(m: Block, x: Tensor) -> Tensor:
    return torch.add(m.three(m.act(m.one(x))), x, alpha=2)


def looked_at(m: Block, x: Tensor) -> Tensor:
    y = m.three(m.act(m.one(x)))
    return m.act(y + x) + y.mean()


def without(m: Block, x: Tensor) -> Tensor:
    return m.act(m.three(m.act(m.one(x))))


def rectified_first(m: Block, x: Tensor) -> Tensor:
    return m.act(m.three(x)) + x


def overwritten(m: Block, x: Tensor) -> Tensor:
    y = m.act(m.three(m.act(m.one(x))) + x)
    y.mul_(2)
    return y


@pytest.mark.parametrize(
    "does", [scaled, broadcast, weighed, looked_at, without, rectified_first, overwritten]
)
def test_blocks_that_are_left_alone(does: Callable[[Block, Tensor], Tensor]) -> None:
    found, plain, x = net(does), net(does), images()
    pack(found, x[:1])
    assert not isinstance(found[2], PackedBlock)
    torch.testing.assert_close(found(x), plain(x), rtol=1e-5, atol=1e-5)
    if does is not overwritten:  # torch has no gradient of that
        at = x.clone().requires_grad_()
        slopes = [torch.autograd.grad(m(at).square().sum(), at)[0] for m in (found, plain)]
        torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=1e-4)


def test_a_block_in_which_somebody_reads_is_left_alone() -> None:
    found, x = net(residual), images()
    pack(found, x[:1], ["2.three"])
    assert not isinstance(found[2], PackedBlock)
    other = net(residual)
    pack(other, x[:1], ["2"])
    assert isinstance(other[2], PackedBlock)


def test_a_block_with_hooks_is_left_alone() -> None:
    found, plain, x = net(residual), net(residual), images()
    for m in (found, plain):
        m[2].get_submodule("three").register_forward_hook(lambda m, args, y: 2 * y)
    pack(found, x[:1])
    assert not isinstance(found[2], PackedBlock)
    assert not isinstance(found[2].get_submodule("three"), PackedConvolution)
    torch.testing.assert_close(found(x), plain(x), rtol=1e-5, atol=1e-5)


def test_a_convolution_whose_gradient_somebody_changes_is_left_alone() -> None:
    found, plain, x = net(projected), net(projected), images()
    for m in (found, plain):
        m[2].get_submodule("three").register_full_backward_hook(lambda m, into, out: (2 * into[0],))
    pack(found, x[:1])
    at = x.clone().requires_grad_()
    slopes = [torch.autograd.grad(m(at).square().sum(), at)[0] for m in (found, plain)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=1e-4)
    untouched = net(projected)
    other = torch.autograd.grad(untouched(at).square().sum(), at)[0]
    assert not torch.allclose(slopes[1], other, rtol=1e-2)


def test_names_stay() -> None:
    found, x = net(residual), images()
    names = {name for name, _ in found.named_modules()}
    pack(found, x[:1])
    assert names <= {name for name, _ in found.named_modules()}


def test_a_tape_leaves_no_trace() -> None:
    found, x = net(residual), images()
    Tape(found, x, [found[2]])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in found.modules())
    act = found[2].get_submodule("act")
    assert isinstance(act, nn.ReLU)
    assert act.inplace

    def broken(m: Block, x: Tensor) -> Tensor:
        raise ValueError("planted")

    found = net(broken)
    with pytest.raises(ValueError, match="planted"):
        Tape(found, x)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in found.modules())


def test_a_planted_bug_in_a_step_is_found() -> None:
    """The shortcut left out."""
    found, plain, x = net(residual), net(residual), images()
    pack(found, x[:1])
    block = found[2]
    assert isinstance(block, PackedBlock)
    object.__setattr__(block.steps[-1], "shortcut", None)
    assert not torch.allclose(found(x), plain(x), atol=1e-3)
