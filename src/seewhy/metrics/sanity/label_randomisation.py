"""Label randomisation: how much of a map is left when the network learned from labels that mean nothing.

A network of the same make that was trained on the same pictures with shuffled labels has learned them by
heart: there is no evidence in the picture to find. A map that stays the same is a picture of the input. Such
a network cannot be made from a trained one; give one of your own as `other`, or see `python -m
benchmarks.labels` for how the methods fare on two that it trains.

Formula
    similarity of the map that is scored and the map of the same method, parameters, seed and class on
    `other`: Spearman's rank correlation of absolute values ("absolute"), of the values as they are
    ("signed"), or the structural similarity of absolute values scaled to 0 .. 1 ("ssim").
Needs
    the method that made the map (rebuilt from what the attribution remembers), and `other`.
Cost
    1 map.
Paper
    Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim: Sanity Checks for Saliency Maps, 2018,
    https://arxiv.org/abs/1810.03292 (there: the data randomisation test)
Departures
    The paper trains until shuffled labels are known by heart, above 95 per cent; that is for who trains
    `other` to see to. It receives the inputs as the scored model does, with that one's preprocessing.
    Unsigned maps have one correlation. A map that has become constant has nothing in common with any: 0. One
    that is constant or not finite to begin with is undefined. Not to be mistaken for `random_logit`, which
    asks the same network for another class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from seewhy.errors import DoesNotFit
from seewhy.methods.base import Cost, Paper, require
from seewhy.metrics.base import METRICS, Metric, MetricNeed, Scored
from seewhy.metrics.faithfulness.usable import usable
from seewhy.metrics.repeats import Similarity, averaged, compared, maker
from seewhy.models.loading import as_model
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Json, Maps, Size


@METRICS.register
@dataclass(frozen=True)
class LabelRandomisation(Metric):
    """Similarity of a map to that of a network trained on shuffled labels; lower is better.

    Parameters
    ----------
    other
        The network that was trained on shuffled labels: a model, a bare network or a spec string.
    similarity
        The number: rank correlation of "absolute" or "signed" values, or "ssim".
    """

    name: ClassVar[str] = "label_randomisation"
    title: ClassVar[str] = "Label randomisation"
    higher_is_better: ClassVar[bool] = False
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    needs: ClassVar[frozenset[MetricNeed]] = frozenset({"again"})
    paper: ClassVar[Paper] = Paper(
        "Sanity Checks for Saliency Maps",
        "Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim",
        2018,
        "https://arxiv.org/abs/1810.03292",
    )

    other: Model | nn.Module | str | None = None
    similarity: Similarity = "absolute"

    def __post_init__(self) -> None:
        require(
            self.similarity in ("absolute", "signed", "ssim"),
            "Asked for a similarity of maps",
            repr(self.similarity),
            "Choose absolute, signed or ssim",
        )

    def measure(self, question: Question, maps: Maps) -> Scored:
        """See `Metric.measure`."""
        if self.other is None:
            raise DoesNotFit(
                "Asked for label randomisation",
                "It compares with a network that was trained on shuffled labels, and none was given",
                "Give LabelRandomisation(other=network), or label_randomisation:other=SPEC",
            )
        again, known = maker(question, "label randomisation"), usable(question, maps)
        model = as_model(self.other)
        question.execution.step(0, 1, "label randomisation")
        with model.untouched(str(question.x.device)):
            answers = model.answer(question.x[:1]).output
        if answers.shape[1:] != question.output.shape[1:]:
            raise DoesNotFit(
                "Asked for label randomisation",
                f"The other network answers with {tuple(answers.shape[1:])} numbers, "
                f"{question.model.name} with {tuple(question.output.shape[1:])}",
                "Give one of the same make",
            )
        found = compared(known.maps, again(model, device=str(question.x.device)))
        question.execution.step(1, 1, "label randomisation")
        return averaged(
            known, [found[self.similarity]], {"other": model.name, "other_weights": model.weights_hash}
        )

    def cost(self, size: Size) -> Cost:
        """See `Metric.cost`."""
        return Cost(-1, -1)

    def parameters(self) -> Json:
        """Return the hyper-parameters as plain JSON: of a network its name."""
        other = self.other
        named = other.name if isinstance(other, Model) else type(other).__name__
        return {
            "other": other if other is None or isinstance(other, str) else named,
            "similarity": self.similarity,
        }
