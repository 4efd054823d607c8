"""What hidden evidence is replaced by. An operator fills a whole input; a mask says where the filling shows.

Every operator sees one sample at a time and no generator with a state, so a batch equals its samples alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from seewhy.errors import BadInput, DoesNotFit
from seewhy.perturb.counters import normal
from seewhy.question import Question
from seewhy.registry import Registry


class Operator(ABC):
    """One way to fill. Subclasses are frozen dataclasses with at most one number, registered by name."""

    name: ClassVar[str]

    @abstractmethod
    def fill(self, question: Question) -> Tensor | None:
        """Return model input without evidence, `(n, c, *size)` or broadcastable to it; None means 0."""


OPERATORS: Registry[Operator] = Registry("operator", "seewhy.perturb")


def operator(text: str) -> Operator:
    """Return the operator that `name` or `name:number` means: `mean`, `blur`, `blur:20`, `constant:0`.

    Raises
    ------
    UnknownName
        For a name that is not registered, with the nearest ones.
    BadInput
        For a number that the operator does not take or that is none.
    """
    name, colon, number = text.partition(":")
    cls = OPERATORS[name]
    if not colon:
        return cls()
    takes = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not takes or not math.isfinite(value):
        found = f"{number!r} is no number" if takes else f"{name!r} takes none"
        raise BadInput(
            f"Asked for the operator {text!r}",
            found,
            f"Write {name!r}" + (f" or '{name}:10'" if takes else ""),
        )
    return cls(**{takes[0]: value})


@OPERATORS.register
@dataclass(frozen=True)
class Mean(Operator):
    """0 in the model's normalised space: the mean colour of the data it was trained on."""

    name: ClassVar[str] = "mean"

    def fill(self, question: Question) -> Tensor | None:
        """See `Operator.fill`."""
        return None


@OPERATORS.register
@dataclass(frozen=True)
class Constant(Operator):
    """One grey level, 0 to 255, in display pixels."""

    name: ClassVar[str] = "constant"
    level: float = 127.5

    def fill(self, question: Question) -> Tensor | None:
        """See `Operator.fill`."""
        x, preprocess = question.x, question.model.preprocess
        if preprocess is None or len(preprocess.mean) != x.shape[1]:
            raise DoesNotFit(
                "Asked to hide pixels behind a grey level",
                f"{question.model.name} has no preprocessing that says what a grey level is",
                "Use the operator 'mean', or give Model(module, preprocess=Preprocessing(...))",
            )
        colour = preprocess.normalised(self.level).to(x)
        return colour.reshape(1, -1, *[1] * (x.ndim - 2))


@OPERATORS.register
@dataclass(frozen=True)
class Blur(Operator):
    """A Gaussian blur of each frame, edges replicated; deviation in percent of the shorter side."""

    name: ClassVar[str] = "blur"
    percent: float = 5.0

    def __post_init__(self) -> None:
        if self.percent <= 0:
            raise BadInput(
                "Asked for a blur", f"Found a deviation of {self.percent:g} percent", "Give more than 0"
            )

    def fill(self, question: Question) -> Tensor | None:
        """See `Operator.fill`."""
        sigma = self.percent / 100 * min(question.x.shape[-2:])
        radius = max(1, math.ceil(3 * sigma))
        steps = torch.arange(-radius, radius + 1, dtype=torch.float64)
        weights = torch.exp(-(steps**2) / (2 * sigma**2))
        return _filtered(question.x, weights / weights.sum(), "replicate")


@OPERATORS.register
@dataclass(frozen=True)
class FlatBlur(Operator):
    """The blur that the insertion metric starts from: 11 x 11, nearly flat, 0 beyond the edges.

    Its kernel is what a Gaussian of deviation 5 (cut at four deviations) leaves of a single dot on an 11 x 11
    canvas whose edges mirror: so much folds back that the entries lie between .0077 and .0088, where a flat
    one has .0083.
    """

    name: ClassVar[str] = "flat-blur"

    def fill(self, question: Question) -> Tensor | None:
        """See `Operator.fill`."""
        return _filtered(question.x, folded_gaussian(), "constant")


@OPERATORS.register
@dataclass(frozen=True)
class Noise(Operator):
    """Gaussian noise around the mean colour, `deviation` in units of the normalised input.

    One noise picture for all samples and all edits of a run: it follows from the seed and the size alone.
    """

    name: ClassVar[str] = "noise"
    deviation: float = 1.0

    def fill(self, question: Question) -> Tensor | None:
        """See `Operator.fill`."""
        shape = question.x.shape[1:]
        drawn = normal(question.execution.seed, torch.arange(math.prod(shape), device=question.x.device), 1)
        return (self.deviation * drawn).reshape(1, *shape).to(question.x)


def folded_gaussian(size: int = 11, sigma: float = 5.0) -> Tensor:
    """Return the `(size,)` float64 profile of `FlatBlur`: a Gaussian folded at both ends of its canvas."""
    reach, centre = int(4 * sigma + 0.5), size // 2
    steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    # On a mirrored canvas the dot repeats with period 2 size: at centre and at 2 size - 1 - centre.
    seen = (torch.arange(size)[:, None] + steps.long()) % (2 * size)
    return ((seen == centre) | (seen == 2 * size - 1 - centre)).double() @ weights


def _filtered(x: Tensor, weights: Tensor, edges: str) -> Tensor:
    """Return `(n, c, *size)` with each frame convolved along rows and columns with the same odd profile."""
    weights, radius = weights.to(x), len(weights) // 2
    frames = x.reshape(-1, 1, *x.shape[-2:])
    frames = conv2d(pad(frames, (0, 0, radius, radius), mode=edges), weights.reshape(1, 1, -1, 1))
    frames = conv2d(pad(frames, (radius, radius, 0, 0), mode=edges), weights.reshape(1, 1, 1, -1))
    return frames.reshape(x.shape)
