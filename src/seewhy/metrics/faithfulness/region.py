"""The first share of the units, in the order of a map, at which a score is kept or gone."""

from __future__ import annotations

from dataclasses import replace

import torch

from seewhy.methods.base import require
from seewhy.metrics.base import Scored
from seewhy.metrics.faithfulness.curve import curve
from seewhy.metrics.faithfulness.units import check_units
from seewhy.perturb.operators import operator
from seewhy.question import Question
from seewhy.types import Maps


def check_region(level: float, steps: int, fill: str, units: str) -> None:
    """Raise `BadInput` for parameters out of range."""
    require(0 < level <= 1, "Asked for a share of the score", level, "Give one above 0, at most 1")
    require(steps >= 1, "Asked for steps towards a region", steps, "Give at least 1")
    operator(fill)
    check_units(units)


def first_share(
    question: Question,
    maps: Maps,
    level: float,
    fill: str,
    steps: int,
    units: str,
    what: str,
    *,
    insert: bool,
) -> Scored:
    """Return the least share of the units that keeps `level` of the score, or leaves no more than that.

    Parameters
    ----------
    question, maps, fill, steps, units, what
        As in `curve`.
    level
        Share of the score of the whole input.
    insert
        Whether the first units are shown alone, and the score is to be kept; else they are hidden, and it is
        to go.

    Returns
    -------
    Scored
        `(n,)` shares. NaN where the map has no order, the score is not above 0, or no share will do; the
        notes say which.
    """
    found = curve(question, maps, fill, steps, what, units, insert=insert)
    assert found.curve is not None
    assert found.at is not None
    assert found.notes is not None
    whole = question.clean.double()
    bar = level * whole[:, None]
    reached = found.curve.double() >= bar if insert else found.curve.double() <= bar
    if insert:  # the whole input suffices, whatever the arithmetic of its pass
        reached[:, -1] = True
    first = reached.int().argmax(1)
    low, never = (whole <= 0).tolist(), (~reached.any(1)).tolist()
    why = [
        w or ("score not above 0" if zero else "never gone" if n else None)
        for w, zero, n in zip(found.notes["undefined"], low, never, strict=True)
    ]
    undefined = torch.tensor([w is not None for w in why], device=first.device)
    values = found.at[first].masked_fill(undefined, float("nan"))
    return replace(found, values=values, notes={**found.notes, "undefined": why})
