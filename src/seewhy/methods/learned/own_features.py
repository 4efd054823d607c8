"""What TAME, T-TAME and L-CAM share once trained: features of the explained network, a head, scaled maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seewhy.errors import DoesNotFit
from seewhy.methods.base import Cost, Estimate, Method, Native, Need
from seewhy.methods.learned.explainer import Explainer, misfit, open_explainer
from seewhy.methods.learned.ptame import asked_classes, explainer_notes, head_of, scaled
from seewhy.methods.learned.stages import Features, find_stages
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Json, Size


@dataclass(frozen=True)
class OwnFeatures(Method):
    """Maps from features of the explained network itself by a trained head; abstract.

    Parameters
    ----------
    explainer
        File that `seewhy train` wrote for the model.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"layer"})
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
        if not model.differentiable:
            return f"it reads the network's layers; {model.name} only runs forward"
        return misfit(self.explainer, self.name, model)

    def layers(self, model: Model, input_shape: Size) -> tuple[str, ...]:
        """See `Method.layers`: those of the explainer, so that the first pass gives their features."""
        return stage_names(open_explainer(self.explainer or ""))

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        yield scaled_maps(question, open_explainer(self.explainer or ""), self.title)

    def all_classes(
        self, model: Model | nn.Module, inputs: Any, classes: Sequence[int] | None = None
    ) -> Tensor:
        """Return the maps of many classes for the price of one pass.

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
            `(n, k, rows, columns)` float32 on the finest layer's grid, before scaling.

        Raises
        ------
        DoesNotFit
            When the explainer is not the model's.
        """
        model = model if isinstance(model, Model) else Model(model)
        if reason := self.unfit(model):
            raise DoesNotFit(f"Asked {self.title} for maps of {model.name}", f"It does not fit: {reason}")
        explainer = open_explainer(self.explainer or "")
        x = model.prepare(inputs).tensor.to(model.device, model.dtype)
        head, row = head_of(explainer, x.device)
        wanted = torch.tensor(explainer.covered if classes is None else list(classes))
        with torch.inference_mode(), model.untouched():
            stages = find_stages(model, tuple(x.shape[1:]), stage_names(explainer))
            features, _ = Features(model, stages)(x)
            return head.every([f.float() for f in features], row[wanted].to(x.device)).cpu()


def stage_names(explainer: Explainer) -> tuple[str, ...]:
    """Return the layers that an explainer was trained on."""
    return tuple(explainer.settings["stages"])


def scaled_maps(question: Question, explainer: Explainer, title: str) -> Estimate:
    """Return each sample's map of its class, from 0 to 1; of the first pass where that was kept."""
    classes = asked_classes(question, explainer, title)
    head, row = head_of(explainer, question.x.device)
    rows = row[torch.tensor(classes)].to(question.x.device)
    names = stage_names(explainer)
    stages = find_stages(question.model, tuple(question.x.shape[1:]), names)

    def maps(start: int, stop: int) -> Tensor:
        with torch.no_grad():
            answer = question.differentiable_answer(start, stop, names)
            features = [stage.grid.read(answer.activations[stage.layer]).float() for stage in stages]
            part: Tensor = head(features, rows[start:stop])
            return part

    found = torch.cat(list(question.in_batches(len(question.x), maps, title)))
    native = scaled(found, explainer.settings.get("objective"))
    notes: Json = {"layers": [stage.layer for stage in stages], "explainer": explainer_notes(explainer)}
    trained = tuple({"images that trained the class": explainer.coverage[c]} for c in classes)
    return Estimate(native, notes=notes, reliability=trained)
