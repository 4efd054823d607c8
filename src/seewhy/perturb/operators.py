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

from seewhy.errors import BadInput, DoesNotFit
from seewhy.perturb.blurs import filtered, folded_gaussian, gaussian
from seewhy.perturb.counters import normal
from seewhy.perturb.edits import Fill, Filler
from seewhy.question import Question
from seewhy.registry import Registry


class Operator(ABC):
    """One way to fill. Subclasses are frozen dataclasses with at most one number, registered by name."""

    name: ClassVar[str]

    @abstractmethod
    def fill(self, question: Question) -> Tensor | None:
        """Return model input without evidence, `(n, c, *size)` or broadcastable to it; None means 0.

        Raises
        ------
        DoesNotFit
            When what is filled in depends on what is left (see `MaskOperator`).
        """

    def behind(self, question: Question) -> Fill:
        """Return what shows behind a mask, for `edits.compose`."""
        return self.fill(question)


class MaskOperator(Operator):
    """An operator that looks at what is left: it needs a mask, and cannot fill an input as a whole."""

    @abstractmethod
    def behind(self, question: Question) -> Filler:
        """See `Operator.behind`."""

    def fill(self, question: Question) -> Tensor | None:
        """Refuse."""
        raise DoesNotFit(
            f"Asked for an input filled by {self.name!r}",
            "It fills holes from what is around them, and here nothing would be left",
            "Choose an operator that needs no mask: mean, constant, blur, local-mean, noise",
        )


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
        return filtered(question.x, gaussian(sigma, max(1, math.ceil(3 * sigma))), "replicate")


@OPERATORS.register
@dataclass(frozen=True)
class LocalMean(Operator):
    """The mean of the square around each pixel, cut off at the edges; its side in percent of the shorter one.

    The side is rounded down to an odd number of pixels. Each frame of a clip for itself.
    """

    name: ClassVar[str] = "local-mean"
    percent: float = 15.0

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 100:
            raise BadInput(
                "Asked for a local mean", f"Found a side of {self.percent:g} percent", "Give 0 to 100"
            )

    def fill(self, question: Question) -> Tensor | None:
        """See `Operator.fill`."""
        x = question.x
        radius = max(int(self.percent / 100 * min(x.shape[-2:]) - 1) // 2, 1)
        box = torch.ones(2 * radius + 1, dtype=torch.float64)
        inside = filtered(torch.ones_like(x[:1, :1]), box, "constant")
        return filtered(x, box, "constant") / inside


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
        return filtered(question.x, folded_gaussian(), "constant")


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
