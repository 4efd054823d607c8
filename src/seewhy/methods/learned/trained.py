"""What all trained methods share: an explainer's file, the class of each sample, and how much trained it."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seewhy.errors import BadInput, DoesNotFit
from seewhy.methods.base import Cost, Estimate, Method, Native
from seewhy.methods.learned.explainer import Explainer, misfit, open_explainer
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Batch, Cells, Json, Size


@dataclass(frozen=True)
class Trained(Method):
    """Maps that an explainer draws, which was trained for the model; abstract.

    Parameters
    ----------
    explainer
        File that `seewhy train` wrote for the model.
    """

    native: ClassVar[Native] = "layer grid"

    explainer: str | None = None

    @property
    def signed(self) -> bool:
        """See `Method.signed`."""
        return False

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(1)

    def unfit(self, model: Model) -> str:
        """See `Method.unfit`."""
        return misfit(self.explainer, self.name, model)

    @abstractmethod
    def drawing(
        self, explainer: Explainer, question: Question, classes: Sequence[int]
    ) -> Callable[[int, int], Cells]:
        """Return what draws the `(k, rows, columns)` maps of samples `start .. stop`, each of its class."""

    @abstractmethod
    def every(self, explainer: Explainer, model: Model, x: Batch, classes: Tensor) -> Tensor:
        """Return `(n, k, rows, columns)` maps of `(k,)` classes, before any scaling."""

    def finished(self, explainer: Explainer, maps: Cells) -> Cells:
        """Return `(n, rows, columns)` drawn maps as explanations."""
        return maps

    def sources(self, explainer: Explainer) -> Json:
        """Return what a result says of the network that gave features."""
        return {"auxiliary": {**(explainer.auxiliary or {}), "passes": 1}}

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        explainer = open_explainer(self.explainer or "")
        classes = asked_classes(question, explainer, self.title)
        draw = self.drawing(explainer, question, classes)
        maps = torch.cat(list(question.in_batches(len(question.x), draw, self.title)))
        notes: Json = {
            **self.sources(explainer),
            "explainer": {
                "classes covered": len(explainer.covered),
                "classes": explainer.classes,
                "settings": explainer.settings,
                "steps": explainer.record.get("steps"),
            },
        }
        trained = tuple({"images that trained the class": explainer.coverage[c]} for c in classes)
        yield Estimate(self.finished(explainer, maps), notes=notes, reliability=trained)

    def all_classes(
        self, model: Model | nn.Module, inputs: Any, classes: Sequence[int] | None = None
    ) -> Tensor:
        """Return the maps of many classes for the price of one pass of the network that gives features.

        Parameters
        ----------
        model
            The explained model.
        inputs
            As for a call.
        classes
            Which; all covered classes (`Explainer.covered`) when left out.

        Returns
        -------
        Tensor
            `(n, k, rows, columns)` float32 on the finest stage's grid, before scaling: of several classes,
            the higher value at a place says whose evidence it is.

        Raises
        ------
        DoesNotFit
            When the explainer is not the model's.
        """
        model = model if isinstance(model, Model) else Model(model)
        if reason := self.unfit(model):
            raise DoesNotFit(f"Asked {self.title} for maps of {model.name}", f"It does not fit: {reason}")
        explainer = open_explainer(self.explainer or "")
        x = model.prepare(inputs).tensor.to(model.device)
        wanted = torch.tensor(explainer.covered if classes is None else list(classes))
        with torch.no_grad():
            return self.every(explainer, model, x, wanted).float().cpu()


def asked_classes(question: Question, explainer: Explainer, title: str) -> list[int]:
    """Return the class of each sample, warning of those that training hardly met.

    Raises
    ------
    DoesNotFit
        When the target is no class, or the model has other classes than the explainer.
    """
    indices = [d.get("index") for d in question.target.descriptions]
    if any(not isinstance(i, int) for i in indices):
        raise DoesNotFit(
            f"Asked {title} to explain {question.target.descriptions[0]['label']}",
            "It has maps of single classes only",
            "Ask for a class, or use another method",
        )
    classes = [int(i) for i in indices if i is not None]
    if question.output.ndim != 2 or question.output.shape[1] != explainer.classes:
        raise BadInput(
            f"Asked {title} to explain {question.model.name}",
            f"Its output is {tuple(question.output.shape[1:])}, the explainer's {explainer.classes} classes",
            "Train an explainer for this model",
        )
    advice = "grad_cam" if question.model.differentiable else "rise"
    told = [explainer.warning(c, question.model.label(c), advice) for c in dict.fromkeys(classes)]
    if doubtful := [text for text in told if text]:
        more = f" The same goes for {len(doubtful) - 1} more of these classes." if len(doubtful) > 1 else ""
        warnings.warn(doubtful[0] + more, UserWarning, stacklevel=1)
    return classes
