"""How a layer's output lies over the input: rows and columns of an image, frames, rows and columns of a clip.

One reader turns CNN maps `(n, c, h, w)`, channels-last stages `(n, h, w, c)` (Swin), tokens `(n, prefix +
h*w, c)` and their video forms into `(n, c, *cells)`, and one writer turns them back.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor

from seewhy.errors import DoesNotFit
from seewhy.types import Size

Layout = Literal["channels_first", "channels_last", "tokens"]


@dataclass(frozen=True)
class Grid:
    """The cells of a layer.

    Parameters
    ----------
    layout
        Where the channels are; "tokens" is `(n, prefix + cells, c)`.
    cells
        `(rows, columns)` or `(frames, rows, columns)`.
    prefix
        Class, register and distillation tokens in front of the cells (layout "tokens").
    space_major
        Clips only: tokens run through the frames of one place before the next place.
    """

    layout: Layout
    cells: Size
    prefix: int = 0
    space_major: bool = False

    def read(self, activation: Tensor) -> Tensor:
        """Return `(n, c, *cells)` of a layer's output; prefix tokens are left out. A view where possible.

        Raises
        ------
        DoesNotFit
            When the output is not of this grid.
        """
        a = activation
        match self.layout:
            case "channels_first":
                grid = a
            case "channels_last":
                grid = a.movedim(-1, 1)
            case "tokens":
                if a.ndim != 3 or a.shape[1] != self.prefix + prod(self.cells):
                    raise self._mismatch(a)
                n, _, c = a.shape
                grid = a[:, self.prefix :].transpose(1, 2).reshape(n, c, *self._order(self.cells))
                if self.space_major:
                    grid = grid.movedim(-1, 2)
        if tuple(grid.shape[2:]) != self.cells:
            raise self._mismatch(a)
        return grid

    def write(self, grid: Tensor, like: Tensor) -> Tensor:
        """Return a layer output that holds `grid` `(n, c, *cells)`, with the prefix tokens of `like`."""
        match self.layout:
            case "channels_first":
                return grid
            case "channels_last":
                return grid.movedim(1, -1)
            case "tokens":
                if self.space_major:
                    grid = grid.movedim(2, -1)
                tokens = grid.flatten(2).transpose(1, 2)
                if not self.prefix:
                    return tokens
                prefix = like[:, : self.prefix].expand(len(tokens), -1, -1)
                return torch.cat([prefix.to(tokens), tokens], 1)

    def _order(self, cells: Size) -> Size:
        return (*cells[1:], cells[0]) if self.space_major else cells

    def _mismatch(self, a: Tensor) -> DoesNotFit:
        return DoesNotFit(
            f"Asked to read a grid of {' x '.join(map(str, self.cells))} cells ({self.layout})",
            f"The layer put out shape {tuple(a.shape)}",
        )
