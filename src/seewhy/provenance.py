"""What a result remembers of its making: model, weights, preprocessing, inputs, versions, options."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata

import torch
from torch import Tensor

import seewhy
from seewhy.execution import Execution
from seewhy.inputs.batch import Inputs
from seewhy.models.model import Model
from seewhy.question import Question
from seewhy.types import Json


def of_model(model: Model, batch: Inputs, weights: str) -> Json:
    """Return what identifies the model, its weights' hash included, and the way inputs were prepared."""
    return {
        "model": model.name,
        "weights_sha256": weights,
        "preprocessing": model.preprocess.to_json() if model.preprocess is not None else None,
        "input_size": list(batch.tensor.shape[1:]),
        "versions": versions(),
    }


def of_inputs(model: Model, batch: Inputs, question: Question) -> list[Json]:
    """Return, for each sample, its name, predictions, target and score."""
    predictions = model.predictions(question.output)
    return [
        {"path": name, "predictions": [vars(p) for p in top], "target": target, "score": score}
        for name, top, target, score in zip(
            batch.names, predictions, question.target.descriptions, question.clean.tolist(), strict=True
        )
    ]


def of_run(execution: Execution) -> Json:
    """Return the options that can change a result's bits."""
    return {
        "seed": execution.seed,
        "batch_size": execution.batch_size,
        "precision": execution.precision,
        "compiled": execution.compiled,
    }


def versions() -> Json:
    """Return the versions of SeeWhy, torch and Python, and the kind of device."""
    return dict(_versions())


@cache
def _versions() -> Json:
    return {
        "seewhy": seewhy.__version__,
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
    }


def display_pixels(model: Model, batch: Inputs) -> Tensor:
    """Return `(n, c, *size)` uint8 pixels of the inputs as the model saw them, on their device.

    Without a preprocessing to invert, each sample is scaled to its own range.
    """
    x = batch.tensor.detach().float()
    if model.preprocess is not None and len(model.preprocess.mean) == x.shape[1]:
        # All at once: the samples stand where one of them has its first axis behind the channels.
        return model.preprocess.display(x.transpose(0, 1)).transpose(0, 1).contiguous()
    low, high = x.flatten(1).amin(1), x.flatten(1).amax(1)
    span = (high - low).clamp_min(1e-12)
    shape = (-1, *[1] * (x.ndim - 1))
    spread = (x - low.reshape(shape)).div_(span.reshape(shape))
    return spread.mul_(255).round_().to(torch.uint8)
