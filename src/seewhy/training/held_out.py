"""Looks at held-out images: how faithful the maps are that the method would give now. Higher is better."""

from __future__ import annotations

import torch

from seewhy.execution import Execution
from seewhy.metrics.faithfulness.average_drop import AverageDrop
from seewhy.metrics.faithfulness.increase_in_confidence import IncreaseInConfidence
from seewhy.metrics.faithfulness.road import ROAD
from seewhy.models.model import Model
from seewhy.question import ask
from seewhy.training.base import Trainee
from seewhy.training.schedule import Criterion
from seewhy.types import Batch

SHARES = (100.0, 50.0, 15.0)


def look(
    trainee: Trainee, model: Model, x: Batch, criterion: Criterion, execution: Execution
) -> dict[str, float]:
    """Return the score of the maps of held-out `(n, c, h, w)` inputs, and its parts, for the model's answers.

    `score` is the mean over 100, 50 and 15 per cent of (increase in confidence - average drop), in per cent,
    or ROAD.
    """
    quiet = Execution(seed=execution.seed, precision="fp32", batch_size=execution.batch_size)
    training = trainee.module.training
    trainee.module.eval()
    try:
        question = ask(model, x, None, quiet, "probability")
        classes = question.output.argmax(1)
        with torch.no_grad():
            maps = torch.cat(
                [trainee.maps(question.x[i : i + 32], classes[i : i + 32]) for i in range(0, len(x), 32)]
            ).float()
        if criterion == "road":
            return {"score": float(ROAD().measure(question, maps).values.nanmean())}
        parts = {}
        for keep in SHARES:
            parts[f"ad{keep:.0f}"] = float(AverageDrop(keep=keep).measure(question, maps).values.nanmean())
            parts[f"ic{keep:.0f}"] = float(
                IncreaseInConfidence(keep=keep).measure(question, maps).values.nanmean()
            )
        score = sum(v if k.startswith("ic") else -v for k, v in parts.items()) / len(SHARES)
        return {"score": score, **parts}
    finally:
        trainee.module.train(training)
