"""Options that several commands share, each described once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from seewhy.execution import Execution, Precision, Progress

DEFAULT_MODEL = "efficientnet-lite0"
DEFAULT_OUT = Path("seewhy-out")
DEFAULT_METRICS = "deletion,insertion"

ModelSpec: TypeAlias = Annotated[
    str,
    Parameter(
        help="Spec of the model: efficientnet-lite0, timm:NAME, torchvision:NAME, hf:ORG/NAME, onnx:FILE or "
        "FILE.py:FUNCTION (which runs that file); ?key=value passes options."
    ),
]
TargetText: TypeAlias = Annotated[
    str | None,
    Parameter(help='Class index or label, "top 2", or "A vs B"; the model\'s own answer when left out.'),
]
OutFolder: TypeAlias = Annotated[Path, Parameter(help="Folder for the files; made when missing.")]
MetricNames: TypeAlias = Annotated[
    str,
    Parameter(
        help="Metrics separated by commas; `seewhy metrics` lists them. A name may say parameters: "
        "'average_drop?keep=50,average_drop?keep=15&operator=blur'."
    ),
]
Steps: TypeAlias = Annotated[
    int | None,
    Parameter(help="Steps of the metrics that edit step by step; their own default when left out."),
]
AsJson: TypeAlias = Annotated[
    bool, Parameter(name="--json", negative=(), help="Print JSON for machines instead of a table.")
]


@Parameter(name="*", group="Options of the run")
@dataclass(frozen=True)
class RunOptions:
    """How to run.

    Parameters
    ----------
    seed
        Seed of everything random.
    batch_size
        Model inputs a forward pass; chosen by itself when left out.
    precision
        Arithmetic of forward-only passes: auto takes half precision where a trial on the inputs shows that it
        keeps the order of scores; fp32, fp16 and bf16 are taken as asked.
    compiled
        Run forward-only passes through torch.compile; by itself only for very long runs on an accelerator.
    device
        Where to run: cpu, cuda, cuda:1, mps. The CPU when left out.
    """

    seed: int = 0
    batch_size: int | None = None
    precision: Precision = "auto"
    compiled: bool | None = None
    device: str | None = None

    def execution(self, progress: Progress | None = None) -> Execution:
        """Return the library's form of these options; the device is the business of `load`.

        Raises
        ------
        BadInput
            For a batch size below 1.
        """
        return Execution(
            seed=self.seed,
            batch_size=self.batch_size,
            precision=self.precision,
            compiled=self.compiled,
            progress=progress,
        )


DEFAULT_RUN = RunOptions()
