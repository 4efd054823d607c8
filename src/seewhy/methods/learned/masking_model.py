"""The trainable part of real-time saliency: a class selector, and a decoder from features to one mask.

The selector compares the coarsest features, place by place, with a learned vector of the class, and lets
through what is alike. Up-samplers bring that back to the finest features' grid, joining the features of
each resolution on the way (a U-Net); two channels of the last one make the mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle
from torch.nn.utils.fusion import fuse_conv_bn_weights

from seewhy.types import Cells, Rows

_EPSILON = 1e-6
"""Keeps |a| / (|a| + |b|) at 0 where both are 0."""
_NARROWEST = 16


class NormedConv(nn.Module):
    """A convolution that keeps the grid, with batch normalisation; after training one convolution."""

    def __init__(self, channels: int, out: int, kernel: int, *, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2)
        self.norm: nn.Module = nn.BatchNorm2d(out) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, out, rows, columns)`."""
        out: Tensor = self.norm(self.conv(x))
        return out

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias of the convolution with its norm."""
        assert self.conv.bias is not None
        if not isinstance(self.norm, nn.BatchNorm2d):
            return self.conv.weight.detach(), self.conv.bias.detach()
        n = self.norm
        assert n.running_mean is not None
        assert n.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            self.conv.weight, self.conv.bias, n.running_mean, n.running_var, n.eps, n.weight, n.bias
        )
        return weight.detach(), bias.detach()


class UpSampler(nn.Module):
    """Twice the resolution, joined with the features there, and a bottleneck residual block.

    Parameters
    ----------
    channels, skip, out
        Channels of the coarse input, of the features at the finer resolution, and of the result.
    """

    def __init__(self, channels: int, skip: int, out: int, *, norm: bool) -> None:
        super().__init__()
        middle = max(1, out // 4)
        self.grow = NormedConv(channels, 4 * out, 3, norm=norm)
        self.narrow = NormedConv(out + skip, middle, 1, norm=norm)
        self.look = NormedConv(middle, middle, 3, norm=norm)
        self.widen = NormedConv(middle, out, 1, norm=norm)
        self.shortcut = NormedConv(out + skip, out, 1, norm=norm)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Return `(n, out, rows, columns)` on the grid of `skip`."""
        fine = torch.relu(pixel_shuffle(self.grow(coarse), 2))
        if fine.shape[2:] != skip.shape[2:]:  # of an odd grid, 7 from 13 say
            fine = interpolate(fine, size=skip.shape[2:], mode="bilinear", align_corners=False)
        x = torch.cat([fine, skip], 1)
        inner = self.widen(torch.relu(self.look(torch.relu(self.narrow(x)))))
        return torch.relu(inner + self.shortcut(x))


class MaskingModel(nn.Module):
    """Selector, up-samplers, and the convolution that ends in two channels.

    Parameters
    ----------
    channels
        Of the encoder's stages, finest first.
    classes
        How many the selector knows.
    widths
        Channels that each up-sampler puts out, coarsest first; a quarter of the features' that it joins, at
        least 16, when left out.
    norm
        Whether convolutions are normalised; False for a model whose norms are folded.
    """

    def __init__(
        self, channels: Sequence[int], classes: int, widths: Sequence[int] = (), *, norm: bool = True
    ) -> None:
        super().__init__()
        *skips, top = channels
        skips = skips[::-1]
        self.widths = tuple(widths) or tuple(max(_NARROWEST, skip // 4) for skip in skips)
        self.embedding = nn.Parameter(torch.randn(classes, top) * top**-0.5)
        entering = (top, *self.widths)
        self.up = nn.ModuleList(
            UpSampler(c, skip, out, norm=norm)
            for c, skip, out in zip(entering, skips, self.widths, strict=False)
        )
        self.ends = nn.Conv2d(entering[len(skips)], 2, 1)

    def likeness(self, top: Tensor, rows: Rows) -> Cells:
        """Return `(n, rows, columns)`: the coarsest features at each place, times the vector of the class.

        Parameters
        ----------
        top
            `(n, channels, rows, columns)`.
        rows
            `(n,)` row of the embedding for each sample.
        """
        return torch.einsum("nchw,nc->nhw", top, self.embedding[rows])

    def existence(self, top: Tensor, rows: Rows) -> Tensor:
        """Return `(n,)` how much more likely than not the class is there, as a logit: the mean likeness."""
        return self.likeness(top, rows).flatten(1).mean(1)

    def forward(self, features: Sequence[Tensor], rows: Rows, confidence: float = 0.0) -> Cells:
        """Return `(n, rows, columns)` masks in [0, 1] on the finest grid.

        Parameters
        ----------
        features
            `(n, channels, rows, columns)` of each stage, finest first.
        rows
            `(n,)` row of the embedding for each sample.
        confidence
            What likeness must exceed for its place to pass with more than half; higher is stricter.
        """
        *skips, top = features
        x = top * torch.sigmoid(self.likeness(top, rows) - confidence)[:, None]
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(x, skip)
        ends: Tensor = self.ends(x).abs()
        return ends[:, 0] / (ends.sum(1) + _EPSILON)


def packed(model: MaskingModel, coverage: Sequence[int]) -> dict[str, Tensor]:
    """Return the weights of a trained model: norms folded, vectors of covered classes, and their mean.

    The mean, weighted by images, stands for the classes without images.
    """
    counts = torch.tensor(coverage, device=model.embedding.device)
    covered = counts.nonzero()[:, 0]
    rows, weights = model.embedding.detach()[covered], counts[covered].to(model.embedding)
    other = (weights @ rows) / weights.sum().clamp_min(1)
    tensors = {"covered": covered.int(), "embedding": torch.cat([rows, other[None]])}
    tensors["ends.weight"], tensors["ends.bias"] = (p.detach() for p in model.ends.parameters())
    for name, module in model.named_modules():
        if isinstance(module, NormedConv):
            tensors[f"{name}.conv.weight"], tensors[f"{name}.conv.bias"] = module.folded()
    return tensors


def unpacked(tensors: Mapping[str, Tensor], classes: int) -> tuple[MaskingModel, Tensor]:
    """Return the model of `packed` weights, and for each of `classes` classes its row of the embedding."""
    state = {name: t.float() for name, t in tensors.items() if name != "covered"}
    widths: list[int] = []
    while (grow := state.get(f"up.{len(widths)}.grow.conv.weight")) is not None:
        widths.append(len(grow) // 4)
    joined = [state[f"up.{i}.shortcut.conv.weight"].shape[1] - out for i, out in enumerate(widths)]
    rows, top = state["embedding"].shape
    with torch.device("meta"):
        model = MaskingModel([*joined[::-1], top], rows, widths, norm=False)
    model.load_state_dict(state, assign=True)
    covered = tensors["covered"].long()
    row = torch.full((classes,), len(covered))
    row[covered] = torch.arange(len(covered))
    return model.eval().requires_grad_(False), row
