"""The score of an input behind its own map (average drop, increase in confidence, ADCC)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seewhy.methods.base import require
from seewhy.metrics.faithfulness.usable import Usable
from seewhy.perturb.map_masks import MapMasks
from seewhy.perturb.operators import operator
from seewhy.perturb.ranks import ranks
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question
from seewhy.types import Json, Maps, Scores


def require_share(keep: float) -> None:
    """Raise `BadInput` for a share of pixels that is not above 0 and at most 100 per cent."""
    require(
        0 < keep <= 100, "Asked for a share of pixels to keep", keep, "Give per cent: above 0, at most 100"
    )


def kept_pixels(places: int, keep: float) -> int:
    """Return how many of `places` pixels `keep` per cent are: rounded, halves up, at least 1."""
    return max(1, math.floor(places * keep / 100 + 0.5))


def soft_mask(known: Usable, keep: float) -> Maps:
    """Return `(n, *size)` in [0, 1]: maps scaled to 0 .. 1, and 0 beyond the `keep` per cent highest pixels.

    What stays keeps its value; of equal values the first in row-major order stays.
    """
    mask = known.unit()
    if keep >= 100:
        return mask
    first = ranks(known.maps) < kept_pixels(known.maps[0].numel(), keep)
    return mask * first


def behind_masks(question: Question, masks: Maps, fill: str, what: str) -> tuple[Scores, Scores, Json]:
    """Score each input as it is and behind its own mask, in one queue.

    Parameters
    ----------
    question
        Inputs, target and options of the run.
    masks
        `(n, *size)` in [0, 1].
    fill
        The operator that fills what is masked.
    what
        Name of the work, for progress.

    Returns
    -------
    tuple
        `(n,)` float64 scores of the inputs, `(n,)` behind the masks, and the scorer's notes.
    """
    scorer = Scorer(question, what)
    both = torch.stack([torch.ones_like(masks), masks], 1)
    scores = scorer.table(MapMasks(both, operator(fill).behind(question))).double()
    return scores[:, 0], scores[:, 1], scorer.notes()


def drop(whole: Tensor, masked: Tensor) -> Tensor:
    """Return `max(0, whole - masked) / whole`, NaN where `whole` is not above 0."""
    return ((whole - masked).clamp_min(0) / whole).masked_fill(whole <= 0, float("nan"))


def reasons(known: Usable, whole: Scores) -> list[str | None]:
    """Return for each sample why there is no `drop`, or None."""
    pairs = zip(known.why, (whole <= 0).tolist(), strict=True)
    return [why or ("score not above 0" if low else None) for why, low in pairs]
