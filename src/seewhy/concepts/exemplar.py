"""Exemplars: reference samples with the place that made them so, ready to be shown.

For a sample that a channel was relevant for, the map of the score's relevance through that channel; for one
that activated it, the map of the activation itself, handed back by the same rules. A window says where to
look: around what the map shows, or around the strongest cell as far as it sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from seewhy.concepts.collected import Collected, Kind
from seewhy.concepts.receptive_fields import Box, around, receptive_field
from seewhy.concepts.tracing import Traced, traced
from seewhy.errors import DoesNotFit
from seewhy.execution import Execution
from seewhy.methods.base import channel_sum
from seewhy.methods.relevance.conditions import Units
from seewhy.models.grids import Grid
from seewhy.models.model import Model
from seewhy.targets import TargetLike
from seewhy.types import Maps, Size

Window: TypeAlias = Literal["map", "receptive_field", "whole"]
WINDOWS: tuple[Window, ...] = ("map", "receptive_field", "whole")
VISIBLE = 0.2
"""Part of a smoothed map's largest value above which a place counts as shown by it."""
_CORE = 0.5
"""Part of a smoothed map's largest value above which a place is taken into the window."""
_SMALLEST = 0.25
"""Least side of a window around a map, as a part of the input's."""


@dataclass(frozen=True, eq=False)
class Exemplar:
    """One reference sample.

    Parameters
    ----------
    name
        Of the photo.
    index
        Among the inputs that were collected from.
    value
        What it was chosen by.
    label
        Of the target whose relevance is shown, "" for activations.
    map
        `(height, width)` float32, signed.
    strength
        The map's positive part, smoothed, from 0 to 1.
    window
        Where to look, in pixels of the model's input.
    """

    name: str
    index: int
    value: float
    label: str
    map: Tensor
    strength: Tensor
    window: Box


def exemplars(
    model: Model,
    collected: Collected,
    kind: Kind,
    layer: str,
    channel: int,
    target: TargetLike = None,
    execution: Execution | None = None,
    *,
    count: int | None = None,
    window: Window = "map",
    of: int | None = None,
) -> list[Exemplar]:
    """Return a channel's reference samples, best first; those with a value of 0 or less are left out.

    Parameters
    ----------
    model, target
        As they were collected with.
    collected
        The tables.
    kind, layer, channel
        Which of them.
    execution
        Batch size, cancelling.
    count
        At most so many; all by default.
    window
        Around the "map", the "receptive_field" of the strongest cell, or the "whole" input.
    of
        Only samples of this class (needs tables by class).

    Raises
    ------
    BadInput
        When a photo can no longer be read.
    DoesNotFit
        For inputs that are no photos.
    """
    execution = execution or Execution()
    table = collected.tables[kind, layer] if of is None else collected.by_class[of, layer]
    rows = [row for row in table.of(channel)[:count] if row[0] > 0]
    size, found = execution.batch_size or 8, []
    with model.untouched(execution.device):
        for start in range(0, len(rows), size):
            found += _batch(
                model, collected, kind, layer, channel, target, rows[start : start + size], window
            )
    return found


def _batch(
    model: Model,
    collected: Collected,
    kind: Kind,
    layer: str,
    channel: int,
    target: TargetLike,
    rows: Sequence[tuple[float, int, int]],
    window: Window,
) -> list[Exemplar]:
    names = [collected.names[i] for _, i, _ in rows]
    tensors = [model.prepare(name).tensor for name in names]
    if len({t.shape for t in tensors}) > 1:  # a model that keeps sizes
        return [_batch(model, collected, kind, layer, channel, target, [row], window)[0] for row in rows]
    x = torch.cat(tensors).to(model.device, model.dtype)
    if x.ndim != 4:
        raise DoesNotFit("Asked to show reference samples", "They are no photos", "Read the tables instead")
    known = [int(collected.targets[i]) for _, i, _ in rows]
    explained: TargetLike | list[int] = known if min(known) >= 0 else target
    seen = traced(model, x, explained, [layer], collected.settings.rules, checked=False)
    maps = _maps(seen, kind, layer, channel)
    size = tuple(x.shape[2:])
    found = []
    for (value, i, cell), name, one, facts in zip(rows, names, maps, seen.target.descriptions, strict=True):
        strength = smoothed(one)
        place = _window(model, window, layer, seen.places[layer].grid, cell, strength, tuple(x.shape[1:]))
        label = str(facts["label"]) if kind == "relevance" else ""
        box = place if place is not None else tuple((0, s) for s in size)
        found.append(Exemplar(name, i, value, label, one, strength, box))
    return found


def _maps(seen: Traced, kind: Kind, layer: str, channel: int) -> Maps:
    """Return `(n, height, width)`: what the channel hands back, of the score or of its own activation."""
    output = seen.trace.layers[layer]
    gate = seen.places[layer].gate(Units((channel,)), output)
    start = torch.ones_like(output) if kind == "activation" else None
    return channel_sum(seen.trace.through({layer: gate}, start).pixels).cpu()


def smoothed(map_: Tensor) -> Tensor:
    """Return the positive part of an `(h, w)` map, smoothed over a 24th of its side, from 0 to 1."""
    side = max(1, round(max(map_.shape) / 24)) | 1
    v = map_.clamp_min(0)[None, None]
    for _ in range(2):  # a box twice is nearly a Gaussian
        v = avg_pool2d(v, side, stride=1, padding=side // 2, count_include_pad=False)
    return v[0, 0] / v.max().clamp_min(1e-30)


def _window(
    model: Model, window: Window, layer: str, grid: Grid | None, cell: int, strength: Tensor, shape: Size
) -> Box | None:
    size = tuple(shape[1:])
    match window:
        case "map":
            return shown(strength)
        case "receptive_field" if grid is not None:
            at = tuple(int(i) for i in torch.unravel_index(torch.tensor(cell), grid.cells))
            return around(at, grid.cells, receptive_field(model, layer, shape), size)
        case _:
            return None


def shown(strength: Tensor) -> Box:
    """Return the window around the places of an `(h, w)` map from 0 to 1 that are above a half.

    It has the input's proportions, at least a quarter of its sides, and lies inside.
    """
    above = (strength > _CORE).nonzero()
    if not len(above):
        return tuple((0, s) for s in strength.shape)
    low, high = above.amin(0).tolist(), (above.amax(0) + 1).tolist()
    part = max(_SMALLEST, *((b - a) / s for a, b, s in zip(low, high, strength.shape, strict=True)))
    spans = []
    for a, b, side in zip(low, high, strength.shape, strict=True):
        length = min(side, round(part * side))
        start = min(max(0, round((a + b - length) / 2)), side - length)
        spans.append((start, start + length))
    return tuple(spans)
