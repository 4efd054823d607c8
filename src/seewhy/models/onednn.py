"""oneDNN's convolution as torch's compiler calls it: weights in its own order, and more in the same kernel.

The kernels are inductor's, and promised to nobody else: ask `able` before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Rectifier: TypeAlias = type[nn.Module]
"""One of `KERNELS`."""
At: TypeAlias = tuple[list[int], list[int], list[int], int]
"""Zeros around the input, strides and dilations, down and across each; and groups."""

KERNELS: dict[Rectifier, tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
    nn.Hardswish: ("hardswish", []),
}
"""Rectifiers that oneDNN knows: its name and numbers for them."""
_AFTER: dict[Rectifier, nn.Module] = {
    nn.ReLU6: nn.ReLU6(inplace=True),
    nn.SiLU: nn.SiLU(inplace=True),
    nn.Hardswish: nn.Hardswish(inplace=True),
}
"""What rectifies behind a sum, where the kernel knows ReLU alone."""
_ONE, _MANY = 1, 2


def able() -> bool:
    """Tell whether this torch has the kernels."""
    wanted = ("_convolution_pointwise", "_reorder_convolution_weight")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in wanted)


class Weight:
    """The weights of a convolution, in oneDNN's order for inputs of one size.

    oneDNN may order them otherwise for a single input, and brings them back with every call where they are
    not as it likes them; from two inputs on the order is the same.

    Parameters
    ----------
    weight
        `(k, c / groups, h, w)`, in single precision or bf16.
    at
        How the convolution goes over its input.
    size
        `(c, h, w)` of the inputs.
    """

    def __init__(self, weight: Tensor, at: At, size: Sequence[int]) -> None:
        self.at, self._weight, self._size = at, weight, list(size)
        self._ordered: dict[int, Tensor] = {}

    def convolve(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        rectifier: Rectifier | None = None,
        shortcut: Tensor | None = None,
    ) -> Tensor:
        """Return `rectifier(convolution(x) + bias + shortcut)`, without a graph."""
        kernel: Any = torch.ops.mkldnn._convolution_pointwise
        weight = self._order(_ONE if len(x) == 1 else _MANY)
        name, numbers = ("none", []) if rectifier is None else KERNELS[rectifier]
        if shortcut is None:
            done: Tensor = kernel(x, weight, bias, *self.at, name, numbers, "")
            return done
        inside = name if rectifier is nn.ReLU else None  # behind a sum the kernel knows no other
        done = kernel.binary(x, shortcut, weight, bias, *self.at, "add", 1.0, inside, [], None)
        if rectifier is not None and inside is None:
            done = _AFTER[rectifier](done)
        return done

    def _order(self, many: int) -> Tensor:
        if many not in self._ordered:
            order: Any = torch.ops.mkldnn._reorder_convolution_weight
            self._ordered[many] = order(self._weight, *self.at, [many, *self._size])
        return self._ordered[many]
