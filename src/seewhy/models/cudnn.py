"""cuDNN's convolution with more in the same kernel: a bias, the sum with a shortcut and a rectifier.

Each of them is else one more trip of all activations through an accelerator's memory; in half precision these
trips take about as long as the convolutions themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from seewhy.batching import is_out_of_memory
from seewhy.models.onednn import At, Rectifier

KERNELS: frozenset[Rectifier] = frozenset({nn.ReLU})
"""Rectifiers that cuDNN does in a convolution."""


def able() -> bool:
    """Tell whether this torch has the kernels."""
    wanted = ("cudnn_convolution_relu", "cudnn_convolution_add_relu")
    return torch.backends.cudnn.is_available() and all(hasattr(torch, name) for name in wanted)


class CudnnWeight:
    """The weights of a convolution, channels last.

    Parameters
    ----------
    weight
        `(k, c / groups, h, w)`, on an accelerator.
    at
        How the convolution goes over its input.
    """

    def __init__(self, weight: Tensor, at: At) -> None:
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.zeros, self.stride, self.dilation, self.groups = at
        self.able = self.groups == 1 or weight.shape[1] > 1
        """Whether cuDNN has a kernel for it, as far as is known; for single channels torch's own serves."""

    def convolve(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        rectifier: Rectifier | None = None,
        shortcut: Tensor | None = None,
    ) -> Tensor:
        """Return `rectifier(convolution(x) + bias + shortcut)`, without a graph."""
        if self.able and rectifier is nn.ReLU:
            at = (self.stride, self.zeros, self.dilation)
            try:
                if shortcut is None:
                    return torch.cudnn_convolution_relu(x, self.weight, bias, *at, self.groups)
                return torch.cudnn_convolution_add_relu(x, self.weight, shortcut, 1.0, bias, *at, self.groups)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                self.able = False
        done = functional.conv2d(x, self.weight, bias, self.stride, self.zeros, self.dilation, self.groups)
        done = done if shortcut is None else done.add_(shortcut)
        return done if rectifier is None else rectifier()(done)
