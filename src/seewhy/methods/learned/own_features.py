"""What TAME, T-TAME and L-CAM share once trained: features of the explained network, a head, scaled maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.methods.base import Need
from seewhy.methods.learned.explainer import Explainer, open_explainer
from seewhy.methods.learned.ptame import head_of, scaled
from seewhy.methods.learned.stages import Features, find_stages
from seewhy.methods.learned.trained import Trained
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Batch, Cells, Json, Size


@dataclass(frozen=True)
class OwnFeatures(Trained):
    """Maps from features of the explained network itself by a trained head; abstract.

    Parameters
    ----------
    explainer
        File that `seewhy train` wrote for the model.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"layer"})

    def unfit(self, model: Model) -> str:
        """See `Method.unfit`."""
        if not model.differentiable:
            return f"it reads the network's layers; {model.name} only runs forward"
        return super().unfit(model)

    def layers(self, model: Model, input_shape: Size) -> tuple[str, ...]:
        """See `Method.layers`: those of the explainer, so that the first pass gives their features."""
        return _named(open_explainer(self.explainer or ""))

    def sources(self, explainer: Explainer) -> Json:
        """See `Trained.sources`."""
        return {"layers": list(_named(explainer))}

    def drawing(
        self, explainer: Explainer, question: Question, classes: Sequence[int]
    ) -> Callable[[int, int], Cells]:
        """See `Trained.drawing`; of the first pass where that was kept."""
        head, row = head_of(explainer, question.x.device)
        rows = row[torch.tensor(classes)].to(question.x.device)
        names = _named(explainer)
        stages = find_stages(question.model, tuple(question.x.shape[1:]), names)

        def maps(start: int, stop: int) -> Cells:
            with torch.no_grad():
                answer = question.differentiable_answer(start, stop, names)
                features = [stage.grid.read(answer.activations[stage.layer]).float() for stage in stages]
                part: Cells = head(features, rows[start:stop])
                return part

        return maps

    def finished(self, explainer: Explainer, maps: Cells) -> Cells:
        """See `Trained.finished`."""
        return scaled(maps, explainer.settings.get("objective"))

    def every(self, explainer: Explainer, model: Model, x: Batch, classes: Tensor) -> Tensor:
        """See `Trained.every`."""
        x = x.to(model.dtype)
        head, row = head_of(explainer, x.device)
        with model.untouched():
            stages = find_stages(model, tuple(x.shape[1:]), _named(explainer))
            features, _ = Features(model, stages)(x)
            return head.every([f.float() for f in features], row[classes].to(x.device))


def _named(explainer: Explainer) -> tuple[str, ...]:
    """Return the layers that an explainer was trained on."""
    return tuple(explainer.settings["stages"])
