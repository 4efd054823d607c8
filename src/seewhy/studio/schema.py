"""What the studio's server and page say to each other: the bodies of requests and the events of streams.

The OpenAPI description that follows from these classes is kept in `web/openapi.json`, from which the page's
types are made; a test compares the two.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Text: TypeAlias = Annotated[str, Field(max_length=4096)]
Name: TypeAlias = Annotated[str, Field(max_length=256)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class Message(BaseModel):
    """One body; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


# -- what is here ----------------------------------------------------------------------------------------


class ModelState(Message):
    """A model that the studio was started with."""

    id: str
    """Its place in the list: "0", "1" ..."""
    spec: str
    name: str
    state: Literal["loading", "ready", "failed"]
    error: str = ""
    classes: int | None = None
    input_size: list[int] | None = None
    """`[height, width]` that photos are brought to."""
    differentiable: bool = True
    passes_per_second: float | None = None
    """Forward passes measured on this machine, for prices."""


class About(Message):
    """What the page needs before anything else."""

    version: str
    models: list[ModelState]
    roots: list[str]
    """Folders that may be read, as the user wrote them."""
    max_upload: int
    """Bytes of an uploaded photo."""
    colour_maps: dict[str, ColourMap]
    device: str


class ColourMap(Message):
    """256 colours."""

    kind: Literal["sequential", "diverging"]
    uniform: bool
    hex: str
    """Three bytes a colour, as hexadecimal text of 1536 characters."""


class Parameter(Message):
    """One hyper-parameter of a method or metric, from which the page makes a field of a form."""

    name: str
    type: Literal["integer", "number", "boolean", "string", "list"]
    default: Any
    optional: bool = False
    """Whether it may be null."""
    choices: list[str] | None = None
    minimum: float | None = None
    maximum: float | None = None
    help: str = ""


Group: TypeAlias = Literal["layer", "gradient", "black box", "relevance", "attention", "optimised", "learned"]


class MethodEntry(Message):
    """One method, as it goes with one model."""

    name: str
    title: str
    summary: str
    group: Group
    """By what it needs; the heading in the picker."""
    signed: bool
    streams: bool
    targeted: bool
    takes_layer: bool
    fits: bool
    reason: str
    """Why it does not fit, or ""."""
    forward: int | None
    backward: int | None
    """Passes a photo; null where that depends on the model."""
    seconds: float | None
    """Expected on this machine; null before a pass was timed."""
    autorun: bool
    """Cheap enough to run by itself."""
    parameters: list[Parameter]
    page: str
    paper: dict[str, Any]
    """title, authors, year, url, bibtex."""


class LayerEntry(Message):
    """One layer in order of execution."""

    name: str
    type: str
    shape: list[int]
    grid: list[int] | None
    """Cells (rows, columns) where it has a grid."""
    default: bool
    """Whether methods that read a layer take it by default."""
    reason: str = ""
    """Why no method can read it, or ""."""


class MetricEntry(Message):
    """One metric."""

    name: str
    title: str
    summary: str
    higher_is_better: bool
    bounds: list[float | None]
    forward: int | None
    """Passes a map, with the steps of a comparison; null where that depends on the method."""
    parameters: list[Parameter]
    page: str
    reason: str = ""
    """Why it cannot be had in a comparison, or ""."""


class ImageEntry(Message):
    """A photo that can be explained."""

    id: str
    """Hash of its contents."""
    name: str
    width: int
    height: int
    source: Literal["demo", "folder", "upload", "run"]
    path: str = ""
    """Where it lies, for commands; an upload lies in the session's folder."""


class OpenRequest(Message):
    """Asks for a photo, or the photos of a folder, below one of the roots."""

    path: Text


class Folder(Message):
    """A listing below one of the roots."""

    path: str
    parent: str | None
    folders: list[str]
    photos: list[ImageEntry]
    runs: list[str]
    """Folders of benchmark runs in it."""
    concepts: list[str]
    """Files that `seewhy concepts` wrote in it."""
    truncated: bool = False


class Prediction(Message):
    """One class of the model's answer."""

    index: int
    label: str
    probability: float | None
    logit: float


class Predictions(Message):
    """A model's answer to a photo."""

    top: list[Prediction]
    """The five highest."""
    seen: str
    """Data URL (PNG, lossless) of the photo as the model saw it: input size, ready for a panel."""
    width: int
    height: int


# -- maps ------------------------------------------------------------------------------------------------


class Packed(Message):
    """An array as the page reads it: `values = float16 numbers * factor`, row-major, little-endian."""

    shape: list[int]
    factor: float
    """Largest absolute finite value; 1 for an array of zeros. NaN and infinity stay what they are."""
    data: str
    """base64"""


class ExplainRequest(Message):
    """Asks for one map. Answered by a stream of `price`, `map` ..., and `done` or `error`."""

    panel: Name
    """A newer request of the same panel takes the place of this one."""
    model: Name
    image: Name
    method: Name
    parameters: dict[str, Any] = {}
    layer: Name | None = None
    """Where the method takes one; null: its own default. The same as `parameters.layer`."""
    target: Text | None = None
    """As on the command line: a class index or label, "A vs B"; null: the model's own answer."""
    seed: int = 0
    randomised: bool = False
    """Explain a copy of the model with randomised weights: the sanity twin."""
    resume: Name | None = None
    """Map of a run that was stopped and is to go on; all else as it was asked for at first."""


class PriceEvent(Message):
    """First event: what the map will cost, and what it is called."""

    event: Literal["price"] = "price"
    job: str
    forward: int | None
    backward: int | None
    seconds: float | None
    cached: bool


class MapEvent(Message):
    """An estimate; later ones are better. Frames nobody had time to read are left out, never the last."""

    event: Literal["map"] = "map"
    job: str
    values: Packed
    """At input resolution, `(height, width)`."""
    native: Packed | None
    """On the method's own grid, where that is coarser."""
    signed: bool
    done: int
    total: int
    seconds: float
    reliability: dict[str, Any]
    """What the method knows of its own error: `repeatability`, `relative_standard_error` ..., or {}."""
    text: str
    """The map in one sentence."""


class DoneEvent(Message):
    """Last event of a stream that was not refused."""

    event: Literal["done"] = "done"
    job: str
    map: str
    """Identifier for `/api/maps/` and `/api/curve`."""
    stopped: bool
    """Whether it was stopped before its end."""
    resumable: bool
    """Whether the run is still kept, so that it can go on."""
    provenance: dict[str, Any]
    command: str
    """A shell command that makes the same map, bit for bit."""
    python: str
    bibtex: str


class ErrorEvent(Message):
    """What went wrong, as an answer. Also the body of every refused request (`{"error": ...}`)."""

    event: Literal["error"] = "error"
    job: str = ""
    kind: str
    """Name of the error's class."""
    asked: str
    found: str
    do: str
    """Each a phrase; together one plain message."""
    superseded: bool = False
    """Whether a newer request of the panel, or the user, took its place: nothing to show."""


class Job(Message):
    """Work that is waiting, running or kept."""

    id: str
    panel: str
    what: str
    state: Literal["waiting", "running", "stopped", "done", "failed"]
    done: int
    total: int
    seconds: float


class CurveRequest(Message):
    """Asks for a curve of deletion or insertion along a map, and of its baselines."""

    panel: Name
    map: Name
    metric: Literal["deletion", "insertion"] = "deletion"
    steps: Annotated[int, Field(ge=2, le=224)] = 56
    operator: Name = "mean"


class CurveLine(Message):
    """One order of pixels and what removing them does."""

    name: str
    """"map", "random", "centre"."""
    area: float | None
    """Null where the map has no order (`undefined` says why)."""
    scores: list[float]
    low: list[float] | None = None
    high: list[float] | None = None
    """Range over repetitions, for random orders."""


class Curve(Message):
    """Scores while pixels go (deletion) or come (insertion)."""

    metric: str
    at: list[float]
    """Share of pixels changed, 0 to 1, one a step."""
    lines: list[CurveLine]
    places: str
    """base64 of `height * width` uint8: the step (1 = first) at which a pixel changes; 0: never."""
    fill: str
    """Data URL (PNG) of what takes the pixels' place."""
    undefined: str = ""
    unit: str
    """What a score is: "probability of tabby"."""


# -- comparing --------------------------------------------------------------------------------------------


STEPS = 28
"""Of a comparison's metrics that edit step by step, where nothing else is asked for."""


class CompareRequest(Message):
    """Asks for methods x metrics over some photos. A stream of `cells`, `agreement`, `done` or `error`."""

    panel: Name
    model: Name
    images: Annotated[list[Name], Field(min_length=1, max_length=64)]
    methods: Annotated[list[Name], Field(min_length=1, max_length=64)]
    metrics: Annotated[list[Name], Field(max_length=16)] = []
    target: Text | None = None
    steps: Annotated[int, Field(ge=2, le=224)] = STEPS
    seed: int = 0
    kept: bool = False
    """Tell again what was found before, or that it is not kept (`error`, kind "Missing"); measure nothing."""


class Cell(Message):
    """One method by one metric."""

    method: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    """95 % interval of the mean over photos; null for a single photo."""
    values: list[float | None]
    """One a photo."""
    baseline: bool
    """Whether `method` is a baseline map (random, centre, edges)."""


class CellsEvent(Message):
    """What is new of one method: maps as they are made, at last its cells, or why it has none."""

    event: Literal["cells"] = "cells"
    job: str
    method: str
    cells: list[Cell]
    """One a metric, once all photos are measured; empty before."""
    maps: list[MapEvent]
    """Of the next photos, in the order of the request, since the method's last event; none for baselines."""
    seconds: float
    """Spent on making its maps, whenever that was."""
    done: int
    total: int
    """Of the whole comparison, in expected passes."""
    finished: bool = False
    """Whether nothing more will come of the method."""
    problem: str = ""
    """Why the method is left out, or ""."""


class AgreementEvent(Message):
    """How alike the maps of the methods so far are: mean rank correlation over photos, -1 to 1."""

    event: Literal["agreement"] = "agreement"
    methods: list[str]
    matrix: list[list[float | None]]


class CompareDone(Message):
    """Last event of a comparison."""

    event: Literal["done"] = "done"
    job: str
    command: str
    remarks: list[str]
    """What a reader must know: intervals that overlap, metrics that prefer random maps ..."""


def described() -> dict[str, type[Message]]:
    """Return the events by name: streams carry them, which OpenAPI cannot say by itself."""
    events = (
        PriceEvent,
        MapEvent,
        DoneEvent,
        ErrorEvent,
        CellsEvent,
        AgreementEvent,
        CompareDone,
    )
    return {e.__name__: e for e in events}


About.model_rebuild()
