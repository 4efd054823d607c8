"""What a report is about: inputs, each with its explanations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.attribution import Attribution
from seewhy.methods.base import METHODS


@dataclass(frozen=True)
class Entry:
    """One input and its explanations.

    Parameters
    ----------
    attributions
        One a method, each with this input as its only sample; all of one model.
    title
        How the report calls the input; by default the name in the provenance.
    """

    attributions: Sequence[Attribution]
    title: str = ""

    @property
    def name(self) -> str:
        """The title, or the last part of the input's path."""
        path = str(self.attributions[0].provenance["inputs"][0].get("path", "input"))
        return self.title or path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path

    @property
    def facts(self) -> dict[str, Any]:
        """The input's part of the provenance: path, predictions, target, score."""
        facts: dict[str, Any] = self.attributions[0].provenance["inputs"][0]
        return facts


def title_of(method: str) -> str:
    """Return a method's title, or its name in plain letters where it is not registered."""
    return METHODS[method].title if method in METHODS else method.replace("_", " ")
