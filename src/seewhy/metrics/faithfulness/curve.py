"""The score while units are hidden, or shown, one after the other in the order of a map."""

from __future__ import annotations

from torch import trapezoid

from seewhy.metrics.base import Scored
from seewhy.metrics.faithfulness.units import order
from seewhy.metrics.faithfulness.usable import usable
from seewhy.perturb.operators import operator
from seewhy.perturb.ranks import RankEdits
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question
from seewhy.types import Maps


def curve(
    question: Question,
    maps: Maps,
    fill: str,
    steps: int,
    what: str,
    units: str = "pixels",
    *,
    insert: bool = False,
) -> Scored:
    """Score the inputs without their first units, or without all others, and the area under these scores.

    Parameters
    ----------
    question
        Inputs, target and options of the run.
    maps
        `(n, *size)`; the highest value changes first, equal values in row-major order.
    fill
        The operator that fills what is hidden.
    steps
        At most so many.
    what
        Name of the work, for progress.
    units
        What changes at once: "pixels", "grid:N" or "slic:N" (see `units`).
    insert
        Whether the first units are shown, and all others hidden.

    Returns
    -------
    Scored
        The area by the trapezoid rule over the true share of units changed. NaN for a map without an order:
        one that holds NaN or infinity, or is the same everywhere; `notes` has the share of tied units and
        the reason.
    """
    ranked = order(question, usable(question, maps), units, steps)
    scorer = Scorer(question, what)
    edits = RankEdits(ranked.places, ranked.edges, operator(fill).behind(question), insert=insert)
    scores = scorer.table(edits)
    area = trapezoid(scores.double(), ranked.at, dim=1)
    known = ranked.known
    notes = {"tied": ranked.tied.tolist(), "undefined": known.why, **scorer.notes()}
    return Scored(known.defined(area), scores, ranked.at.float(), notes)
