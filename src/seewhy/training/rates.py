"""The learning-rate finder: the rate grows in a short run; where the loss falls fastest is the rate to take.

Smith: Cyclical Learning Rates for Training Neural Networks, 2017, https://arxiv.org/abs/1506.01186. The rate
grows by the same factor each step; the loss is an exponential average, corrected for its start; the run ends
when that is four times its best. Nothing is kept of the run: the model, and training, begin as if it had
never been.
"""

from __future__ import annotations

import math
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass

import torch

from seewhy.execution import Execution
from seewhy.methods.base import require
from seewhy.models.model import Model
from seewhy.training.base import Training
from seewhy.training.loop import arithmetic, class_count
from seewhy.training.schedule import Schedule
from seewhy.training.sources import Source

_DIVERGED = 4.0


@dataclass(frozen=True)
class Rates:
    """What the finder saw.

    Parameters
    ----------
    rates, losses
        Of each step; losses are averaged.
    best
        The rate at which the averaged loss fell fastest over the logarithm of the rate.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    best: float


def find_rate(
    training: Training,
    model: Model,
    source: Source,
    schedule: Schedule | None = None,
    execution: Execution | None = None,
    *,
    steps: int = 100,
    low: float = 1e-6,
    high: float = 1.0,
    smoothing: float = 0.9,
) -> Rates:
    """Return the rate to train with, and the curve it was read from.

    Parameters
    ----------
    training, model, source, schedule, execution
        As for `loop.train`.
    steps
        At least 8.
    low, high
        The first and the last rate.
    smoothing
        Weight of the past in the average, 0 to below 1.
    """
    require(steps >= 8, "Asked to find a learning rate in steps", steps, "Give at least 8")
    require(
        0 < low < high, "Asked to find a learning rate between", (low, high), "Give two rising rates above 0"
    )
    require(0 <= smoothing < 1, "Asked to average losses with", smoothing, "Give 0 to below 1")
    schedule, execution = schedule or Schedule(), execution or Execution()
    device = torch.device(execution.device) if execution.device else model.device
    rates, losses, mean = list[float](), list[float](), 0.0
    with ExitStack() as stack:
        stack.enter_context(model.untouched(device))
        trainee = training.begin(model, source.shape, class_count(model, source, device), execution.seed)
        for network in trainee.frozen:
            stack.enter_context(network.untouched(device))
        trainee.module.to(device).train()
        kind = arithmetic("fp32" if schedule.precision == "fp16" else schedule.precision, device)
        trainee.arithmetic = nullcontext() if kind is None else torch.autocast(device.type, kind)
        optimiser = torch.optim.AdamW(
            trainee.module.parameters(), lr=low, weight_decay=schedule.weight_decay, amsgrad=True
        )
        for step in range(steps):
            execution.step(step, steps, "finding the learning rate")
            rate = low * (high / low) ** (step / (steps - 1))
            for group in optimiser.param_groups:
                group["lr"] = rate
            indices = torch.arange(step * schedule.batch, (step + 1) * schedule.batch, device=device)
            trainee.turn(steps - 1, steps, indices)  # of a training in parts, the last one
            with torch.enable_grad():
                loss = trainee.step(source.batch(execution.seed, indices).to(device)).loss
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
            optimiser.step()
            mean = smoothing * mean + (1 - smoothing) * float(loss.detach())
            averaged = mean / (1 - smoothing ** (step + 1))
            if not math.isfinite(averaged) or (losses and averaged > _DIVERGED * max(min(losses), 1e-12)):
                break
            rates.append(rate)
            losses.append(averaged)
    return Rates(tuple(rates), tuple(losses), steepest(rates, losses))


def steepest(rates: list[float], losses: list[float]) -> float:
    """Return the rate at which losses fall fastest, rates being one factor apart; skip the first tenth."""
    first = max(1, len(losses) // 10)
    falls = [losses[i + 1] - losses[i - 1] for i in range(first, len(losses) - 1)]
    if not falls:
        return rates[0]
    return rates[first + min(range(len(falls)), key=falls.__getitem__)]
