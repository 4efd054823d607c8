"""Small networks with every kind of geometry, seeded, for tests that need no good weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def cnn(classes: int = 5, channels: int = 3) -> nn.Module:
    """Two convolutions with batch norm and in-place ReLU, global average pooling, one linear layer."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(channels, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    )
    return settle(net, torch.randn(16, channels, 16, 16))


def cnn3d(classes: int = 5) -> nn.Module:
    """The same for clips (n, 3, t, h, w)."""
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv3d(3, 6, 3, padding=1),
        nn.BatchNorm3d(6),
        nn.ReLU(inplace=True),
        nn.Conv3d(6, 8, 3, stride=2, padding=1),
        nn.BatchNorm3d(8),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(8, classes),
    )
    return settle(net, torch.randn(8, 3, 8, 16, 16))


def settle(net: nn.Module, x: Tensor) -> nn.Module:
    """Fill the running statistics of batch norm, then switch to evaluation mode."""
    net.train()
    with torch.no_grad():
        for _ in range(20):
            net(x)
    return net.eval()


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + self.proj(mixed.transpose(1, 2).reshape(n, t, c))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Patches of 4 pixels, one class token, sine-free learned positions, read at the class token."""

    def __init__(self, classes: int = 5, size: int = 16, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        cells = (size // 4) ** 2
        self.patch = nn.Conv2d(3, width, 4, stride=4)
        self.cls = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(0.5 * torch.randn(1, 1 + cells, width))
        self.blocks = nn.ModuleList(Block(width, 2) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def vit(classes: int = 5) -> nn.Module:
    """A two-block vision transformer for 16 x 16 images."""
    torch.manual_seed(2)
    return ViT(classes).eval()


def swin(classes: int = 5) -> nn.Module:
    """torchvision's Swin, shrunk: channels-last stages, 32 x 32 images."""
    from torchvision.models.swin_transformer import SwinTransformer

    torch.manual_seed(3)
    return SwinTransformer([2, 2], 16, [2, 2], [2, 2], [4, 4], num_classes=classes).eval()


class Recorded(nn.Module):
    """Keeps every input it is shown."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.shown = net, []

    def forward(self, x: Tensor) -> Tensor:
        self.shown.append(x.detach().clone())
        return self.net(x)


FAMILIES = {
    "cnn": (cnn, (3, 16, 16)),
    "vit": (vit, (3, 16, 16)),
    "swin": (swin, (3, 32, 32)),
    "clip": (cnn3d, (3, 8, 16, 16)),
}
"""Family to (constructor, input shape)."""


def batch(shape: tuple[int, ...], n: int = 2, seed: int = 7) -> Tensor:
    """`n` smooth random inputs of `shape`."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *shape, generator=generator)
    pool = nn.functional.avg_pool3d if len(shape) == 4 else nn.functional.avg_pool2d
    return pool(x, 3, stride=1, padding=1) * 2


class Normalised(nn.Module):
    """Convolutions with batch normalisation, one of them read on the way if asked."""

    def __init__(self, *, peek: bool = False, twice: bool = False) -> None:
        super().__init__()
        self.peek, self.twice = peek, twice
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, padding=1, groups=4), nn.BatchNorm2d(8, affine=False)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        raw = self.conv1(x)
        x = self.bn1(raw).relu()
        x = self.bn2(self.conv2(x)).relu()
        if self.twice:
            x = self.bn2(self.conv2(x)).relu()
        if self.peek:
            x = x + raw
        return self.head(x.mean((2, 3)))


def normalised(**options: bool) -> nn.Module:
    """Return a `Normalised` with statistics that are not 0 and 1, in evaluation mode."""
    torch.manual_seed(1)
    net = Normalised(**options)
    with torch.no_grad():
        for _ in range(3):
            net(3 * torch.randn(64, 3, 16, 16) + 1)
        net.bn1.weight.uniform_(0.5, 2)
        net.bn1.bias.uniform_(-1, 1)
        net.head.weight.mul_(20)
    return net.eval()
