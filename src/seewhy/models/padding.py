"""Padding: how many zeros a convolution puts around its input, found by trying.

Convolutions of foreign classes pad as they like: as TensorFlow does, below and on the right; or they are no
convolution with their weights at all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from seewhy.models.packed import Margins

_ALIKE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}
"""Largest distance of what a convolution is thought to do, as a part of the length of its result."""


def margins(m: nn.Conv2d, x: Tensor, output: Tensor) -> Margins | None:
    """Return how a convolution pads with zeros; None for one that does anything else.

    Parameters
    ----------
    m
        Frozen.
    x, output
        `(n, c, h, w)` that it took and gave.
    """
    if x.ndim != 4 or "weight" not in m._parameters or x.dtype not in _ALIKE:
        return None
    (down, across), (apart_down, apart_across) = m.stride, m.dilation
    high, wide = m.kernel_size
    tall = (output.shape[2] - 1) * down + apart_down * (high - 1) + 1 - x.shape[2]
    broad = (output.shape[3] - 1) * across + apart_across * (wide - 1) + 1 - x.shape[3]
    above, left = max(tall, 0) // 2, max(broad, 0) // 2
    tries = [(left, max(broad, 0) - left, above, max(tall, 0) - above)]
    if not isinstance(m.padding, str):
        tries.insert(0, (m.padding[1], m.padding[1], m.padding[0], m.padding[0]))
    for found in tries:
        y = functional.conv2d(functional.pad(x, found), m.weight, m.bias, m.stride, 0, m.dilation, m.groups)
        if y.shape == output.shape:
            gap, length = (float(t.float().norm()) for t in (y - output, output))
            if gap <= _ALIKE[x.dtype] * length:
                return found
    return None
