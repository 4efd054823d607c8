"""Real-time image saliency: a masking model, trained once, draws a mask for a class in one pass.

An encoder-decoder network is trained to draw masks that satisfy two questions at once: what the mask shows
is enough for the explained model to keep its answer (the smallest sufficient region), and what remains
without it is not (the smallest destroying region). A selector tells the decoder which class is asked for;
it is trained with wrong classes, too, for which there is nothing to draw.

Formula
    With features s_1 ... s_K of a frozen image network, finest first, and the vector E[c] of class c: s_K
    is multiplied at each place by sigmoid(<s_K, E[c]> - confidence); up-samplers (a 3 x 3 convolution,
    pixels for channels, the features of that resolution beside it, a bottleneck residual block) end in two
    channels a, b on the grid of s_1, and the mask is |a| / (|a| + |b|), in [0, 1]. Not signed.
Needs
    a trained explainer (`seewhy train realtime_saliency`); nothing of the explained model but its answer.
Cost
    one pass of the auxiliary network and the decoder; the one forward pass of the model that is listed
    finds its answer.
Paper
    Dabkowski, Gal: Real Time Image Saliency for Black Box Classifiers, 2017,
    https://arxiv.org/abs/1705.07857
Departures
    The architecture and losses are those of the authors' public code, where they are known; the constants
    of the loss as the paper writes it could not be checked (`objective` of the training). The encoder is
    any image network, the paper's is a ResNet-50; up-samplers are as wide as there, a quarter of the
    features they join. The published demonstration draws with confidence 6; 0 is what the decoder was
    trained with. A class without training images has no vector of its own: it gets the mean of the others,
    and a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from seewhy.errors import DoesNotFit
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Paper, require
from seewhy.methods.learned.auxiliary import auxiliary_features
from seewhy.methods.learned.explainer import Explainer, misfit, open_explainer
from seewhy.methods.learned.masking_model import MaskingModel, unpacked
from seewhy.methods.learned.ptame import asked_classes, explainer_notes
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Json, Size

_MODELS: WeakKeyDictionary[Explainer, tuple[MaskingModel, Tensor]] = WeakKeyDictionary()


@METHODS.register
@dataclass(frozen=True)
class RealtimeSaliency(Method):
    """A mask from a masking model that was trained for the explained model.

    Parameters
    ----------
    explainer
        File that `seewhy train realtime_saliency` wrote for the model.
    confidence
        How much a place must look like the class to be let through: 0 as in training, more is stricter.
    """

    name: ClassVar[str] = "realtime_saliency"
    title: ClassVar[str] = "Real-time saliency"
    native: ClassVar[Native] = "layer grid"
    paper: ClassVar[Paper] = Paper(
        "Real Time Image Saliency for Black Box Classifiers",
        "Dabkowski, Gal",
        2017,
        "https://arxiv.org/abs/1705.07857",
    )

    explainer: str | None = None
    confidence: float = 0.0

    def __post_init__(self) -> None:
        require(isfinite(self.confidence), "Asked for a confidence", self.confidence, "Give a finite number")

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

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        explainer = open_explainer(self.explainer or "")
        classes = asked_classes(question, explainer, self.title)
        masking, row = _masking_model(explainer, question.x.device)
        rows = row[torch.tensor(classes)].to(question.x.device)

        def masks(start: int, stop: int) -> Tensor:
            with torch.no_grad():
                x, look = question.x[start:stop], question.model.preprocess
                drawn: Tensor = masking(
                    auxiliary_features(explainer, x, look), rows[start:stop], self.confidence
                )
                return drawn

        native = torch.cat(list(question.in_batches(len(question.x), masks, self.title)))
        notes: Json = {
            "auxiliary": {**(explainer.auxiliary or {}), "passes": 1},
            "explainer": explainer_notes(explainer),
        }
        trained = tuple({"images that trained the class": explainer.coverage[c]} for c in classes)
        yield Estimate(native, notes=notes, reliability=trained)

    def all_classes(
        self, model: Model | nn.Module, inputs: Any, classes: Sequence[int] | None = None
    ) -> Tensor:
        """Return the masks of many classes: one pass of the encoder, one of the decoder a class.

        Parameters
        ----------
        model
            The explained model; it is not run.
        inputs
            As for a call.
        classes
            Which; all covered classes (`Explainer.covered`) when left out.

        Returns
        -------
        Tensor
            `(n, k, rows, columns)` float32 masks in [0, 1] on the finest stage's grid.

        Raises
        ------
        DoesNotFit
            When the explainer is not the model's.
        """
        model = model if isinstance(model, Model) else Model(model)
        if reason := self.unfit(model):
            raise DoesNotFit(f"Asked {self.title} for masks of {model.name}", f"It does not fit: {reason}")
        explainer = open_explainer(self.explainer or "")
        x = model.prepare(inputs).tensor.to(model.device)
        masking, row = _masking_model(explainer, x.device)
        wanted = torch.tensor(explainer.covered if classes is None else list(classes))
        with torch.inference_mode():
            features = auxiliary_features(explainer, x, model.preprocess)
            each = [masking(features, r.to(x.device).expand(len(x)), self.confidence) for r in row[wanted]]
            return torch.stack(each, 1).cpu()


def _masking_model(explainer: Explainer, device: torch.device) -> tuple[MaskingModel, Tensor]:
    if explainer not in _MODELS:
        _MODELS[explainer] = unpacked(explainer.tensors, explainer.classes)
    masking, row = _MODELS[explainer]
    return masking.to(device), row
