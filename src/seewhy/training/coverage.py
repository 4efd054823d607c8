"""Coverage: how many images trained each class. A class's map can be no better than that."""

from __future__ import annotations

from torch import Tensor

from seewhy.methods.learned.explainer import FEW
from seewhy.types import Json


def told(coverage: Tensor) -> str:
    """Return coverage, `(classes,)` counts, in a few words: "87 of 1000 classes covered, 61 well"."""
    some, well = int((coverage > 0).sum()), int((coverage >= FEW).sum())
    return f"{some} of {len(coverage)} classes covered, {well} well"


def table(coverage: Tensor | tuple[int, ...]) -> Json:
    """Return the numbers that a user decides by: classes without images, with few, with enough."""
    counts = coverage.tolist() if isinstance(coverage, Tensor) else list(coverage)
    return {
        "classes": len(counts),
        "covered": sum(c > 0 for c in counts),
        "few": sum(0 < c < FEW for c in counts),
        "well": sum(c >= FEW for c in counts),
        "images": sum(counts),
    }
