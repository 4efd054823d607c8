"""The truth beside the maps: what kind of it a metric compares with, and whether it is that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.errors import BadInput
from seewhy.metrics.base import Metric, MetricNeed
from seewhy.question import Question
from seewhy.types import Maps, Masks, Size


@dataclass(frozen=True)
class TruthKind:
    """One kind of truth, in words.

    Parameters
    ----------
    against
        What a metric compares maps with.
    form
        What to give, before its shape.
    example
        The same as the argument of `evaluate`.
    boolean
        Whether it is boolean; else floating-point.
    """

    against: str
    form: str
    example: str
    boolean: bool


TRUTHS: dict[MetricNeed, TruthKind] = {
    "truth": TruthKind(
        "the place of the evidence",
        "boolean masks",
        "truth=masks with a boolean mask (n, height, width)",
        True,
    ),
    "fixations": TruthKind(
        "the pixels that people looked at",
        "boolean fixations",
        "truth=fixations, boolean (n, height, width), True at each fixated pixel",
        True,
    ),
    "density": TruthKind(
        "how often people looked where",
        "floating-point fixation densities",
        "truth=densities, floating-point (n, height, width), none negative",
        False,
    ),
}
"""By what `Metric.needs` says."""


def needed(metric: Metric) -> MetricNeed | None:
    """Return the kind of truth that a metric compares with, by its name in `TRUTHS`; None for none."""
    return next((need for need in TRUTHS if need in metric.needs), None)


def check_truth(metrics: Sequence[Metric], truth: Tensor | None, shape: Size) -> None:
    """Check a truth for metrics of maps of `shape`, `(n, *size)`.

    Raises
    ------
    BadInput
        When one of them needs a truth and there is none, or one of another kind or shape; when a mask or
        density is empty, or a density no density.
    """
    for metric in metrics:
        need = needed(metric)
        if need is not None:
            _checked(metric.name, need, truth, shape)


def truth_of(question: Question, maps: Maps, metric: Metric) -> Masks | Maps:
    """Return the truth of the question on its device, one for each of the `(n, *size)` maps.

    Boolean masks or fixations, or float64 densities: whichever the metric needs.

    Raises
    ------
    BadInput
        As `check_truth` does.
    """
    need = needed(metric)
    assert need is not None, f"{metric.name} does not say which truth it needs"
    truth = _checked(metric.name, need, question.truth, tuple(maps.shape)).to(question.x.device)
    return truth if TRUTHS[need].boolean else truth.double()


def finite(flat: Tensor) -> Tensor:
    """Return `(n,)` bool: which rows hold neither NaN nor infinity."""
    sound: Tensor = flat.isfinite().all(1)
    return sound


def _checked(metric: str, need: MetricNeed, truth: Tensor | None, shape: Size) -> Tensor:
    asked, kind = f"Asked for {metric}", TRUTHS[need]
    if truth is None:
        raise BadInput(
            asked,
            f"It compares maps with {kind.against}, and no truth was given",
            f"In Python: seewhy.evaluate(..., {kind.example})",
        )
    right = truth.dtype == torch.bool if kind.boolean else truth.is_floating_point()
    if not right or tuple(truth.shape) != tuple(shape):
        raise BadInput(
            asked,
            f"Found a truth of shape {tuple(truth.shape)} of {str(truth.dtype).removeprefix('torch.')}",
            f"It compares maps with {kind.against}: give {kind.form} {tuple(shape)}, at the size that the "
            "model sees",
        )
    flat, noun = truth.flatten(1), "mask" if kind.boolean else "density"
    if not kind.boolean and not bool((flat.isfinite() & (flat >= 0)).all()):
        raise BadInput(
            asked, "Some densities are negative or not finite", "Give how often people looked, 0 or more"
        )
    empty = (flat != 0).any(1).logical_not().nonzero().flatten().tolist()
    if empty:
        raise BadInput(
            asked, f"The {noun} of sample {empty[0]} is empty", "Leave out samples without evidence to find"
        )
    return truth
