"""The truth beside the maps: one mask a map, checked."""

from __future__ import annotations

from torch import Tensor

from seewhy.errors import BadInput
from seewhy.question import Question
from seewhy.types import Maps, Masks


def masks_of(question: Question, maps: Maps, metric: str) -> Masks:
    """Return the masks of the question, on its device, one for each of the `(n, *size)` maps.

    Raises
    ------
    BadInput
        When there is no truth, a mask is empty, or maps and masks differ in shape.
    """
    masks = question.truth
    if masks is None:
        raise BadInput(
            f"Asked for {metric}",
            "It compares maps with the place of the evidence, and no truth was given",
            "In Python: seewhy.evaluate(..., truth=masks) with a boolean mask (n, height, width)",
        )
    if masks.shape != maps.shape:
        raise BadInput(
            f"Asked for {metric} of maps of shape {tuple(maps.shape)}",
            f"The masks have the shape {tuple(masks.shape)}",
            "Give one map a mask, both at input resolution",
        )
    if not bool(masks.flatten(1).any(1).all()):
        raise BadInput(f"Asked for {metric}", "A mask is empty", "Leave out samples without evidence to find")
    return masks.to(question.x.device)


def finite(flat: Tensor) -> Tensor:
    """Return `(n,)` bool: which rows hold neither NaN nor infinity."""
    sound: Tensor = flat.isfinite().all(1)
    return sound
