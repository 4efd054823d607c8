"""How concepts are given: as folders of examples beside random images, or as texts beside photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.concepts.alignment import Fit
from seewhy.concepts.sets import ImageSet, named_sets, random_set
from seewhy.concepts.texts import TextConcepts
from seewhy.errors import BadInput
from seewhy.types import Json


@dataclass(frozen=True)
class Examples:
    """Concepts by examples."""

    concepts: tuple[ImageSet, ...]
    random: ImageSet

    @property
    def names(self) -> tuple[str, ...]:
        """Of the concepts."""
        return tuple(c.name for c in self.concepts)

    @property
    def sets(self) -> list[ImageSet]:
        """What the network has to look at: concept after concept, random images last."""
        return [*self.concepts, self.random]

    def notes(self, _: Mapping[str, Fit]) -> Json:
        """Return what results say of them."""
        return {"concepts": {c.name: len(c) for c in self.concepts}, "random": len(self.random)}


Given = Examples | TextConcepts


def given_as(concepts: Mapping[str, Any] | Sequence[ImageSet] | TextConcepts, random: Any) -> Given:
    """Return what a user means by concepts and random images.

    Raises
    ------
    BadInput
        For too few images, or random images beside texts.
    """
    if not isinstance(concepts, TextConcepts):
        return Examples(tuple(named_sets(concepts)), random_set(random))
    if random is not None:
        raise BadInput(
            "Asked for concepts from texts and for random images",
            "The photos without a text are the random ones",
            "Give None as random images",
        )
    return concepts
