"""Conditions on relevance: which channels, units or directions of a layer may hand it on.

A condition is written down as `LAYER: 17, 80`, several layers apart by semicolons: within a layer any of the
channels will do, from layer to layer all conditions must be met. `17@3x5` is channel 17 in row 3 and column 5
alone; `top` and `top 3` are the channels with the most relevance, for each sample its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from seewhy.errors import BadInput
from seewhy.methods.relevance.propagation import Gate, Relevance, Trace
from seewhy.models.grids import Grid
from seewhy.models.layers import grid_of
from seewhy.models.model import Model
from seewhy.types import Size

_UNIT = re.compile(r"(\d+)(?:@(\d+(?:x\d+)+))?")
_TOP = re.compile(r"top(?:\s+(\d+))?")


@dataclass(frozen=True)
class Units:
    """Channels of a layer, or single units of them.

    Parameters
    ----------
    channels
        Indices; none lets nothing pass.
    cells
        For each channel the one grid position that counts, `(row, column)` or `(frame, row, column)`; None
        for all of them, class and register tokens included.
    """

    channels: tuple[int, ...]
    cells: tuple[tuple[int, ...] | None, ...] = ()

    def __post_init__(self) -> None:
        if self.cells and len(self.cells) != len(self.channels):
            raise BadInput(
                f"Asked for {len(self.channels)} channels",
                f"Found cells for {len(self.cells)} of them",
                "Give a cell or None for each channel, or no cells at all",
            )


@dataclass(frozen=True)
class Strongest:
    """For each sample the `count` channels whose relevance has the largest sum over the layer."""

    count: int = 1


@dataclass(frozen=True, eq=False)
class Subspace:
    """Directions of a layer's channels instead of channels: relevance goes on through their span.

    Parameters
    ----------
    directions
        `(k, channels)`, linearly independent; their lengths and angles do not matter, only their span.
    """

    directions: Tensor


Condition: TypeAlias = Units | Strongest | Subspace


@dataclass(frozen=True)
class Place:
    """A layer's output: where its channels are, and its cells where it has a grid.

    Parameters
    ----------
    name
        Of the layer.
    channels
        How many.
    grid
        None for a layer that puts out vectors `(n, channels)`.
    """

    name: str
    channels: int
    grid: Grid | None

    @classmethod
    def of(cls, model: Model, layer: str, output: Tensor, input_shape: Size) -> Place:
        """Return where the channels of a layer's `output` are.

        Raises
        ------
        DoesNotFit, UnknownName
            For a layer that has neither vectors nor a grid.
        """
        grid = None if output.ndim == 2 else grid_of(model, layer, input_shape)
        return cls(layer, output.shape[1 if grid is None or grid.layout == "channels_first" else -1], grid)

    def by_channel(self, t: Tensor) -> Tensor:
        """Return `(n, channels, rest)` of something shaped like the output, prefix tokens included."""
        return t.movedim(self._axis(t), 1).flatten(2) if t.ndim > 2 else t[:, :, None]

    def totals(self, relevance: Tensor) -> Tensor:
        """Return `(n, channels)`: relevance summed over all but samples and channels."""
        return self.by_channel(relevance).sum(2)

    def cells(self, t: Tensor) -> Tensor:
        """Return `(n, channels, *cells)`; a single cell for vectors. Prefix tokens are left out."""
        return t[:, :, None, None] if self.grid is None else self.grid.read(t)

    def shaped(self, factors: Tensor, like: Tensor) -> Tensor:
        """Return factors of channels, `(channels,)` or `(n, channels)`, to be broadcast against `like`."""
        shape = [1] * like.ndim
        shape[0] = factors.shape[0] if factors.ndim == 2 else 1
        shape[self._axis(like)] = self.channels
        return factors.reshape(shape)

    def _axis(self, t: Tensor) -> int:
        return 1 if self.grid is None or self.grid.layout == "channels_first" else t.ndim - 1

    def gate(self, condition: Condition, output: Tensor) -> Gate:
        """Return what a condition does to the gradient that carries relevance at this layer.

        Raises
        ------
        BadInput
            For channels, cells or directions that the layer does not have.
        """
        match condition:
            case Units():
                mask = self._mask(condition, output)
                return lambda gradient: gradient * mask
            case Strongest(count):
                return lambda gradient: (
                    gradient
                    * self.shaped(self._leading(self.totals(output.detach() * gradient), count), gradient)
                )
            case Subspace(directions):
                return self._projection(directions)

    def _mask(self, units: Units, output: Tensor) -> Tensor:
        wrong = [c for c in units.channels if not 0 <= c < self.channels]
        if wrong:
            raise BadInput(
                f"Asked for channel {wrong[0]} of {self.name!r}",
                f"It has channels 0 to {self.channels - 1}",
                "Choose among them",
            )
        whole = [c for i, c in enumerate(units.channels) if not units.cells or units.cells[i] is None]
        factors = torch.zeros(self.channels, dtype=output.dtype, device=output.device)
        factors[whole] = 1
        mask = self.shaped(factors, output)
        single = [(c, cell) for c, cell in zip(units.channels, units.cells, strict=False) if cell is not None]
        return torch.maximum(mask, self._spots(single, output)) if single else mask

    def _spots(self, units: list[tuple[int, tuple[int, ...]]], output: Tensor) -> Tensor:
        sides = () if self.grid is None else self.grid.cells
        for channel, cell in units:
            if len(cell) != len(sides) or any(not i < side for i, side in zip(cell, sides, strict=True)):
                raise BadInput(
                    f"Asked for channel {channel} of {self.name!r} in the cell {'x'.join(map(str, cell))}",
                    f"It has {' x '.join(map(str, sides)) or 'no'} cells",
                    "Indices begin at 0, rows before columns",
                )
        assert self.grid is not None
        spots = torch.zeros(1, self.channels, *sides, dtype=output.dtype, device=output.device)
        for channel, cell in units:
            spots[(0, channel, *cell)] = 1
        return self.grid.write(spots, torch.zeros_like(output[:1]))

    @staticmethod
    def _leading(totals: Tensor, count: int) -> Tensor:
        """Return `(n, channels)`: 1 at the `count` largest totals, the first of equal ones first."""
        order = totals.argsort(dim=1, descending=True, stable=True)[:, :count]
        return torch.zeros_like(totals).scatter_(1, order, 1.0)

    def _projection(self, directions: Tensor) -> Gate:
        asked = f"Asked for directions of {self.name!r}"
        if directions.ndim != 2 or directions.shape[1] != self.channels or not len(directions):
            raise BadInput(
                asked, f"Found {tuple(directions.shape)}", f"Give (directions, {self.channels} channels)"
            )
        if int(torch.linalg.matrix_rank(directions.double())) < len(directions):
            raise BadInput(
                asked,
                f"Found {len(directions)} that are not linearly independent",
                "Leave out those that others make up",
            )
        basis, _ = torch.linalg.qr(directions.double().T)

        def project(gradient: Tensor) -> Tensor:
            onto = (basis @ basis.T).to(gradient)
            axis = self._axis(gradient)
            projected: Tensor = (gradient.movedim(axis, -1) @ onto).movedim(-1, axis)
            return projected

        return project


def parse(text: str) -> dict[str, Units | Strongest]:
    """Return conditions by layer from their written form (see the module's head).

    Raises
    ------
    BadInput
        For text that is none.
    """
    asked, do = f"Asked for the conditions {text!r}", "Write LAYER: 17, 80; LAYER: top 3; LAYER: 17@3x5"
    found: dict[str, Units | Strongest] = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        layer, colon, listed = (p.strip() for p in part.partition(":"))
        if not colon or not layer or layer in found:
            raise BadInput(asked, f"{part!r} names {'a layer again' if layer in found else 'no layer'}", do)
        if top := _TOP.fullmatch(listed):
            found[layer] = Strongest(max(1, int(top[1] or 1)))
            continue
        units = [_UNIT.fullmatch(u.strip()) for u in listed.split(",")] if listed else []
        if any(u is None for u in units):
            raise BadInput(asked, f"{listed!r} is no list of channels", do)
        cells = tuple(tuple(map(int, u[2].split("x"))) if u and u[2] else None for u in units)
        found[layer] = Units(tuple(int(u[1]) for u in units if u), cells if any(cells) else ())
    return found


def conditional(
    trace: Trace,
    places: Mapping[str, Place],
    conditions: Mapping[str, Condition],
    *,
    bypass: bool = False,
    start: Tensor | None = None,
) -> Relevance:
    """Return the relevance that meets the conditions.

    Parameters
    ----------
    trace, places
        A pass that was followed with the layers of the conditions, and where their channels are.
    conditions
        By layer; without any, everything.
    bypass
        Whether relevance that goes around a layer is kept, too.
    start
        `trace.slope` of the layer nearest the answer, where it is known.
    """
    gates = {name: places[name].gate(c, trace.layers[name]) for name, c in conditions.items()}
    return trace.relevance(gates) if bypass or not gates else trace.through(gates, start)
