"""Maps made again: who makes them, and how much they are like the first ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from seewhy.agreement import Agreement, structural_similarity
from seewhy.errors import DoesNotFit
from seewhy.metrics.base import Scored
from seewhy.metrics.faithfulness.usable import Usable
from seewhy.question import Again, Question
from seewhy.types import Json, Maps, Scores

Similarity: TypeAlias = Literal["absolute", "signed", "ssim"]
"""Of two maps; see `compared`."""


def maker(question: Question, what: str) -> Again:
    """Return what makes the scored maps again for the metric `what`.

    Raises
    ------
    DoesNotFit
        When nothing says how the maps were made.
    """
    if question.again is None:
        raise DoesNotFit(
            f"Asked for {what}",
            "Nothing says how the maps were made",
            "Use seewhy.evaluate with the attributions",
        )
    return question.again


def likeness(first: Maps, second: Maps) -> Scores:
    """Return the `(n,)` rank correlations of two sets of maps, ties at their mean rank.

    0 where only the second map is constant: it has nothing in common with any. NaN where the first is.
    """
    first, second = first.cpu().float(), second.cpu().float()
    found = Agreement.of(first, second).spearman
    return found.where(~_constant(second) | _constant(first), torch.zeros(()))


def compared(first: Maps, second: Maps) -> dict[str, Scores]:
    """Return the three similarities of two sets of maps, `(n,)` each; NaN where the first is constant.

    `likeness` of absolute values and of the values as they are, and the structural similarity of absolute
    values scaled to 0 .. 1.
    """
    first, second = first.cpu().float(), second.cpu().float()
    scaled = [_scaled(m.abs()) for m in (first, second)]
    return {
        "absolute": likeness(first.abs(), second.abs()),
        "signed": likeness(first, second),
        "ssim": structural_similarity(*scaled).masked_fill(_constant(first.abs()), torch.nan),
    }


def averaged(known: Usable, found: Sequence[Scores], notes: Json) -> Scored:
    """Return the mean of some `(n,)` similarities to the maps `known`; the notes have them all, as `each`.

    NaN where the first map has no order, or one made again is not finite; the notes say which.
    """
    table = torch.stack([f.cpu() for f in found], 1)
    why = [
        reason or (None if whole else "not finite again")
        for reason, whole in zip(known.why, table.isfinite().all(1).tolist(), strict=True)
    ]
    undefined = torch.tensor([reason is not None for reason in why])
    each = [None if w else row for w, row in zip(why, table.tolist(), strict=True)]
    values = table.mean(1).masked_fill(undefined, torch.nan)
    return Scored(values, notes={"undefined": why, "each": each, **notes})


def _constant(maps: Maps) -> Tensor:
    flat = maps.flatten(1)
    return flat.amax(1) == flat.amin(1)


def _scaled(maps: Maps) -> Maps:
    """Return each map from 0 to 1; a constant one is 0."""
    shape = (-1, *[1] * (maps.ndim - 1))
    low, high = maps.flatten(1).amin(1).reshape(shape), maps.flatten(1).amax(1).reshape(shape)
    return (maps - low) / torch.where(high > low, high - low, torch.ones_like(high))
