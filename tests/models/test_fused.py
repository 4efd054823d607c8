"""Fused copies: the same answers in fewer kernels, and only where nothing else sees what is fused away."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.fx.proxy import TraceError
from torch.nn import functional

from seewhy.models.fused import FusedConvolution, fuse
from seewhy.models.replica import replicate

Forward = Callable[["Block", Tensor], Tensor]


class Block(nn.Module):
    """Two normalised convolutions, a third for the shortcut, and what a test does with them."""

    def __init__(self, forward: Forward) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.one, self.two, self.side = (nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(3))
            self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(3))
            for norm in self.norms:
                assert isinstance(norm, nn.BatchNorm2d)
                assert norm.running_mean is not None
                assert norm.running_var is not None
                nn.init.uniform_(norm.running_mean, -0.5, 0.5)
                nn.init.uniform_(norm.running_var, 0.5, 2.0)
                nn.init.uniform_(norm.bias, -0.5, 0.5)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.does = forward

    def a(self, x: Tensor) -> Tensor:
        """Return the first convolution, normalised."""
        found: Tensor = self.norms[0](self.one(x))
        return found

    def b(self, x: Tensor) -> Tensor:
        """Return the second one."""
        found: Tensor = self.norms[1](self.two(x))
        return found

    def c(self, x: Tensor) -> Tensor:
        """Return the third one."""
        found: Tensor = self.norms[2](self.side(x))
        return found

    def forward(self, x: Tensor) -> Tensor:
        """See the test."""
        return self.does(self, x)


def chain(m: Block, x: Tensor) -> Tensor:
    return functional.relu(m.drop(m.b(m.relu(m.a(x)))))


def shortcut(m: Block, x: Tensor) -> Tensor:
    y = m.relu(m.a(x))
    out = m.b(y)
    out += y
    return torch.relu(out)


def projected(m: Block, x: Tensor) -> Tensor:
    y = m.b(m.a(x).relu())
    y += m.c(x)
    return m.relu(y)


def reversed_sum(m: Block, x: Tensor) -> Tensor:
    return m.relu(x + m.a(x))


def changed_in_place(m: Block, x: Tensor) -> Tensor:
    y = m.c(x)
    y += m.a(x)  # who reads y later reads the sum
    return m.relu(y.clone()) + y


def seen_elsewhere(m: Block, x: Tensor) -> Tensor:
    y = m.a(x)
    return torch.relu(y) + y


def broadcast(m: Block, x: Tensor) -> Tensor:
    return torch.relu(m.a(x) + x.mean((2, 3), keepdim=True))


def twice(m: Block, x: Tensor) -> Tensor:
    return torch.relu(m.a(torch.relu(m.a(x))))


def weighted(m: Block, x: Tensor) -> Tensor:
    return torch.relu(torch.add(m.a(x), x, alpha=3))


def branching(m: Block, x: Tensor) -> Tensor:
    return torch.relu(m.a(x)) if bool(x.sum() > -1e9) else x


@pytest.mark.parametrize(
    ("forward", "count"),
    [
        (chain, 2),
        (shortcut, 2),
        (projected, 2),
        (reversed_sum, 1),
        (changed_in_place, 0),
        (seen_elsewhere, 0),
        (broadcast, 0),
        (twice, 0),
        (weighted, 0),
        (branching, None),  # cannot be traced
    ],
)
def test_a_fused_copy_gives_the_same_answers(forward: Forward, count: int | None) -> None:
    net, x = Block(forward).eval(), torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    folded = replicate(net, x, torch.float32, fold=True).module
    if count is None:
        with pytest.raises(TraceError):
            fuse(folded, x)
        return
    module, fused = fuse(folded, x)
    assert fused == count
    assert sum(isinstance(m, FusedConvolution) for m in module.modules()) == count
    with torch.no_grad():
        torch.testing.assert_close(module(x), net(x), rtol=1e-5, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()), "the original is not touched"


def test_the_bias_of_a_projected_shortcut_is_added_once() -> None:
    net, x = Block(projected).eval(), torch.zeros(1, 4, 8, 8)
    module, _ = fuse(replicate(net, x, torch.float32, fold=True).module, x)
    biased = [m for m in module.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    assert len(biased) == 2
    with torch.no_grad():
        torch.testing.assert_close(module(x), net(x))


def test_without_a_normalisation_nothing_is_fused() -> None:
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()).eval()
    assert replicate(net, torch.zeros(1, 3, 4, 4), torch.float32, fold=True, fuse=True).fused == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("forward", [chain, shortcut, projected])
def test_cudnn_fuses_the_same(forward: Forward) -> None:
    net = Block(forward).eval().cuda()
    x = torch.randn(3, 4, 8, 8, device="cuda")
    replica = replicate(net, x, torch.float16, fold=True, fuse=True)
    with torch.inference_mode():
        torch.testing.assert_close(replica.module(replica.place(x)).float(), net(x), rtol=2e-2, atol=2e-2)
