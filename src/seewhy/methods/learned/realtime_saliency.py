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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from seewhy.methods.base import METHODS, Paper, require
from seewhy.methods.learned.auxiliary import auxiliary_features
from seewhy.methods.learned.explainer import Explainer
from seewhy.methods.learned.masking_model import MaskingModel, unpacked
from seewhy.methods.learned.trained import Trained
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Batch, Cells

_MODELS: WeakKeyDictionary[Explainer, tuple[MaskingModel, Tensor]] = WeakKeyDictionary()


@METHODS.register
@dataclass(frozen=True)
class RealtimeSaliency(Trained):
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
    paper: ClassVar[Paper] = Paper(
        "Real Time Image Saliency for Black Box Classifiers",
        "Dabkowski, Gal",
        2017,
        "https://arxiv.org/abs/1705.07857",
    )

    confidence: float = 0.0

    def __post_init__(self) -> None:
        require(isfinite(self.confidence), "Asked for a confidence", self.confidence, "Give a finite number")

    def drawing(
        self, explainer: Explainer, question: Question, classes: Sequence[int]
    ) -> Callable[[int, int], Cells]:
        """See `Trained.drawing`."""
        masking, row = _masking_model(explainer, question.x.device)
        rows = row[torch.tensor(classes)].to(question.x.device)

        def masks(start: int, stop: int) -> Cells:
            with torch.no_grad():
                features = auxiliary_features(explainer, question.x[start:stop], question.model.preprocess)
                drawn: Cells = masking(features, rows[start:stop], self.confidence)
                return drawn

        return masks

    def every(self, explainer: Explainer, model: Model, x: Batch, classes: Tensor) -> Tensor:
        """See `Trained.every`; masks lie in [0, 1], and each costs a pass of the decoder."""
        masking, row = _masking_model(explainer, x.device)
        features = auxiliary_features(explainer, x, model.preprocess)
        each = [masking(features, r.to(x.device).expand(len(x)), self.confidence) for r in row[classes]]
        return torch.stack(each, 1)


def _masking_model(explainer: Explainer, device: torch.device) -> tuple[MaskingModel, Tensor]:
    if explainer not in _MODELS:
        _MODELS[explainer] = unpacked(explainer.tensors, explainer.classes)
    masking, row = _MODELS[explainer]
    return masking.to(device), row
