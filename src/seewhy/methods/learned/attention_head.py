"""The trainable part of P-TAME, TAME, T-TAME and L-CAM: from feature maps to a map a class.

Each stage passes a 1 x 1 convolution, batch normalisation, a skip connection and a ReLU; the results,
brought to the finest stage's grid and stacked, are fused by a 1 x 1 convolution into one map a class.
Enlarging is linear and acts on each channel alone, so fusing each stage on its own grid and enlarging the
sums gives the same maps for a fraction of the work; and a class's map needs its own row of the fusion only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from seewhy.resize import resize
from seewhy.types import Size


class Branch(nn.Module):
    """`relu(x + norm(conv(x)))` on one stage; after training one convolution (`folded`)."""

    def __init__(self, channels: int, *, norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.norm: nn.Module = nn.BatchNorm2d(channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, channels, rows, columns)`, as it came in."""
        return torch.relu(x + self.norm(self.conv(x)))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight `(channels, channels)` and bias `(channels,)` of the convolution with its norm."""
        weight, bias = self.conv.weight.detach()[:, :, 0, 0], self.conv.bias
        assert bias is not None
        bias = bias.detach()
        if not isinstance(self.norm, nn.BatchNorm2d):
            return weight, bias
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        factor = self.norm.weight.detach() / (variance + self.norm.eps).sqrt()
        return weight * factor[:, None], (bias - mean) * factor + self.norm.bias.detach()


class AttentionHead(nn.Module):
    """Attention branches and the fusion.

    Parameters
    ----------
    channels
        Of each stage, finest first.
    classes
        How many maps.
    bias
        Whether the fusion has a bias (TAME); P-TAME has none.
    shared
        Whether all classes share one row of the fusion, to which each adds its own (ours). A class's own row
        learns from images of that class only, the shared one from all.
    norm
        Whether branches normalise; False for a head whose norms are folded.
    plain
        Whether features are fused as they are, without branches (L-CAM).
    evidence
        In how many layers the auxiliary network's evidence for the class is read and added to the map (ours),
        each layer half as much as the one behind it. Before training the map is that evidence: rows begin at
        0. These weights are not trained: they soon fit the photos of the training and no others.
    """

    def __init__(
        self,
        channels: Sequence[int],
        classes: int,
        *,
        bias: bool = False,
        shared: bool = False,
        norm: bool = True,
        plain: bool = False,
        evidence: int = 0,
    ) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.branches = nn.ModuleList(nn.Identity() if plain else Branch(c, norm=norm) for c in self.channels)
        width = sum(self.channels)
        self.fusion = nn.Parameter(torch.zeros(classes, width))
        self.bias = nn.Parameter(torch.zeros(classes)) if bias else None
        self.shared = nn.Parameter(torch.zeros(width)) if shared else None
        self.trust: Tensor | None
        self.register_buffer("trust", 0.5 ** torch.arange(evidence).flip(0) if evidence else None)
        if not evidence:
            drawn = self.fusion if self.shared is None else self.shared
            nn.init.uniform_(drawn, -(width**-0.5), width**-0.5)

    def attended(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return each stage behind its branch."""
        return [branch(f) for branch, f in zip(self.branches, features, strict=True)]

    def rows(self, classes: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return `(k, width)` rows of the fusion and `(k,)` biases of some classes."""
        rows = self.fusion[classes]
        bias = None if self.bias is None else self.bias[classes]
        return rows if self.shared is None else rows + self.shared, bias

    def forward(self, features: Sequence[Tensor], classes: Tensor) -> Tensor:
        """Return `(n, rows, columns)` maps on the finest grid, before any sigmoid.

        Parameters
        ----------
        features
            `(n, channels, rows, columns)` of each stage; then, where it is taken, `(n, 1, rows, columns)` of
            each layer of evidence.
        classes
            `(n,)`, the class of each sample.
        """
        stages, evidence = self._parted(features)
        attended, (rows, bias) = self.attended(stages), self.rows(classes)
        parts = rows.split(self.channels, 1)
        size = tuple(attended[0].shape[2:])
        maps = [
            resize(torch.einsum("nchw,nc->nhw", a, part), size)
            for a, part in zip(attended, parts, strict=True)
        ]
        maps += [resize(e[:, 0], size) for e in evidence]
        return torch.stack(maps).sum(0) + (0 if bias is None else bias[:, None, None])

    def every(self, features: Sequence[Tensor], classes: Tensor) -> Tensor:
        """Return `(n, k, rows, columns)` maps of `(k,)` classes, the same for all samples.

        Each layer of evidence is `(n, k, rows, columns)` here.
        """
        stages, evidence = self._parted(features)
        attended, (rows, bias) = self.attended(stages), self.rows(classes)
        size = tuple(attended[0].shape[2:])
        whole: Tensor | None = None
        for a, part in zip(attended, rows.split(self.channels, 1), strict=True):
            one = _enlarged(torch.einsum("nchw,kc->nkhw", a, part), size)
            whole = one if whole is None else whole + one
        assert whole is not None
        for e in evidence:
            whole = whole + _enlarged(e, size)
        return whole if bias is None else whole + bias[:, None, None]

    def packed(self, coverage: Sequence[int]) -> dict[str, Tensor]:
        """Return weights: branches folded, rows of covered classes, and one row for the others.

        That one is the shared row, or, without one, the mean of all covered rows weighted by their images.
        """
        counts = torch.tensor(coverage, device=self.fusion.device)
        covered = counts.nonzero()[:, 0]
        rows, bias = (t.detach() if t is not None else None for t in self.rows(covered))
        assert rows is not None
        weights = counts[covered].to(rows)
        other = self.shared.detach() if self.shared is not None else (weights @ rows) / weights.sum()
        tensors = {"covered": covered.int(), "fusion": torch.cat([rows, other[None]])}
        if bias is not None:
            tensors["bias"] = torch.cat([bias, ((weights @ bias) / weights.sum())[None]])
        for i, branch in enumerate(self.branches):
            if isinstance(branch, Branch):
                tensors[f"branches.{i}.weight"], tensors[f"branches.{i}.bias"] = branch.folded()
        if self.trust is not None:
            tensors["trust"] = self.trust.detach()
        return tensors

    @classmethod
    def unpacked(cls, tensors: Mapping[str, Tensor], classes: int) -> tuple[AttentionHead, Tensor]:
        """Return the head of `packed` weights, and for each of `classes` classes its row of the fusion."""
        count = sum(name.endswith(".weight") for name in tensors)
        channels = [len(tensors[f"branches.{i}.weight"]) for i in range(count)]
        rows, width = tensors["fusion"].shape
        with torch.device("meta"):
            head = cls(
                channels or [width],
                rows,
                bias="bias" in tensors,
                norm=False,
                plain=not channels,
                evidence=len(tensors.get("trust", ())),
            )
        state = {name: tensors[name].float() for name in ("fusion", "bias", "trust") if name in tensors}
        for i in range(count):
            state[f"branches.{i}.conv.weight"] = tensors[f"branches.{i}.weight"].float()[:, :, None, None]
            state[f"branches.{i}.conv.bias"] = tensors[f"branches.{i}.bias"].float()
        head.load_state_dict(state, assign=True)
        row = torch.full((classes,), len(tensors["covered"]))
        row[tensors["covered"].long()] = torch.arange(len(tensors["covered"]))
        return head.eval().requires_grad_(False), row

    def _parted(self, features: Sequence[Tensor]) -> tuple[Sequence[Tensor], list[Tensor]]:
        """Return the stages, and the layers of evidence behind them, each times its weight."""
        if self.trust is None:
            return features, []
        count = len(self.trust)
        weighed = [t * e for t, e in zip(self.trust, features[-count:], strict=True)]
        return features[:-count], weighed


def _enlarged(maps: Tensor, size: Size) -> Tensor:
    n, k = maps.shape[:2]
    return resize(maps.flatten(0, 1), size).reshape(n, k, *size)
