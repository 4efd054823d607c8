"""What TAME, T-TAME and L-CAM share once trained: features of the explained network, a head, scaled maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import DoesNotFit
from seewhy.methods.base import Estimate, Method
from seewhy.methods.learned.explainer import Explainer, open_explainer
from seewhy.methods.learned.ptame import asked_classes, explainer_notes, head_of, unit
from seewhy.methods.learned.stages import Features, find_stages
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Json


def misfit(method: Method, explainer: str | None, model: Model) -> str:
    """Return why a method cannot explain `model` with the explainer in a file, None for no file, or ""."""
    if not model.differentiable:
        return f"it reads the network's layers; {model.name} only runs forward"
    if explainer is None:
        return (
            f"it needs an explainer trained for {model.name}: seewhy train {method.name} --model SPEC "
            "--data FOLDER --out FILE, then --explainer FILE"
        )
    return open_explainer(explainer).unfit(method.name, model)


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
            found: Tensor = head(features, rows[start:stop])
            return found

    native = unit(torch.cat(list(question.in_batches(len(question.x), maps, title))))
    notes: Json = {"layers": [stage.layer for stage in stages], "explainer": explainer_notes(explainer)}
    trained = tuple({"images that trained the class": explainer.coverage[c]} for c in classes)
    return Estimate(native, notes=notes, reliability=trained)


def maps_of_classes(
    method: Method, file: str | None, model: Model | nn.Module, inputs: Any, classes: Sequence[int] | None
) -> Tensor:
    """Return `(n, k, rows, columns)` unscaled maps of many classes for one pass of the network.

    Raises
    ------
    DoesNotFit
        When the explainer is not the model's.
    """
    model = model if isinstance(model, Model) else Model(model)
    if reason := method.unfit(model):
        raise DoesNotFit(f"Asked {method.title} for maps of {model.name}", f"It does not fit: {reason}")
    explainer = open_explainer(file or "")
    x = model.prepare(inputs).tensor.to(model.device, model.dtype)
    head, row = head_of(explainer, x.device)
    wanted = torch.tensor(explainer.covered if classes is None else list(classes))
    with torch.inference_mode(), model.untouched():
        features, _ = Features(model, find_stages(model, tuple(x.shape[1:]), stage_names(explainer)))(x)
        return head.every([f.float() for f in features], row[wanted].to(x.device)).cpu()
