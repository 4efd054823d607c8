"""A training: what is trained, and what one step of it computes. The loop knows nothing else of a method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor, nn

from seewhy.methods.learned.explainer import Explainer
from seewhy.models.model import Model
from seewhy.registry import Registry
from seewhy.types import Batch, Json, Maps, Rows, Size


@dataclass(frozen=True)
class Step:
    """One step's answer.

    Parameters
    ----------
    loss
        The scalar to differentiate.
    classes
        `(k,)` the classes that images trained, one entry an image.
    numbers
        Detached scalars worth logging: the terms of the loss.
    """

    loss: Tensor
    classes: Rows
    numbers: Mapping[str, Tensor]


class Trainee(ABC):
    """A method in training, on one device. Frozen networks are left alone; only `module` changes."""

    module: nn.Module
    """All that is trained, buffers included: what a checkpoint keeps."""
    frozen: tuple[Model, ...]
    """The networks that take part and stay as they are."""
    rates: Mapping[str, float] = MappingProxyType({})
    """Parameters of `module` that learn at another rate than the schedule's: its multiple, by name."""
    arithmetic: AbstractContextManager[object]
    """Entered around passes of frozen networks: mixed precision, where it was asked for. Set by the loop."""

    @abstractmethod
    def hasten(self, x: Batch) -> None:
        """Ask copies of the frozen networks from here on, where they answer `(n, c, h, w)` inputs sooner.

        Called once, before the first step, with images of the run.
        """

    def turn(self, step: int, steps: int, images: Rows) -> tuple[int, int]:
        """Take notice of the step that comes, of `steps`, and of `(n,)` numbers of its images in the run.

        What a step draws, it draws by these numbers.

        Returns
        -------
        tuple
            First step, and the one behind the last, of the cycle of the learning rate that it is in.
        """
        return 0, steps

    @property
    def ready(self) -> bool:
        """Whether maps are trained yet: held-out images are looked at from then on."""
        return True

    @abstractmethod
    def step(self, x: Batch) -> Step:
        """Return the loss on `(n, c, h, w)` inputs of the explained model."""

    @abstractmethod
    def maps(self, x: Batch, classes: Rows) -> Maps:
        """Return `(n, h, w)` explanations as the method will give them, at input resolution."""

    @abstractmethod
    def finished(self, coverage: Sequence[int], settings: Json, record: Json) -> Explainer:
        """Return the trained explainer."""


@dataclass(frozen=True)
class Training(ABC):
    """Parameters of a method's training: architecture and loss. Registered with `@TRAININGS.register`."""

    name: ClassVar[str]
    """The method that uses the result."""
    title: ClassVar[str]
    searched: ClassVar[tuple[str, ...]] = ()
    """Weights of the loss that `search_weights` varies: all but one, since only their ratios matter."""

    @abstractmethod
    def begin(self, model: Model, input_shape: Size, classes: int, seed: int) -> Trainee:
        """Return the method, untrained, for a model, inputs of `(c, h, w)` and its number of classes.

        Raises
        ------
        BadInput
            When the method cannot be trained for this model.
        """

    def parameters(self) -> Json:
        """Return the parameters as plain JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


TRAININGS: Registry[Training] = Registry("training", "seewhy.training")
