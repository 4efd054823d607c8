"""The gradient of a convolution's input, from that of its output, by the kernel that suits it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from seewhy.models.onednn import At, Weight
from seewhy.models.turned import phases, turned

How: TypeAlias = Literal["turned", "spread", "phases", "torch", "cudnn"]

_FEW = 64
"""Channels that a gradient may have when all cells of a stride are channels."""


class InputGradient:
    """Takes gradients back through one convolution.

    Parameters
    ----------
    weight
        `(k, c / groups, h, w)`.
    at
        How the convolution goes over its input; its zeros are those of `margins`, or 0 where these are
        unequal.
    margins
        Zeros left, right, above and below of the input.
    size
        `(c, h, w)` of the input.
    """

    def __init__(self, weight: Tensor, at: At, margins: Sequence[int], size: Sequence[int]) -> None:
        self.weight, self.at, self.size = weight, at, list(size)
        around, stride, dilation, _ = at
        self.margins = list(margins)
        self.even = around == [margins[2], margins[0]] == [margins[3], margins[1]]
        """Whether the convolution itself puts the zeros there."""
        self.reach = [d * (side - 1) for d, side in zip(dilation, weight.shape[2:], strict=True)]
        grown = [size[1] + margins[2] + margins[3], size[2] + margins[0] + margins[1]]
        self.out = [(g - r - 1) // s + 1 for g, r, s in zip(grown, self.reach, stride, strict=True)]
        self.how = self._how()
        """How it is done: by a convolution with turned weights, by one whose result is spread over a stride,
        by one that gives all cells of a stride as channels, or by torch, on accelerators by cuDNN."""
        self._made: dict[torch.dtype, Weight | Tensor] = {}

    def __call__(self, slope: Tensor, more: Tensor | None = None) -> Tensor:
        """Return the gradient, `(n, c, h, w)`.

        Parameters
        ----------
        slope
            Gradient of the output, `(n, k, *out)`.
        more
            `(n, c, h, w)` to add to it.
        """
        if slope.dtype not in self._made:
            self._made[slope.dtype] = self._make(slope.dtype)
        weight, step = self._made[slope.dtype], self.at[1][0]
        if isinstance(weight, Tensor):
            found = self._by_torch(slope, weight)
        elif self.how == "turned":
            return weight.convolve(slope, shortcut=more)
        elif self.how == "phases":
            found = functional.pixel_shuffle(weight.convolve(slope), step)
        else:
            found = slope.new_zeros((len(slope), *self.size)) if more is None else more.clone()
            found[:, :, ::step, ::step] += weight.convolve(slope)
            return found
        return found if more is None else found.add_(more)

    def _how(self) -> How:
        around, (step, other), dilation, groups = self.at
        if self.weight.device.type != "cpu":
            return "cudnn"
        if step == other == 1:
            fits = self.even and all(a <= r for a, r in zip(around, self.reach, strict=True))
            return "turned" if fits else "torch"
        if step == other and dilation == [1, 1] and groups == 1:
            if [step * o for o in self.out] == self.size[1:] and self.size[0] * step**2 <= _FEW:
                return "phases"
            if self.reach == [0, 0] and not any(self.margins):
                return "spread"
        return "torch"

    def _make(self, dtype: torch.dtype) -> Weight | Tensor:
        around, (step, _), dilation, groups = self.at
        weight, size = self.weight, [len(self.weight), *self.out]
        match self.how:
            case "torch" | "cudnn":
                return weight.to(dtype)
            case "phases":
                weight, zeros = phases(weight, step, self.margins[2], self.margins[0])
            case "turned" | "spread":
                zeros = [r - a for r, a in zip(self.reach, around, strict=True)]
                weight = turned(weight, groups)
        return Weight(weight.to(dtype), (zeros, [1, 1], dilation, groups), size)

    def _by_torch(self, slope: Tensor, weight: Tensor) -> Tensor:
        around, stride, dilation, groups = self.at
        left, right, above, below = (0, 0, 0, 0) if self.even else self.margins
        channels, high, wide = self.size
        grown = [len(slope), channels, high + above + below, wide + left + right]
        if self.how == "cudnn":
            # torch's gradient copies the input before it looks at its shape alone; this does not ask for one.
            done = [s * (o - 1) + r + 1 for s, o, r in zip(stride, self.out, self.reach, strict=True)]
            rest = [g - d + 2 * a for g, d, a in zip(grown[2:], done, around, strict=True)]
            found: Tensor = functional.conv_transpose2d(
                slope, weight, None, stride, around, rest, groups, dilation
            )
            return found[:, :, above : above + high, left : left + wide]
        gradient: Any = torch.ops.aten.convolution_backward
        like, wanted = slope.new_empty(1).expand(grown), [True, False, False]
        raw = gradient(slope, like, weight, None, stride, around, dilation, False, [0, 0], groups, wanted)
        found = raw[0]
        return found[:, :, above : above + high, left : left + wide]
