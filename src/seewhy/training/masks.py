"""From maps to the masks that are trained: by the paper's sigmoid, or (ours) as the field measures masks.

- "paper": the sigmoid of the map.
- "shown": the map from 0 to 1, cut to the highest 100, 50 or 15 per cent of its cells, a share drawn for each
  image. The cut is softened, so that cells just below it still learn.
- "surer": the same, cut sharply; the soft cut gives the slope only.
- "ranked": the order of pixels alone. The highest 90, 70, 50, 30 or 15 per cent of the input's pixels are
  shown, as they are, and the others hidden, half of them for a third of the images; the cut is softened in
  units of the map's deviation, so that the map's scale says nothing. Under "shown" and "surer" a map that
  grows to 1 everywhere keeps the answer at 100 per cent and blurs the order that 15 per cent depend on; here
  there is nothing to gain by that.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from seewhy.methods.learned.ptame import unit
from seewhy.perturb.counters import uniform
from seewhy.resize import resize
from seewhy.types import Batch, Cells, Maps, Rows

Objective = Literal["paper", "shown", "surer", "ranked"]
SHARES = (1.0, 0.5, 0.15)
"""Shares of the cells that "shown" and "surer" keep: those at which the field measures masks."""
RANKED = (0.9, 0.7, 0.5, 0.5, 0.3, 0.15)
"""Shares of the pixels that "ranked" shows, each for a sixth of the images."""
_SOFT = 0.05


def masks(z: Cells, x: Batch, objective: Objective) -> Tensor:
    """Return `(n, *)` masks, on the maps' grid or the inputs', from 0 (hidden) to 1.

    Parameters
    ----------
    z
        `(n, rows, columns)` maps before any scaling.
    x
        `(n, c, h, w)` inputs; shares are drawn by their pixels.
    objective
        What is trained.
    """
    match objective:
        case "paper":
            return z.sigmoid()
        case "ranked":
            return highest(z, x)
        case _:
            return cut(unit(z), x, sharp=objective == "surer")


def cut(mask: Cells, x: Batch, *, sharp: bool) -> Cells:
    """Return `(n, rows, columns)` masks in [0, 1] cut to a share of their cells."""
    flat = mask.flatten(1)
    which = _drawn(x, len(SHARES))
    kept = (torch.tensor(SHARES, device=mask.device)[which] * flat.shape[1]).round().long()
    order = flat.detach().sort(1, descending=True).values
    edge = order.gather(1, (kept - 1)[:, None])
    gate = torch.sigmoid((flat - edge) / _SOFT)
    if sharp:
        gate = (flat >= edge).to(gate) + (gate - gate.detach())
    gate = torch.where((which == 0)[:, None], torch.ones_like(gate), gate)
    return (flat * gate).reshape(mask.shape)


def shown(x: Batch) -> Tensor:
    """Return the `(n,)` shares of the pixels that "ranked" shows of each input."""
    return torch.tensor(RANKED, device=x.device)[_drawn(x, len(RANKED))]


def highest(z: Cells, x: Batch) -> Maps:
    """Return `(n, h, w)` masks that show a share of the pixels, the highest of enlarged maps.

    The edge moves with the map: what one pixel gains, others at the edge lose. Without that, maps would learn
    to rise everywhere, which shows nothing more.
    """
    flat = resize(z, x.shape[2:]).flatten(1)
    deviation = flat.std(1, keepdim=True).clamp_min(1e-6)
    which = _drawn(x, len(RANKED))
    edge = torch.empty_like(deviation)
    for i, share in enumerate(RANKED):
        rows = which == i
        hidden = flat.shape[1] - max(1, round(share * flat.shape[1]))
        edge[rows] = flat.detach()[rows].kthvalue(hidden + 1, 1, keepdim=True).values
    width = _SOFT * deviation
    at = torch.sigmoid((flat.detach() - edge) / width.detach())
    part = at * (1 - at)
    part = part / part.sum(1, keepdim=True)
    edge = edge + (part * (flat - flat.detach())).sum(1, keepdim=True)
    return torch.sigmoid((flat - edge) / width).reshape(len(z), *x.shape[2:])


def _drawn(x: Batch, choices: int) -> Rows:
    """Return `(n,)` numbers below `choices`, drawn by each image's pixels."""
    key = x.detach().float().flatten(1)[:, ::97].sum(1).mul(4096).long().abs()
    return (uniform(0, key, 1)[:, 0] * choices).long()
