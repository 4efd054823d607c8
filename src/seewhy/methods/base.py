"""Method: how an explanation is made. Abstract here, final in its file; never anything in between."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from seewhy import provenance
from seewhy.attribution import Attribution
from seewhy.errors import BadInput, DoesNotFit, SeeWhyError
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.question import Question, ask
from seewhy.registry import Registry
from seewhy.targets import TargetLike
from seewhy.types import Cells, Json, Maps, ScoreKind, Size

Need = Literal["gradient", "layer"]
Native = Literal["pixels", "layer grid", "windows"]


@dataclass(frozen=True)
class Paper:
    """Where a method was published."""

    title: str
    authors: str
    year: int
    url: str


@dataclass(frozen=True)
class Cost:
    """Model inputs that go forward and backward for one sample."""

    forward: int
    backward: int = 0


@dataclass(frozen=True)
class Estimate:
    """What a method knows so far.

    Parameters
    ----------
    native
        `(n, *cells)` on the method's own grid, float32.
    values
        `(n, *size)` at input resolution; None: `native`, resized.
    done, total
        Steps taken and steps planned.
    notes
        Facts about the result worth keeping (the layer used ...), JSON-serialisable.
    reliability
        For each sample, what the method knows of its own error (completeness, split-half agreement ...).
    """

    native: Cells
    values: Maps | None = None
    done: int = 1
    total: int = 1
    notes: Json | None = None
    reliability: tuple[Json, ...] | None = None


@dataclass(frozen=True)
class Method(ABC):
    """Hyper-parameters of one way to explain, callable on a model, inputs and a target.

    Subclasses are frozen dataclasses, final, registered with `@METHODS.register`; the module's docstring is
    the method's page. They declare the facts below and write `estimate`.
    """

    name: ClassVar[str]
    """Identifier, as in `--method`."""
    title: ClassVar[str]
    """As the paper spells it."""
    needs: ClassVar[frozenset[Need]] = frozenset()
    """What the model must offer besides a forward pass."""
    native: ClassVar[Native] = "pixels"
    """The grid on which the method works."""
    streams: ClassVar[bool] = False
    """Whether it refines: yields estimates before the last one."""
    reads_only: ClassVar[bool] = False
    """Whether all it does is read layers and gradients, so that first passes in half precision do for it."""
    steps_parameter: ClassVar[str] = ""
    """Parameter that is the number of steps, where a run stopped after n of them is a run of n; else ""."""
    prefers: ClassVar[ScoreKind] = "logit"
    """Score of a class when the target leaves it open."""
    paper: ClassVar[Paper]

    @property
    @abstractmethod
    def signed(self) -> bool:
        """Whether negative values mean something (with these parameters)."""

    @abstractmethod
    def cost(self, size: Size) -> Cost:
        """Passes for one sample of `size`, `(height, width)` or `(frames, height, width)`.

        -1 where it depends on the model.
        """

    @abstractmethod
    def estimate(self, question: Question) -> Iterator[Estimate]:
        """Yield one or more estimates, the last one final. Runs inside `model.untouched()`."""

    def layers(self, model: Model, input_shape: Size) -> tuple[str, ...]:
        """Return the layers that the method reads on the inputs themselves, for inputs of `(c, *size)`."""
        return ()

    @property
    def differentiates(self) -> bool:
        """Whether it differentiates with respect to `layers` (with these parameters)."""
        return "gradient" in self.needs

    @property
    def targeted(self) -> bool:
        """Whether the map depends on the target (with these parameters)."""
        return True

    @property
    def score_kind(self) -> ScoreKind:
        """Score of a class when the target leaves it open (with these parameters); `prefers` by default."""
        return self.prefers

    # -- the same for all -----------------------------------------------------------------------------------

    def unfit(self, model: Model) -> str:
        """Return why this method cannot explain `model`, or "" when it can."""
        if self.needs and not model.differentiable:
            return f"it needs {' and '.join(sorted(self.needs))}; {model.name} only runs forward"
        return ""

    def __call__(
        self,
        model: Model | nn.Module,
        inputs: Any,
        target: TargetLike | Sequence[TargetLike] = None,
        execution: Execution | None = None,
    ) -> Attribution:
        """Explain `inputs`.

        Parameters
        ----------
        model
            A `Model`, or a bare network.
        inputs
            Paths, PIL images, a normalised `(n, c, *size)` tensor, or `Inputs`.
        target
            A class index, label, `Target`, function of the raw output, or a sequence of one each; None is
            the model's own answer.
        execution
            Options of the run.

        Returns
        -------
        Attribution
            `values` of shape `(n, *size)`.

        Raises
        ------
        DoesNotFit
            When the method cannot explain this model, with the reason.
        BadInput
            For inputs or targets that do not go with the model.
        """
        *_, final = self._stream(model, inputs, target, execution, watched=False)
        return final

    def stream(
        self,
        model: Model | nn.Module,
        inputs: Any,
        target: TargetLike | Sequence[TargetLike] = None,
        execution: Execution | None = None,
    ) -> Iterator[Attribution]:
        """Yield ever better attributions; the last one equals what calling the method returns."""
        yield from self._stream(model, inputs, target, execution, watched=True)

    def _stream(
        self,
        model: Model | nn.Module,
        inputs: Any,
        target: TargetLike | Sequence[TargetLike],
        execution: Execution | None,
        *,
        watched: bool,
    ) -> Iterator[Attribution]:
        model = model if isinstance(model, Model) else Model(model)
        execution = execution or Execution()
        if reason := self.unfit(model):
            raise DoesNotFit(
                f"Asked {self.title} to explain {model.name}",
                f"It does not fit: {reason}",
                "`seewhy methods --model SPEC` lists those that do",
            )
        batch = model.prepare(inputs)
        started = time.perf_counter()
        with model.untouched(execution.device):
            try:
                layers = self.layers(model, tuple(batch.tensor.shape[1:]))
            except SeeWhyError:
                model.check_weights()  # unsound weights are the better reason
                raise
            question = ask(
                model,
                batch.tensor,
                target,
                execution,
                self.score_kind,
                layers,
                differentiable=self.differentiates,
                halves=self.reads_only,
                watched=watched,
            )
            # Unwatched, all happens in here: to leave the model as it was takes time, too. The estimate comes
            # first, so that an accelerator has work while the host asks it for what the record holds.
            last = None if watched else deque(self.estimate(question), maxlen=1).pop()
            notes = provenance.of_model(model, batch, question.weights)
            notes["inputs"] = provenance.of_inputs(model, batch, question)
            pixels = provenance.display_pixels(model, batch)
        for estimate in self._watched(question) if last is None else (last,):
            passes = {
                "forward": question.passes.forward // len(batch),
                "backward": question.passes.backward // len(batch),
            }
            values = None if estimate.values is None else estimate.values.detach().float().cpu()
            reliability = estimate.reliability or ({},) * len(batch)
            samples = [
                {**sample, "reliability": facts}
                for sample, facts in zip(notes["inputs"], reliability, strict=True)
            ]
            yield Attribution(
                values,
                estimate.native.detach().float().cpu(),
                pixels,
                {
                    **notes,
                    "inputs": samples,
                    "method": self.name,
                    "parameters": self.parameters(),
                    "signed": self.signed,
                    "native": self.native,
                    **question.notes,
                    **(estimate.notes or {}),
                    "steps": {"done": estimate.done, "total": estimate.total},
                    "passes": passes,
                    "seconds": time.perf_counter() - started,
                    "execution": provenance.of_run(execution),
                },
            )

    def _watched(self, question: Question) -> Iterator[Estimate]:
        """Yield estimates, the model as found whenever the caller has the word."""
        estimates = self.estimate(question)
        while True:
            with question.model.untouched(question.execution.device):
                estimate = next(estimates, None)
            if estimate is None:
                return
            yield estimate

    def parameters(self) -> Json:
        """Return the hyper-parameters as plain JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def make(cls, **parameters: Any) -> Method:
        """Build the method from keywords, refusing unknown ones with the nearest names.

        Raises
        ------
        BadInput
            For an unknown parameter.
        """
        from seewhy.errors import UnknownName

        known = [f.name for f in fields(cls)]
        for key in parameters:
            if key not in known:
                raise UnknownName(f"parameter of {cls.name}", key, known)
        return cls(**parameters)

    @classmethod
    def page(cls) -> str:
        """Return the documentation page: the docstring of the method's module."""
        import inspect

        return inspect.cleandoc(inspect.getmodule(cls).__doc__ or "")


METHODS: Registry[Method] = Registry("method", "seewhy.methods")


def require(condition: bool, asked: str, found: object, do: str) -> None:
    """Raise `BadInput` for a hyper-parameter out of range."""
    if not condition:
        raise BadInput(asked, f"Found {found}", do)


def channel_sum(maps: Tensor) -> Tensor:
    """Return `(n, *size)`: `(n, c, *size)` summed over channels, in float32."""
    return torch.sum(maps.float(), 1)
