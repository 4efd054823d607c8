"""What the run view's server and page say to each other: benchmark runs, in numbers that fit a page.

However many samples a run has, a board holds a row for each method, and a cell quantiles, a histogram and the
samples at its ends.
"""

from __future__ import annotations

from typing import Literal

from seewhy.studio.schema import Message


class RunEntry(Message):
    """A run folder below the roots."""

    path: str
    name: str
    state: Literal["finished", "unfinished"]
    model: str
    data: str
    methods: int
    metrics: int
    modified: float
    """Seconds since 1970."""


class RunProgress(Message):
    """How far a run is that has not written its results."""

    done: int
    """Units in the journal."""
    total: int
    idle: float
    """Seconds since the last one was written."""
    command: str
    """Goes on with it, in case it was interrupted."""


class RunMetric(Message):
    """One column."""

    label: str
    name: str
    """In the registry; "" where this version does not know it."""
    title: str
    """The label as words."""
    higher_is_better: bool
    summary: str


class RunMethod(Message):
    """One row."""

    label: str
    name: str
    title: str
    baseline: bool
    parameters: dict[str, object]
    """Those that differ from the defaults."""
    seconds: float | None
    """Median a sample; null for baselines, which cost nothing, and where nothing worked."""
    forward: float | None
    backward: float | None


class RunCell(Message):
    """The mean of one method under one metric."""

    method: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    """95 % interval by bootstrap over samples; null for fewer than two."""
    samples: int
    undefined: int


class RunBoard(Message):
    """A run at a glance."""

    path: str
    name: str
    model: str
    weights_sha256: str
    data: str
    target: str
    """The rule: "" the model's own answer, "truth" the sample's class, or one class for all."""
    seed: int
    samples: int
    progress: RunProgress | None
    """Null once the run is finished."""
    metrics: list[RunMetric]
    methods: list[RunMethod]
    """Best first by the first metric, baselines among them."""
    cells: list[RunCell]
    left_out: dict[str, str]
    """Methods and metrics that did not fit, and why."""
    versions: dict[str, str]
    command: str
    """Runs it again."""
    plan: str
    """TOML."""


class MethodPlace(Message):
    """What paired tests leave open about one method under one metric."""

    method: str
    best: int
    worst: int
    random: Literal["better", "worse", "not told apart", ""]
    """Against the random map; "" for baselines and where there is none."""


class MetricDoubt(Message):
    """How far one metric can be believed on these samples."""

    metric: str
    verdict: str
    """"" where there is too little to compare."""
    claim: str
    reasons: list[str]
    places: list[MethodPlace]
    agreement: float | None
    """Mean rank correlation of two samples' orders, -1 to 1."""
    repeatable: float | None
    """Expected correlation of the mean order with that of as many other samples, 0 to 1."""
    random_last: float | None
    """Share of samples on which nothing is placed below the random map."""


class RunCurve(Message):
    """The mean score of one method along the way of one metric."""

    method: str
    metric: str
    at: list[float]
    scores: list[float]
    baseline: bool


class CurveAxes(Message):
    """What the axes of a metric's curves are."""

    metric: str
    along: str
    up: str


class RunFailure(Message):
    """Failures with one message."""

    message: str
    count: int
    where: list[str]
    """The first of them: "sample · method · metric"."""


class RunDoubts(Message):
    """What a reader of the board must know."""

    metrics: list[MetricDoubt]
    curves: list[RunCurve]
    axes: list[CurveAxes]
    failures: list[RunFailure]


class Distribution(Message):
    """The values of all samples, however many."""

    method: str
    count: int
    undefined: int
    mean: float | None
    quantiles: list[float]
    """Minimum, 5, 25, 50, 75, 95 % and maximum; [] without values."""
    bins: list[int]
    """Samples in each of the bins that `RunDetail.edges` bounds."""
    values: list[float]
    """Every value, in order of size, where there are few; else []."""


class RunSample(Message):
    """One sample under one metric."""

    sample: str
    place: int
    """In the order of the data, from 0."""
    photo: str
    """Path below the roots; "" where there is none, and then no thumbnail."""
    value: float
    against: float | None
    """The same sample's value under the method compared with."""
    target: str
    """Class whose score was explained."""
    index: int | None
    predicted: str
    probability: float | None


class RunDetail(Message):
    """What is behind one cell."""

    metric: str
    method: str
    compared: str
    """The other method; "" for none."""
    edges: list[float]
    distributions: list[Distribution]
    worst: list[RunSample]
    best: list[RunSample]
    better: int | None
    """Samples on which `method` does better than the other; null without one."""
    worse: int | None
    command: str
    """Explains a photo as the run did; "{photo}" and "{target}" stand for them."""
