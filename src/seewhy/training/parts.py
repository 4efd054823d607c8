"""A batch asked of a frozen network a few inputs at a time: what fits best is fewer than training wants.

A head that normalises needs the whole batch; the frozen networks, which take nearly all of the time, answer
for each input alone. So they are asked in parts as large as a device likes them (`batching`), and what each
input loses is taken back to its own mask at once, before the next part: neither memory nor, on processors,
the time for getting it anew grows with the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seewhy.batching import default_batch_size
from seewhy.types import Batch, Scores


def ranges(x: Batch) -> list[slice]:
    """Return consecutive ranges of `(n, c, *size)` inputs, as large as their device likes them."""
    size = default_batch_size(x, differentiated=True)
    return [slice(start, start + size) for start in range(0, len(x), size)]


def lost_in_parts(x: Batch, mask: Tensor, lose: Callable[[slice, Tensor], Scores]) -> Scores:
    """Return the `(n,)` losses of inputs behind their masks, with their slopes in the masks.

    Parameters
    ----------
    x
        `(n, c, *size)` inputs.
    mask
        `(n, ...)` masks, each of one input.
    lose
        Takes a range of the inputs and their masks, `(k, ...)`, and returns `(k,)` losses, of which each
        depends on its own mask only.
    """
    found = ranges(x)
    if len(found) == 1:
        return lose(slice(0, len(x)), mask)
    losses: Scores = _Parts.apply(mask, found, lose)
    return losses


class _Parts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, mask: Tensor, slices: list[slice], lose: Callable[[slice, Tensor], Tensor]
    ) -> Tensor:
        losses, slopes = [], []
        for some in slices:
            with torch.enable_grad():
                own = mask[some].detach().requires_grad_()
                part = lose(some, own)
                slopes.append(torch.autograd.grad(part.sum(), own)[0])
            losses.append(part.detach())
        ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(losses)

    @staticmethod
    def backward(ctx: Any, *wanted: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * wanted[0].reshape(-1, *[1] * (slopes.ndim - 1)), None, None
