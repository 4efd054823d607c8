"""For which score: from a model's answer to one number a sample.

A `Target` says what is asked ("tabby", "A rather than B", "like this embedding"). Binding it to the model's
answer on the clean inputs settles what was open (the top class, say) and gives a `BoundTarget`: a function
from the answers of any batch, and the sample each of its rows belongs to, to scores. Targets add, subtract
and scale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from seewhy.errors import BadInput, DoesNotFit
from seewhy.models.labels import find_class
from seewhy.models.layers import grid_of
from seewhy.models.model import Model
from seewhy.models.outputs import Answer
from seewhy.types import Json, Rows, ScoreKind, Scores


@dataclass(frozen=True)
class BoundTarget:
    """A target with nothing left open.

    Parameters
    ----------
    function
        From an answer and, for each of its rows, the index of the sample it belongs to, to `(n,)` scores.
    descriptions
        One JSON object a sample: at least `label`; `index` and `score` ("logit", "probability" ...) for
        classes.
    layers
        Layers that the function reads in `Answer.activations`.
    """

    function: Callable[[Answer, Rows], Scores]
    descriptions: tuple[Json, ...]
    layers: tuple[str, ...] = ()

    def __call__(self, answer: Answer, rows: Rows) -> Scores:
        """Return the `(n,)` float32 scores, differentiable where the answer is."""
        return self.function(answer, rows).float()


class Target(ABC):
    """What is asked of the model. Sums, differences and multiples of targets are targets."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers whose outputs the target reads."""
        return ()

    @abstractmethod
    def bind(self, model: Model, answer: Answer, default: ScoreKind) -> BoundTarget:
        """Settle what is open by the answer on the clean inputs; `default` is the method's score kind."""

    def __add__(self, other: Target) -> Target:
        return Combination((self, other), (1.0, 1.0))

    def __sub__(self, other: Target) -> Target:
        return Combination((self, other), (1.0, -1.0))

    def __mul__(self, factor: float) -> Target:
        return Combination((self,), (float(factor),))

    __rmul__ = __mul__

    def __neg__(self) -> Target:
        return self * -1.0


TargetLike: TypeAlias = Target | int | str | Callable[[object], Tensor] | None


@dataclass(frozen=True)
class Class(Target):
    """The score of one class.

    Parameters
    ----------
    which
        Index or label.
    score
        "logit", "probability" or "log_probability"; None leaves it to the method (gradients: logit, masks:
        probability).
    """

    which: int | str
    score: ScoreKind | None = None

    def bind(self, model: Model, answer: Answer, default: ScoreKind) -> BoundTarget:
        """See `Target.bind`."""
        return bound_classes(model, [self.index(model, answer)] * len(answer.output), self.score or default)

    def index(self, model: Model, answer: Answer) -> int:
        """Return the index of the class among those of a model."""
        index = find_class(self.which, model.labels) if isinstance(self.which, str) else self.which
        classes = _class_count(model, answer)
        if not 0 <= index < classes:
            raise BadInput(
                f"Asked for class {index}",
                f"{model.name} has classes 0 to {classes - 1}",
                "Choose one of them",
            )
        return index


@dataclass(frozen=True)
class Top(Target):
    """The class that the model itself ranks at `rank` for each sample; 1 is its answer."""

    rank: int = 1
    score: ScoreKind | None = None

    def bind(self, model: Model, answer: Answer, default: ScoreKind) -> BoundTarget:
        """See `Target.bind`."""
        classes = _class_count(model, answer)
        if not 1 <= self.rank <= classes:
            raise BadInput(
                f"Asked for the class of rank {self.rank}",
                f"{model.name} has {classes} classes",
                "Ranks begin at 1",
            )
        order = answer.output.detach().argsort(dim=1, descending=True, stable=True)
        return bound_classes(model, order[:, self.rank - 1].tolist(), self.score or default)


def contrast(a: int | str, b: int | str, score: ScoreKind = "logit") -> Target:
    """Return the target "class `a` rather than class `b`": the difference of their scores."""
    return Class(a, score) - Class(b, score)


@dataclass(frozen=True)
class Output(Target):
    """One number of the answer as it is: for regression, or any column of the output."""

    index: int = 0

    def bind(self, model: Model, answer: Answer, default: ScoreKind) -> BoundTarget:
        """See `Target.bind`."""
        width = answer.output.flatten(1).shape[1] if answer.output.ndim > 1 else 1
        if not 0 <= self.index < width:
            raise BadInput(
                f"Asked for output {self.index}",
                f"{model.name} puts out {width} numbers a sample",
                "Indices begin at 0",
            )
        label = {"label": f"output {self.index}", "index": self.index, "score": "output"}
        return BoundTarget(
            lambda a, rows: a.output.reshape(len(rows), -1)[:, self.index], (label,) * len(answer.output)
        )


@dataclass(frozen=True)
class Neuron(Target):
    """A channel of a layer: its mean over the grid, or its value in one cell.

    Parameters
    ----------
    layer
        Name as `seewhy layers` prints it.
    channel
        Index of the channel.
    cell
        Grid position, `(row, column)` or `(frame, row, column)`; None takes the mean over all cells.
    """

    layer: str
    channel: int
    cell: tuple[int, ...] | None = None

    @property
    def layers(self) -> tuple[str, ...]:
        """See `Target.layers`."""
        return (self.layer,)

    def bind(self, model: Model, answer: Answer, default: ScoreKind) -> BoundTarget:
        """See `Target.bind`."""
        activation = answer.activations[self.layer]
        # A layer without cells (a vector after pooling, say) is read as channels alone.
        grid = None if activation.ndim == 2 else grid_of(model, self.layer, answer.input_shape)
        channels = (activation if grid is None else grid.read(activation)).shape[1]
        if not 0 <= self.channel < channels:
            raise BadInput(
                f"Asked for channel {self.channel} of {self.layer!r}",
                f"It has {channels}",
                "Indices begin at 0",
            )

        cells = () if grid is None else grid.cells
        if self.cell is not None and (
            len(self.cell) != len(cells) or any(not 0 <= i < n for i, n in zip(self.cell, cells, strict=True))
        ):
            raise BadInput(
                f"Asked for the cell {self.cell} of {self.layer!r}",
                "It has no such cell" if cells else "It has no cells",
                f"Choose one of {' x '.join(map(str, cells))}, from 0" if cells else "Leave the cell out",
            )

        place_in: tuple[slice | int, ...] | None = None if self.cell is None else (slice(None), *self.cell)

        def score(a: Answer, rows: Rows) -> Scores:
            values = a.activations[self.layer] if grid is None else grid.read(a.activations[self.layer])
            channel = values[:, self.channel]
            return channel.reshape(len(rows), -1).mean(1) if place_in is None else channel[place_in]

        place = "" if self.cell is None else f" at {self.cell}"
        label = {
            "label": f"{self.layer} channel {self.channel}{place}",
            "index": self.channel,
            "score": "activation",
            "layer": self.layer,
            "cell": self.cell and list(self.cell),
        }
        return BoundTarget(score, (label,) * len(answer.output), self.layers)


@dataclass(frozen=True)
class Similarity(Target):
    """How much the answer, read as an embedding, is like a given one.

    Parameters
    ----------
    to
        `(width,)` or `(n, width)`, one a sample; None: each sample's own embedding on the clean input, so
        that the map shows what the embedding is made of (ours; with "dot", since a cosine with oneself has
        no gradient).
    measure
        "cosine" in [-1, 1], or "dot": the product with the unit vector along `to`.
    """

    to: Tensor | None = None
    measure: Literal["cosine", "dot"] | None = None

    def bind(self, model: Model, answer: Answer, default: ScoreKind) -> BoundTarget:
        """See `Target.bind`."""
        own = answer.output.detach().flatten(1)
        to = own if self.to is None else torch.atleast_2d(self.to).to(own).expand(len(own), -1)
        if to.shape[1] != own.shape[1]:
            raise BadInput(
                f"Asked for the similarity to an embedding of width {to.shape[1]}",
                f"{model.name} gives embeddings of width {own.shape[1]}",
                "Give one of that width",
            )
        measure = self.measure or ("dot" if self.to is None else "cosine")

        def score(a: Answer, rows: Rows) -> Scores:
            mine, wanted = a.output.flatten(1), to.to(a.output)[rows]
            if measure == "cosine":
                return cosine_similarity(mine, wanted, dim=1)
            return (mine * normalize(wanted, dim=1)).sum(1)

        label = "its own embedding" if self.to is None else "the given embedding"
        return BoundTarget(
            score, ({"label": f"similarity to {label}", "index": None, "score": measure},) * len(own)
        )


@dataclass(frozen=True)
class Custom(Target):
    """Any function from the network's raw output to `(n,)` scores."""

    function: Callable[[object], Tensor]

    def bind(self, model: Model, answer: Answer, default: ScoreKind) -> BoundTarget:
        """See `Target.bind`."""

        def score(a: Answer, rows: Rows) -> Scores:
            scores = self.function(a.raw)
            if not isinstance(scores, Tensor) or scores.shape != (len(rows),):
                shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
                raise BadInput(
                    "Asked for the score of a target function",
                    f"It returned {shape}",
                    f"Return one number a sample: shape ({len(rows)},)",
                )
            return scores

        label = getattr(self.function, "__name__", type(self.function).__name__)
        return BoundTarget(score, ({"label": label, "index": None, "score": "custom"},) * len(answer.output))


@dataclass(frozen=True)
class Combination(Target):
    """A weighted sum of targets."""

    targets: tuple[Target, ...]
    weights: tuple[float, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """See `Target.layers`."""
        return tuple(dict.fromkeys(layer for t in self.targets for layer in t.layers))

    def bind(self, model: Model, answer: Answer, default: ScoreKind) -> BoundTarget:
        """See `Target.bind`."""
        parts = [t.bind(model, answer, default) for t in self.targets]

        def score(a: Answer, rows: Rows) -> Scores:
            return cast(Scores, sum(w * part(a, rows) for w, part in zip(self.weights, parts, strict=True)))

        labels = tuple(
            {
                "label": " ".join(
                    _term(w, p.descriptions[i]["label"], first=j == 0)
                    for j, (w, p) in enumerate(zip(self.weights, parts, strict=True))
                ),
                "index": None,
                "score": "combination",
                "parts": [p.descriptions[i] for p in parts],
                "weights": list(self.weights),
            }
            for i in range(len(answer.output))
        )
        return BoundTarget(score, labels, tuple(layer for p in parts for layer in p.layers))


def as_target(target: TargetLike, model: Model, answer: Answer) -> Target:
    """Return the `Target` that a user's short form means.

    None is the model's own answer (top class; for encoders the similarity to the sample's own embedding;
    for regression the first output), an int or label a class, "A vs B" a contrast, "top 2" a rank, a
    function `Custom`.
    """
    match target:
        case Target():
            return target
        case None:
            match model.kind(answer.output):
                case "classes":
                    return Top()
                case "embedding":
                    return Similarity()
                case "regression":
                    return Output()
        case bool():
            raise BadInput("Asked for a target", f"Found {target}", "Give a class index, a label or a Target")
        case int():
            return Class(target)
        case str():
            return parse(target, model)
        case _ if callable(target):
            return Custom(target)
    raise BadInput(
        "Asked for a target", f"Found {type(target).__name__}", "Give a class index, a label or a Target"
    )


def layers_of(target: TargetLike | Sequence[TargetLike]) -> tuple[str, ...]:
    """Return the layers that a target, or a sequence of them, reads."""
    each = target if isinstance(target, Sequence) and not isinstance(target, str) else (target,)
    return tuple(dict.fromkeys(layer for t in each if isinstance(t, Target) for layer in t.layers))


def bind(
    target: TargetLike | Sequence[TargetLike], model: Model, answer: Answer, default: ScoreKind
) -> BoundTarget:
    """Bind one target for all samples, or a sequence of one target a sample."""
    if not isinstance(target, Sequence) or isinstance(target, str):
        return as_target(target, model, answer).bind(model, answer, default)
    n = len(answer.output)
    if len(target) != n:
        raise BadInput(
            f"Asked for {len(target)} targets",
            f"There are {n} samples",
            "Give one target for all, or one each",
        )
    wanted = [as_target(t, model, answer) for t in target]
    classes = [t for t in wanted if isinstance(t, Class)]
    if n and len(classes) == n and len({t.score for t in classes}) == 1:
        # A class each, the usual case: one look-up for all, not a function a sample.
        return bound_classes(model, [t.index(model, answer) for t in classes], classes[0].score or default)
    each = [t.bind(model, answer, default) for t in wanted]

    def score(a: Answer, rows: Rows) -> Scores:
        # Every target reads the whole batch; each row then takes the score of its own sample's target.
        table = torch.stack([each[i](a, rows) for i in range(n)])
        return table.gather(0, rows.to(table.device)[None])[0]

    return BoundTarget(
        score,
        tuple(b.descriptions[i] for i, b in enumerate(each)),
        tuple(dict.fromkeys(layer for b in each for layer in b.layers)),
    )


def parse(text: str, model: Model) -> Target:
    """Return what a text means: a label, "A vs B" or "top 2"."""
    left, versus, right = text.partition(" vs ")
    if versus:
        return contrast(left.strip(), right.strip())
    word, _, rank = text.strip().partition(" ")
    if word.casefold() == "top" and rank.isdigit():
        return Top(int(rank))
    return Class(find_class(text, model.labels))


def bound_classes(model: Model, indices: list[int], kind: ScoreKind) -> BoundTarget:
    """Return the target of one class a sample, scored as `kind`."""
    placed: dict[torch.device, Tensor] = {}

    def wanted(device: torch.device) -> Tensor:
        if device not in placed:  # copied once, not with every batch
            placed[device] = torch.tensor(indices, device=device)
        return placed[device]

    def score(a: Answer, rows: Rows) -> Scores:
        match kind:
            case "logit":
                values = a.output
            case "probability":
                values = model.probabilities(a.output)
            case "log_probability":
                values = model.log_probabilities(a.output)
        return values.gather(1, wanted(values.device)[rows.to(values.device)][:, None])[:, 0]

    return BoundTarget(score, tuple({"label": model.label(i), "index": i, "score": kind} for i in indices))


def _class_count(model: Model, answer: Answer) -> int:
    output = answer.output
    found = "an embedding" if output.ndim == 2 else f"shape {tuple(output.shape)}"
    if output.ndim != 2 or model.kind(output) == "embedding":
        raise DoesNotFit(
            "Asked for the score of a class",
            f"{model.name} answers with {found}, not classes",
            "Use seewhy.targets.Similarity(embedding), Output(index) or a function of the output",
        )
    return output.shape[1]


def _term(weight: float, label: str, *, first: bool) -> str:
    sign = "-" if weight < 0 else ("" if first else "+")
    size = "" if abs(weight) == 1 else f"{abs(weight):g} x "
    return f"{sign} {size}{label}".strip()
