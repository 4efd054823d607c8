"""What the concept view's server and page say to each other: files of `seewhy concepts`, in one form."""

from __future__ import annotations

from typing import Literal, TypeAlias

from seewhy.studio.schema import Message, Name, Packed, Text

Kind: TypeAlias = Literal["cav", "tcav", "visual_tcav", "gallery", "discovery"]


class ConceptFile(Message):
    """A file below the roots."""

    path: str
    folder: str
    kind: Kind
    title: str
    model: str
    modified: float
    """Seconds since 1970."""


class Measure(Message):
    """What the bars of a file are."""

    name: str
    explanation: str
    least: float
    most: float | None
    """The end of the axis, where the measure has one."""
    chance: float | None
    """What says nothing, where that is one number: 0.5 for an accuracy."""
    fraction: bool
    """Whether numbers read best as per cent."""


class ConceptRow(Message):
    """One concept in one layer, for one class where the file has classes."""

    concept: str
    """Its name; "channel 12", "concept 3" where nobody named it."""
    layer: str
    target: str
    """Label of the class; "" where the numbers are over everything."""
    index: int | None
    value: float | None
    """Null where there is none, `note` says why."""
    low: float | None
    high: float | None
    """95 % interval."""
    random: float | None
    """The mean of random images taken as a concept."""
    randoms: list[float]
    """Each of them."""
    runs: list[float]
    """Values of single runs."""
    p: float | None
    """Corrected for the number of tests where the file says so."""
    significant: bool | None
    """Null where nothing was tested."""
    separable: bool | None
    """Whether the vector passes the accuracy gate; null where the file has no gate."""
    accuracy: float | None
    """Held out; 0.5 is chance."""
    sensitivity: float | None
    """TCAV: mean slope of the logit along the vector."""
    effect: float | None
    """TCAV: Cliff's delta against random concepts, -1 to 1."""
    gain: float | None
    """Visual-TCAV: the most that the attribution can be."""
    images: int | None
    note: str
    """The verdict in words, or ""."""


class Crop(Message):
    """A part of a photo."""

    photo: str
    """Name for people."""
    shown: bool
    """Whether it can be read: it lies below the roots and still exists."""
    path: str
    """Where, if so; else ""."""
    value: float
    target: str
    """Class that it was relevant for, or ""."""


class Strip(Message):
    """Crops of one kind, the strongest first."""

    name: str
    explanation: str
    crops: list[Crop]


class ConceptCard(Message):
    """What a channel or a concept looks like."""

    concept: str
    layer: str
    strips: list[Strip]
    classes: list[ConceptRow]
    """Classes most affected, the most first; [] where the file does not know."""


class Absent(Message):
    """Something that this file does not have, and how to get it."""

    what: str
    command: str


class MapAbility(Message):
    """Whether concepts can be shown on a new photo."""

    possible: bool
    explanation: str
    """What the map shows, or why there is none."""
    unit: str


class ExplainedImage(Message):
    """A photo that Visual-TCAV was asked about."""

    path: str
    name: str
    predicted: str


class ConceptBoard(Message):
    """A file of concepts."""

    path: str
    kind: Kind
    title: str
    summary: str
    """What was done, in a sentence."""
    model: str
    weights_sha256: str
    layers: list[str]
    concepts: list[str]
    """In the file's order; for galleries the best first."""
    targets: list[str]
    """Labels of the classes; [] where there are none."""
    measure: Measure
    rows: list[ConceptRow]
    cards: list[ConceptCard]
    map: MapAbility
    images: list[ExplainedImage]
    """For local attributions; [] but for Visual-TCAV."""
    absent: list[Absent]
    remarks: list[str]
    """What a reader must know to believe the numbers, or not to."""
    facts: dict[str, str]
    """How it was made."""


class ConceptMapRequest(Message):
    """Asks where in a photo a concept is."""

    path: Text
    layer: Text
    concept: Text
    model: Name
    image: Name


class ConceptMap(Message):
    """A concept in a photo."""

    values: Packed
    """`(height, width)` at input resolution."""
    native: Packed
    """On the layer's own grid."""
    signed: bool
    unit: str
    text: str
    """The map in one sentence."""
    remark: str
    """Why not to believe it, or ""."""
