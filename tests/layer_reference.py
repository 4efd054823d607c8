"""What a layer does, in float64 and without SeeWhy, and maps as a peer shows them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

import seewhy

CLASS = 2


def min_max(m: Tensor) -> Tensor:
    m = m - m.amin((1, 2), keepdim=True)
    return m / (1e-7 + m.amax((1, 2), keepdim=True))


def as_peers_show(native: Tensor, size: tuple[int, int]) -> np.ndarray:
    """The peer scales to [0, 1] at low resolution, resizes, and scales again."""
    return min_max(seewhy.resize.resize(min_max(native), size).relu()).numpy()


def activation_and_slope(
    net: nn.Module, x: Tensor, layer: str, family: str, target: int = CLASS
) -> tuple[Tensor, Tensor]:
    """Activation and gradient in float64, `(n, channels, *cells)`, without SeeWhy."""
    net, kept = net.double(), []
    hook = net.get_submodule(layer).register_forward_hook(lambda _m, _a, out: kept.append(out) or out.clone())
    score = net(x.double())[:, target].sum()
    hook.remove()
    (g,) = torch.autograd.grad(score, kept[0])
    net.float()

    def placed(t: Tensor) -> Tensor:
        match family:
            case "vit":
                return t[:, 1:].detach().transpose(1, 2).reshape(len(t), -1, 4, 4)
            case "swin":
                return t.detach().permute(0, 3, 1, 2)
        return t.detach()

    return placed(kept[0]), placed(g)


def score_with(net: nn.Module, x: Tensor, layer: str, family: str, gate: Tensor) -> Tensor:
    """Return the `(n,)` float64 scores with the layer's channels times `(k,)` gates, prefix tokens kept."""

    def edit(_m: nn.Module, _a: object, out: Tensor) -> Tensor:
        match family:
            case "vit":
                return torch.cat([out[:, :1], out[:, 1:] * gate], 1)
            case "swin":
                return out * gate
        return out * gate.reshape(1, -1, *[1] * (out.ndim - 2))

    hook = net.double().get_submodule(layer).register_forward_hook(edit)
    with torch.no_grad():
        scores = net(x.double())[:, CLASS]
    hook.remove()
    net.float()
    return scores
