"""What the page says of each kind of concept file: its measure, its maps, what it lacks."""

from __future__ import annotations

from seewhy.studio.schema_concepts import Absent, MapAbility, Measure
from seewhy.types import Json

MEASURES = {
    "cav": Measure(
        name="held-out accuracy",
        explanation="How often the vector tells an image of the concept from a random one that it was not "
        "fitted to. 50 % is chance.",
        least=0,
        most=1,
        chance=0.5,
        fraction=True,
    ),
    "tcav": Measure(
        name="TCAV score",
        explanation="Share of the class's images whose score rises towards the concept; the mean over runs.",
        least=0,
        most=1,
        chance=None,
        fraction=False,
    ),
    "visual_tcav": Measure(
        name="attribution",
        explanation="How much the concept adds to the class's score, as a share of the largest rise.",
        least=0,
        most=None,
        chance=None,
        fraction=False,
    ),
    "gallery": Measure(
        name="mean part of the relevance",
        explanation="The channel's signed part in what speaks for the explained class, of all channels of "
        "its layer; the mean over photos.",
        least=0,
        most=None,
        chance=None,
        fraction=True,
    ),
    "discovery": Measure(
        name="importance",
        explanation="Total Sobol index: the part of the score's variance that is left when all other "
        "concepts are fixed; the mean over photos.",
        least=0,
        most=None,
        chance=None,
        fraction=False,
    ),
}
_MAPS = {
    "visual_tcav": (
        "0: as in random images, 1: as in the concept's own images; measured when the file was made.",
        "strength of the concept",
    ),
    "cav": ("How far the layer points towards the concept in each cell; not calibrated.", "activation"),
    "tcav": ("How far the layer points towards the concept in each cell; not calibrated.", "activation"),
    "gallery": ("What the channel puts out in each cell.", "activation"),
    "discovery": (
        "How much of the concept each cell is made of, when it is written as their sum.",
        "activation",
    ),
}
_WITH = "--concepts CONCEPTS-FOLDER --random RANDOM-FOLDER"
_TCAV = Absent(
    what="A test of whether concepts raise a class's score",
    command=f"seewhy concepts tcav {_WITH} --images CLASSES-FOLDER --out FOLDER",
)
_VISUAL = Absent(
    what="Calibrated concept maps, and how much each concept adds to a photo's answer",
    command=f"seewhy concepts visual-tcav PHOTOS {_WITH} --out FOLDER",
)
_GALLERY = Absent(
    what="Galleries of photos for channels", command="seewhy concepts gallery PHOTOS --out FOLDER"
)
_DISCOVER = Absent(
    what="Concepts that nobody named, with their patches",
    command="seewhy concepts discover PHOTOS --out FOLDER",
)
ABSENT = {
    "cav": [_TCAV, _VISUAL, _GALLERY],
    "tcav": [_VISUAL, _GALLERY],
    "visual_tcav": [_TCAV, _GALLERY],
    "gallery": [_DISCOVER, _TCAV],
    "discovery": [_GALLERY, _TCAV],
}


def map_ability(kind: str | None) -> MapAbility:
    """Return whether a kind of file can show its concepts on a new photo; "cells": vectors over cells."""
    if kind is None or kind not in _MAPS:
        return MapAbility(
            possible=False,
            explanation="The vectors were fitted to every cell by itself (--pool none), so that they say "
            "nothing of single places. Make the file again with --pool mean for maps.",
            unit="",
        )
    explanation, unit = _MAPS[kind]
    return MapAbility(possible=True, explanation=explanation, unit=unit)


def facts_of(known: Json) -> dict[str, str]:
    """Return how a file was made, as words."""
    facts: dict[str, str] = {}
    for key, value in known.get("parameters", {}).items():
        if value is not None:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            facts[str(key).replace("_", " ")] = shown
    if isinstance(known.get("concepts"), dict):
        facts["concept images"] = ", ".join(f"{k} {v}" for k, v in known["concepts"].items())
    if "random" in known:
        facts["random images"] = str(known["random"])
    for key, value in known.get("passes", {}).items():
        facts[f"{str(key).replace('_', ' ')} passes"] = f"{value:,}" if isinstance(value, int) else str(value)
    for key, value in known.get("versions", {}).items():
        facts[str(key)] = str(value)
    if "seed" in known.get("execution", {}):
        facts["seed"] = str(known["execution"]["seed"])
    return facts
