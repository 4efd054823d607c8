"""Packed block: a part of a network that consists of packed convolutions, with sums and rectifiers inside.

A residual block adds its input to what its last convolution gives, and rectifies the sum: three trips
through memory, of which one is left. Names and places of the modules in it stay; who reads one of them is to
say so before the block is packed (`seewhy.models.packing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from seewhy.models.packed import GATES, Step, differentiates, follow


class PackedBlock(nn.Module):
    """A block that follows some steps.

    Parameters
    ----------
    block
        What answers where the steps cannot: inputs of other sizes and types, gradients of curved rectifiers.
    steps
        Of packed convolutions.
    """

    def __init__(self, block: nn.Module, steps: Sequence[Step]) -> None:
        super().__init__()
        for name, child in block.named_children():
            self.add_module(name, child)
        self.block = (block,)  # in a tuple, since its children are this one's already
        self.steps = tuple(steps)
        self.gated = all(s.rectifier is None or s.rectifier in GATES for s in steps)

    def forward(self, x: Tensor, *rest: Any, **options: Any) -> Tensor:
        """Return what the block does; options are those with which its steps were found."""
        if not self.steps[0].convolution.takes(x) or (differentiates(x) and not self.gated):
            done: Tensor = self.block[0](x, *rest, **options)
            return done
        return follow(x, self.steps)
