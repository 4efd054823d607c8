"""Reference samples: for every channel the inputs with the largest values, merged batch by batch.

The table holds `count` rows a channel whatever the number of inputs. Merging is associative and ties go to
the input that came first, so that batches, interruptions and shards change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from seewhy.errors import BadInput

Pooling: TypeAlias = Literal["sum", "max"]
NOBODY = -1
"""Index of an input in a place that is still free."""


@dataclass(frozen=True, eq=False)
class References:
    """The best inputs of each channel, best first.

    Parameters
    ----------
    values
        `(count, channels)` float32; minus infinity where a place is free.
    inputs
        `(count, channels)` int64: index of the input, `NOBODY` where a place is free.
    cells
        `(count, channels)` int64: flat index of the layer's cell with the largest single value.
    """

    values: Tensor
    inputs: Tensor
    cells: Tensor

    @classmethod
    def empty(cls, count: int, channels: int) -> References:
        """Return a table of free places."""
        free = torch.full((count, channels), NOBODY)
        return cls(torch.full((count, channels), -torch.inf), free, free.clone())

    def merged(self, other: References) -> References:
        """Return the best of both, in a table as long as this one; of equal values this one's come first."""
        values = torch.cat([self.values, other.values])
        order = values.sort(dim=0, descending=True, stable=True).indices[: len(self.values)]
        return References(
            values.gather(0, order),
            torch.cat([self.inputs, other.inputs]).gather(0, order),
            torch.cat([self.cells, other.cells]).gather(0, order),
        )

    def take(self, chosen: Tensor) -> References:
        """Return the rows where a `(rows,)` boolean mask is true."""
        return References(self.values[chosen], self.inputs[chosen], self.cells[chosen])

    def of(self, channel: int) -> list[tuple[float, int, int]]:
        """Return (value, input, cell) of a channel's inputs, best first."""
        rows = zip(
            self.values[:, channel].tolist(),
            self.inputs[:, channel].tolist(),
            self.cells[:, channel].tolist(),
            strict=True,
        )
        return [row for row in rows if row[1] != NOBODY]


def rated(cells: Tensor, inputs: Tensor, pooling: Pooling, *, normalised: bool) -> References:
    """Return a table of every input's value in every channel, in the order of the inputs.

    Parameters
    ----------
    cells
        `(n, channels, *cells)` activations or relevances.
    inputs
        `(n,)` int64 indices.
    pooling
        Of the cells to the value: their sum or their maximum.
    normalised
        Whether each input's values are divided by the sum of their magnitudes over the channels, so that
        inputs with large scores do not lead everywhere.
    """
    flat = cells.detach().float().flatten(2).cpu()
    if not bool(flat.isfinite().all()):
        raise BadInput(
            "Asked for reference samples", "Values of a layer are NaN or infinite", "Check the model"
        )
    values = pooled(flat, pooling, normalised=normalised)
    return References(values, inputs[:, None].expand_as(values), flat.argmax(2))


def pooled(flat: Tensor, pooling: Pooling, *, normalised: bool) -> Tensor:
    """Return `(n, channels)` values of `(n, channels, cells)`; see `rated`."""
    values = flat.sum(2) if pooling == "sum" else flat.amax(2)
    size = values.abs().sum(1, keepdim=True)
    return torch.where(size > 0, values / size, 0.0) if normalised else values


@dataclass(frozen=True, eq=False)
class Profile:
    """Mean and spread of each channel's value over inputs: what an interval needs.

    Parameters
    ----------
    count
        Inputs so far.
    sums, squares
        `(channels,)` float64 sums of the values and of their squares.
    """

    count: int
    sums: Tensor
    squares: Tensor

    @classmethod
    def empty(cls, channels: int) -> Profile:
        """Return the profile of no inputs."""
        none = torch.zeros(channels, dtype=torch.float64)
        return cls(0, none, none.clone())

    def with_values(self, values: Tensor) -> Profile:
        """Return the profile with `(n, channels)` more values. Rows are added one by one, in order."""
        sums, squares = self.sums.clone(), self.squares.clone()
        for row in values.double():
            sums += row
            squares += row.square()
        return Profile(self.count + len(values), sums, squares)

    @property
    def means(self) -> Tensor:
        """`(channels,)`: the means; 0 without inputs."""
        return self.sums / max(1, self.count)

    @property
    def margins(self) -> Tensor:
        """`(channels,)`: half of each mean's 95 % interval by Student's t; NaN below 2 inputs."""
        if self.count < 2:
            return torch.full_like(self.sums, torch.nan)
        spread = (self.squares - self.sums.square() / self.count).clamp_min(0) / (self.count - 1)
        return student(self.count - 1) * (spread / self.count).sqrt()


def student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t with that many degrees of freedom, at least 1.

    Exact for 1 and 2, then Fisher's expansion about the normal quantile: off by 0.8 % at 3, less beyond.
    """
    if freedom <= 2:
        return 12.706204736432095 if freedom == 1 else 4.302652729911275
    z, v = 1.959963984540054, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
