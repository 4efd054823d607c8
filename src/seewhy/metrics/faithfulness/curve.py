"""The score while pixels go from one picture to another in the order of a map (deletion, insertion)."""

from __future__ import annotations

from torch import Tensor, arange, trapezoid

from seewhy.errors import BadInput
from seewhy.metrics.base import Scored
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
    size = tuple(question.x.shape[2:])
    if tuple(maps.shape[1:]) != size or len(maps) != len(question.x):
        raise BadInput(
            f"Asked to score maps of shape {tuple(maps.shape)}",
            f"The inputs are {len(question.x)} of size {size}",
            "Give one map an input, at its resolution",
        )
    maps = maps.to(question.x.device).float()
    finite = maps.flatten(1).isfinite().all(1)
    maps = maps.where(finite.reshape(-1, *[1] * len(size)), maps.new_zeros(()))
    flat = maps.flatten(1)
    constant = flat.amax(1) == flat.amin(1)
    pixels = step_pixels(flat.shape[1], steps)
    scorer = Scorer(question, what)
    scores = scorer.table(RankEdits(ranks(maps), start, finish, pixels))
    at = (arange(scores.shape[1], device=scores.device) * pixels).clamp(
        max=flat.shape[1]
    ).double() / flat.shape[1]
    undefined = constant | ~finite
    area = trapezoid(scores.double(), at, dim=1).float().masked_fill(undefined, float("nan"))
    why = [
        "not finite" if not f else "constant" if c else None
        for f, c in zip(finite.tolist(), constant.tolist(), strict=True)
    ]
    return Scored(area, scores, at.float(), {"tied": tied(maps).tolist(), "undefined": why, **scorer.notes()})
