"""The score while pixels go from one picture to another in the order of a map (deletion, insertion)."""

from __future__ import annotations

from torch import Tensor, arange, trapezoid

from seewhy.metrics.base import Scored
from seewhy.metrics.faithfulness.usable import usable
from seewhy.perturb.ranks import RankEdits, ranks, tied
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question
from seewhy.types import Maps


def step_pixels(places: int, steps: int) -> int:
    """Return how many pixels (voxels of a clip) each of at most `steps` steps changes to change all `places`.

    224 steps over 224 x 224 pixels are 224 pixels each, the published setting.
    """
    return -(-places // steps)


def step_count(places: int, steps: int) -> int:
    """Return how many steps `step_pixels` makes: at most `steps`, the last one perhaps smaller."""
    return -(-places // step_pixels(places, steps))


def curve(question: Question, maps: Maps, start: Tensor, finish: Tensor, steps: int, what: str) -> Scored:
    """Score the pictures between `start` and `finish` and the area under them.

    Parameters
    ----------
    question
        Inputs, target and options of the run.
    maps
        `(n, *size)`; the highest value changes first, equal values in row-major order.
    start, finish
        `(n, c, *size)`, or broadcastable to it.
    steps
        See `step_pixels`.
    what
        Name of the work, for progress.

    Returns
    -------
    Scored
        The area by the trapezoid rule over the true share of pixels changed. NaN for a map without an order:
        one that holds NaN or infinity, or is the same everywhere; `notes` has the share of tied pixels and
        the reason.
    """
    known = usable(question, maps)
    flat = known.maps.flatten(1)
    pixels = step_pixels(flat.shape[1], steps)
    scorer = Scorer(question, what)
    scores = scorer.table(RankEdits(ranks(known.maps), start, finish, pixels))
    at = (arange(scores.shape[1], device=scores.device) * pixels).clamp(
        max=flat.shape[1]
    ).double() / flat.shape[1]
    area = trapezoid(scores.double(), at, dim=1)
    notes = {"tied": tied(known.maps).tolist(), "undefined": known.why, **scorer.notes()}
    return Scored(known.defined(area), scores, at.float(), notes)
