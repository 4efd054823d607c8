"""The loop: one for all methods, plain PyTorch.

A run is a function of its step number: images come by index, the learning rate is computed, nothing draws
from a generator. A checkpoint therefore holds weights, the optimiser's state and the counts, and a run that
was killed goes on bit for bit on the same processor.

Plain, and not on Lightning Fabric or accelerate: what is trained is small, one device is enough, and the
loop's promises (bit for bit, frozen networks untouched, a cancelled run keeps its checkpoint) are ours to
keep.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seewhy import provenance
from seewhy.errors import BadInput, Cancelled, NotFinite
from seewhy.execution import Execution
from seewhy.methods.learned.explainer import Explainer
from seewhy.models.model import Model
from seewhy.training import checkpoints, held_out
from seewhy.training.base import Trainee, Training
from seewhy.training.coverage import told
from seewhy.training.loggers import Logger
from seewhy.training.schedule import Schedule
from seewhy.training.sources import Source
from seewhy.types import Json

_LOG = 10
"""Steps between lines of the log: each reads numbers from the device."""


def train(
    training: Training,
    model: Model,
    source: Source,
    schedule: Schedule | None = None,
    execution: Execution | None = None,
    *,
    out: str | Path | None = None,
    loggers: Sequence[Logger] = (),
) -> Explainer:
    """Train an explainer of a model.

    Parameters
    ----------
    training
        What to train, `PTAMETraining(...)` for one.
    model
        The explained model; it is left as it was, running statistics included.
    source
        Images: `sources.folder(...)`, or one's own `Source`.
    schedule
        How long, how fast.
    execution
        Seed, device, progress, cancelling. A cancelled run keeps a checkpoint where there is `out`.
    out
        Where the explainer will be saved: the checkpoint lies beside it, and a run that was stopped goes on.
        Saving is the caller's.
    loggers
        Take the numbers of every tenth step and of every look.

    Raises
    ------
    Cancelled
        When `execution` asks to stop.
    NotFinite
        When the loss is NaN or infinite.
    BadInput
        When model, method and images do not go together, or a checkpoint is of another run.
    """
    schedule, execution = schedule or Schedule(), execution or Execution()
    device = torch.device(execution.device) if execution.device else model.device
    with ExitStack() as stack:
        stack.enter_context(model.untouched(device))
        classes = class_count(model, source, device)
        trainee = training.begin(model, source.shape, classes, execution.seed)
        for network in trainee.frozen:
            stack.enter_context(network.untouched(device))
        with torch.no_grad():
            trainee.hasten(source.batch(execution.seed, torch.arange(2, device=device)).to(device))
        run = _Run(training, trainee, model, source, schedule, execution, classes, device, out, loggers)
        return run.to_the_end()


class _Run:
    def __init__(
        self,
        training: Training,
        trainee: Trainee,
        model: Model,
        source: Source,
        schedule: Schedule,
        execution: Execution,
        classes: int,
        device: torch.device,
        out: str | Path | None,
        loggers: Sequence[Logger],
    ) -> None:
        self.trainee, self.model, self.source, self.schedule = trainee, model, source, schedule
        self.execution, self.device, self.loggers = execution, device, loggers
        trainee.module.to(device).train()
        kind = arithmetic(schedule.precision, device)
        trainee.arithmetic = nullcontext() if kind is None else torch.autocast(device.type, kind)
        self.scaler = torch.amp.GradScaler(device.type, enabled=kind is torch.float16)
        groups: dict[float, list[Tensor]] = {}
        for name, p in trainee.module.named_parameters():
            groups.setdefault(trainee.rates.get(name, 1.0), []).append(p)
        self.multiples = list(groups)
        self.optimiser = torch.optim.AdamW(
            [{"params": held} for held in groups.values()],
            lr=schedule.rate,
            weight_decay=schedule.weight_decay,
            amsgrad=True,
        )
        self.coverage = torch.zeros(classes, dtype=torch.int64, device=device)
        self.step, self.seconds, self.looks = 0, 0.0, list[Json]()
        self.best: dict[str, Any] | None = None
        self.file = checkpoints.place(Path(out)) if out is not None else None
        self.settings: Json = {"method": training.name, **training.parameters(), **schedule.to_json()}
        self.identity = checkpoints.identity(
            {
                **self.settings,
                "seed": execution.seed,
                "source": source.fingerprint,
                "networks": [network.weights_hash for network in (model, *trainee.frozen)],
            }
        )
        self.apart = source.held_out()[: schedule.held_out].to(device) if schedule.look else None
        self.loss, self.what = float("nan"), "training"

    def to_the_end(self) -> Explainer:
        self._resume()
        for logger in self.loggers:
            logger.resume(self.step)
        started = time.perf_counter() - self.seconds
        try:
            while self.step < self.schedule.steps and not self._patience_is_over():
                self.execution.step(self.step, self.schedule.steps, self.what)
                self._advance()
                self.seconds = time.perf_counter() - started
                self._after()
        except (Cancelled, KeyboardInterrupt) as error:
            self._keep()
            where = f" The checkpoint {self.file} is kept: the same call goes on." if self.file else ""
            raise Cancelled(
                f"Stopped as asked after {self.step} of {self.schedule.steps} steps.{where}"
            ) from error
        finally:
            for logger in self.loggers:
                logger.close()
        return self._finished()

    def _advance(self) -> None:
        s = self.schedule
        indices = torch.arange(self.step * s.batch, (self.step + 1) * s.batch, device=self.device)
        start, stop = self.trainee.turn(self.step, s.steps, indices)
        rate, beta = replace(s, steps=stop - start).at(self.step - start)
        for group, multiple in zip(self.optimiser.param_groups, self.multiples, strict=True):
            group["lr"], group["betas"] = rate * multiple, (beta, group["betas"][1])
        x = self.source.batch(self.execution.seed, indices).to(self.device)
        with torch.enable_grad():
            done = self.trainee.step(x)
            self.optimiser.zero_grad(set_to_none=True)
            self.scaler.scale(done.loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.coverage += torch.bincount(done.classes, minlength=len(self.coverage))
        self.step += 1
        if self.step % _LOG == 0 or self.step == s.steps:
            self._log(done.loss, done.numbers, rate)

    def _log(self, loss: Tensor, numbers: Any, rate: float) -> None:
        self.loss = float(loss.detach())
        if not math.isfinite(self.loss):
            raise NotFinite(
                f"Asked to train for {self.model.name}",
                f"The loss became {self.loss} in step {self.step}",
                "Give a lower rate, or precision fp32",
            )
        line = {"loss": self.loss, **{k: float(v) for k, v in numbers.items()}, "rate": rate}
        line["classes covered"] = float((self.coverage > 0).sum())
        self.what = f"training, loss {self.loss:.3f}, {told(self.coverage)}"
        for logger in self.loggers:
            logger.log(self.step, line)

    def _after(self) -> None:
        s, last = self.schedule, self.step == self.schedule.steps
        if self.apart is not None and self.trainee.ready and (last or self.step % s.look == 0):
            found = held_out.look(self.trainee, self.model, self.apart, s.criterion, self.execution)
            if not self.looks or found["score"] > max(entry["score"] for entry in self.looks):
                state = self.trainee.module.state_dict()
                self.best = {k: v.detach().clone() for k, v in state.items()}
            self.looks.append({"step": self.step, **found})
            for logger in self.loggers:
                logger.log(self.step, {f"held-out {k}": v for k, v in found.items()})
        if s.checkpoint and not last and self.step % s.checkpoint == 0:
            self._keep()

    def _patience_is_over(self) -> bool:
        scores = [entry["score"] for entry in self.looks]
        patience = self.schedule.patience
        return (
            bool(patience) and len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])
        )

    def _keep(self) -> None:
        if self.file is None:
            return
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "module": self.trainee.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "coverage": self.coverage,
            "looks": self.looks,
            "best": self.best,
        }
        checkpoints.write(self.file, self.identity, state)

    def _resume(self) -> None:
        state = checkpoints.read(self.file, self.identity) if self.file is not None else None
        if state is None:
            return
        self.step, self.seconds, self.looks = state["step"], state["seconds"], state["looks"]
        self.trainee.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.coverage = state["coverage"].to(self.device)
        self.best = state["best"]

    def _finished(self) -> Explainer:
        if self.best is not None:
            self.trainee.module.load_state_dict(self.best)
        self.trainee.module.eval()
        record: Json = {
            "steps": self.step,
            "images": self.step * self.schedule.batch,
            "seconds": self.seconds,
            "loss": self.loss,
            "looks": self.looks,
            "seed": self.execution.seed,
            "source": self.source.fingerprint,
            "device": str(self.device),
            "versions": provenance.versions(),
        }
        return self.trainee.finished(tuple(self.coverage.tolist()), self.settings, record)


def arithmetic(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the half-precision type of frozen passes, or None for single precision.

    Raises
    ------
    BadInput
        For fp16 on a processor.
    """
    if precision == "fp16" and device.type == "cpu":
        raise BadInput(
            "Asked to train in fp16 on a processor", "It has no units for it", "Choose bf16, fp32 or auto"
        )
    return {"auto": None, "fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def class_count(model: Model, source: Source, device: torch.device) -> int:
    """Return the number of classes of a model's answers to a source's images.

    Raises
    ------
    BadInput
        When its answers are no classes.
    """
    with torch.no_grad():
        output = model.answer(source.batch(0, torch.arange(2, device=device))).output
    if output.ndim != 2 or model.kind(output) != "classes":
        raise BadInput(
            f"Asked to train an explainer of {model.name}",
            f"Its output is {tuple(output.shape)}, which are no classes",
            "Put classes on top, for instance by a linear probe (seewhy.models.probe)",
        )
    return int(output.shape[1])
