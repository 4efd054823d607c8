"""Where the numbers of a training go: lines of JSON by default; TensorBoard, W&B and MLflow as extras."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from seewhy.errors import MissingExtra, UnknownName


@runtime_checkable
class Logger(Protocol):
    """Takes numbers by name. `resume` comes first, then `log` with rising steps, then `close`."""

    def resume(self, step: int) -> None:
        """Forget what was logged at `step` or later: the run goes on from there."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Take the numbers of one step."""

    def close(self) -> None:
        """Finish."""


class Lines:
    """JSON lines in a file: `{"step": 10, "loss": 0.7, ...}`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resume(self, step: int) -> None:
        """See `Logger.resume`."""
        kept = []
        if step and self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    if json.loads(line)["step"] < step:
                        kept.append(line)
                except (ValueError, KeyError):
                    continue  # a line that was cut off when the run was killed
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Logger.log`."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")

    def close(self) -> None:
        """See `Logger.close`."""


class _Service:
    """Loggers of other packages: what was sent cannot be taken back, steps may come twice after a kill."""

    def resume(self, step: int) -> None:
        """See `Logger.resume`."""


class TensorBoard(_Service):
    """Scalars for TensorBoard in a folder beside the explainer."""

    def __init__(self, out: Path) -> None:
        writer = _imported("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self.writer: Any = writer(str(out.with_name(out.name + ".tensorboard")))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Logger.log`."""
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """See `Logger.close`."""
        self.writer.close()


class WeightsAndBiases(_Service):
    """A run of Weights & Biases, as its own environment variables say (WANDB_MODE=offline keeps it here)."""

    def __init__(self, out: Path) -> None:
        self.run: Any = _imported("wandb", "wandb").init(project="seewhy", name=out.stem, dir=str(out.parent))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Logger.log`."""
        self.run.log(dict(numbers), step=step)

    def close(self) -> None:
        """See `Logger.close`."""
        self.run.finish()


class MLflow(_Service):
    """A run of MLflow, as its own environment variables say (MLFLOW_TRACKING_URI)."""

    def __init__(self, out: Path) -> None:
        self.mlflow: Any = _imported("mlflow", "mlflow")
        self.mlflow.start_run(run_name=out.stem)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """See `Logger.log`."""
        self.mlflow.log_metrics(dict(numbers), step=step)

    def close(self) -> None:
        """See `Logger.close`."""
        self.mlflow.end_run()


SERVICES: dict[str, Callable[[Path], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}
"""By the name that the command line takes."""


def logger(name: str, out: Path) -> Logger:
    """Return the logger of that name for an explainer that will be `out`.

    Raises
    ------
    UnknownName, MissingExtra
        When there is no such logger, or its package is not installed.
    """
    if name not in SERVICES:
        raise UnknownName("logger", name, sorted(SERVICES))
    return SERVICES[name](out)


def _imported(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(f"Asked to log to {package}", package, f"pip install {package}") from error
