"""Units of a curve: what changes at once. Single pixels, patches of a grid, or superpixels.

"pixels" are the published units. "grid:N" cuts height and width into N parts each, "slic:N" makes about N
superpixels of similar colour (see `seewhy.perturb.segments`); a unit ranks by the mean of the map over it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from seewhy.metrics.faithfulness.usable import Usable
from seewhy.perturb.ranks import ranks, tied
from seewhy.perturb.segments import grid_count, parse, segments
from seewhy.question import Question
from seewhy.types import Size


@dataclass(frozen=True)
class Order:
    """In which order the units of each sample change, and how many by each step.

    Parameters
    ----------
    known
        The maps; those whose units all have the same mean count as constant.
    places
        `(n, *size)` int: the place of each pixel's unit, 0 first.
    edges
        `(n or 1, steps + 1)` int: how many units have changed before the first step and after each.
    at
        `(steps + 1,)` float64: the same as a share of all.
    tied
        `(n,)` share of the units whose value occurs again.
    """

    known: Usable
    places: Tensor
    edges: Tensor
    at: Tensor
    tied: Tensor


def check_units(text: str) -> None:
    """Raise `BadInput` for units that are neither "pixels" nor segments."""
    if text != "pixels":
        parse(text)


def step_pixels(places: int, steps: int) -> int:
    """Return how many pixels (voxels of a clip) each of at most `steps` steps changes to change all `places`.

    224 steps over 224 x 224 pixels are 224 pixels each, the published setting.
    """
    return -(-places // steps)


def step_count(size: Size, steps: int, units: str = "pixels") -> int:
    """Return how many steps change every unit: at most `steps`, and no more than there are units.

    Of superpixels there are about as many as were asked for; with fewer, some steps change none.
    """
    if units == "pixels":
        return -(-prod(size) // step_pixels(prod(size), steps))
    kind, number = parse(units)
    return min(steps, grid_count(size, number) if kind == "grid" else number)


def order(question: Question, known: Usable, units: str, steps: int) -> Order:
    """Rank the units of each sample by its map, the highest first, equal ones in row-major order.

    Pixels go `step_pixels` a step; the last step may have fewer. Of other units, after step `j` of `s` the
    share `j / s` has changed, rounded to whole units, halves up.
    """
    size = tuple(known.maps.shape[1:])
    count = step_count(size, steps, units)
    along = torch.arange(count + 1, device=known.maps.device)
    if units == "pixels":
        edges = (along * step_pixels(prod(size), steps)).clamp(max=prod(size))[None]
        at = edges[0].double() / prod(size)
        return Order(known, ranks(known.maps), edges, at, tied(known.maps))
    cut = segments(question, units)
    places, shares, same = torch.empty_like(cut.labels), [], []
    for i, (labels, many) in enumerate(zip(cut.labels, cut.counts, strict=True)):
        means = _means(known.maps[i], labels, many)[None]
        places[i] = ranks(means)[0][labels]
        shares.append(tied(means)[0])
        same.append(bool((means == means[0, 0]).all()))
    of = torch.tensor(cut.counts, device=along.device)[:, None]
    flat = known.constant | torch.tensor(same, device=known.constant.device)
    edges = (2 * along * of + count) // (2 * count)
    return Order(replace(known, constant=flat), places, edges, along.double() / count, torch.stack(shares))


def _means(heat: Tensor, labels: Tensor, count: int) -> Tensor:
    """Return the `(count,)` means of `(*size,)` values over segments, float32."""
    sums = torch.zeros(count, dtype=torch.float64)
    sums.index_add_(0, labels.flatten().cpu(), heat.flatten().double().cpu())
    return (sums / labels.flatten().cpu().bincount(minlength=count)).float().to(heat.device)
