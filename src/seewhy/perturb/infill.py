"""Your own way to fill holes: an inpainting network or any function becomes an operator with a name.

from seewhy.perturb.infill import register_infill

register_infill("lama", lambda pixels, keep: network(pixels, 1 - keep), pixels=True)
seewhy.explain(model, "cat.jpg", method="rise", operator="lama")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from seewhy.errors import BadInput, DoesNotFit
from seewhy.perturb.edits import Filler
from seewhy.perturb.operators import OPERATORS, MaskOperator
from seewhy.question import Question

Infill: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From `(k, c, *size)` inputs and `(k, 1, *size)` keep in [0, 1] to `(k, c, *size)` filled inputs."""


def register_infill(name: str, function: Infill, *, pixels: bool = False) -> None:
    """Make `function` an operator.

    Parameters
    ----------
    name
        What `operator=` is to call it: letters, digits and hyphens, not taken yet.
    function
        Receives a batch and its mask (1 = kept), returns the batch with its holes filled. It must treat every
        input by itself and be deterministic, or batches and repeated runs will differ. It runs without
        gradients.
    pixels
        Give and take colours from 0 to 1 instead of the model's normalised input.

    Raises
    ------
    BadInput
        When the name is taken or no name.
    """
    if not name.replace("-", "").isalnum() or name in OPERATORS:
        raise BadInput(
            f"Asked for an operator named {name!r}",
            "It is taken" if name in OPERATORS else "It is no name",
            "Choose another, of letters, digits and hyphens",
        )

    def behind(self: MaskOperator, question: Question) -> Filler:
        return _filler(name, function, question, pixels)

    kind = type(name, (MaskOperator,), {"behind": behind, "name": name, "__doc__": f"Fills by {name}."})
    kind.__annotations__ = {"name": ClassVar[str]}
    OPERATORS.register(dataclass(frozen=True)(kind))


def _filler(name: str, function: Infill, question: Question, pixels: bool) -> Filler:
    x = question.x
    mean, std = torch.zeros((), device=x.device), torch.ones((), device=x.device)
    if pixels:
        preprocess = question.model.preprocess
        if preprocess is None or len(preprocess.mean) != x.shape[1]:
            raise DoesNotFit(
                f"Asked to fill holes by {name!r}",
                f"{question.model.name} has no preprocessing that says what its pixels are",
                "Register the function with pixels=False, or give Model(module, preprocess=...)",
            )
        black, white = (preprocess.normalised(level).to(x) for level in (0, 255))
        column = (1, -1, *[1] * (x.ndim - 2))
        mean, std = (-black / (white - black)).reshape(column), (1 / (white - black)).reshape(column)

    def fill(x: Tensor, keep: Tensor, rows: Tensor) -> Tensor:
        picture = function(x * std + mean, keep)
        if not isinstance(picture, Tensor) or picture.shape != x.shape:
            found = tuple(picture.shape) if isinstance(picture, Tensor) else type(picture).__name__
            raise BadInput(
                f"Asked {name!r} to fill {tuple(x.shape)}", f"It returned {found}", "Return the filled inputs"
            )
        return (picture.to(x) - mean) / std

    return fill
