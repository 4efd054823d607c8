"""Which images are explained for which classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.concepts.sets import ImageSet
from seewhy.errors import BadInput


@dataclass(frozen=True)
class Asked:
    """Images, and the classes that each of them is explained for; None is the model's own answer."""

    images: ImageSet
    classes: tuple[int | str, ...] | None


def asked_of(images: Any, targets: Sequence[int | str] | None) -> list[Asked]:
    """Return what a user means by images and targets.

    Raises
    ------
    BadInput
        For classes given twice, or not at all.
    """
    if isinstance(images, Mapping):
        if targets is not None:
            raise BadInput(
                "Asked for images by class and for targets",
                "Both name the classes",
                "Leave targets out, or give the images without classes",
            )
        if not images:
            raise BadInput("Asked for an explanation", "There is no image", "Give {class: images}")
        return [Asked(ImageSet.of(str(named), source), (named,)) for named, source in images.items()]
    if targets is not None and (isinstance(targets, str) or not len(targets)):
        raise BadInput("Asked for targets", f"Found {targets!r}", "Give a list of indices or labels")
    return [Asked(ImageSet.of("images", images), None if targets is None else tuple(targets))]
