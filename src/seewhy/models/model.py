"""Model: the network to be explained and everything one must know to ask it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from PIL import Image
from torch import Tensor, nn

from seewhy.errors import BadInput, DoesNotFit, NotFinite
from seewhy.inputs.batch import Inputs
from seewhy.inputs.images import read_image
from seewhy.models import taps, weights
from seewhy.models.labels import Labels
from seewhy.models.outputs import Answer, OutputKey, pick
from seewhy.models.preprocessing import Preprocessing
from seewhy.models.untouched import Parts, untouched
from seewhy.types import Size

Kind = Literal["classes", "embedding", "regression"]
Activation = Literal["softmax", "sigmoid", "none"]


_FACTS: WeakKeyDictionary[nn.Module, dict[OutputKey, dict[Any, Any]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Prediction:
    """One class of one answer: `probability` is in [0, 1]."""

    label: str
    index: int
    probability: float


class Model:
    """A network with its preprocessing, labels and way to read its answer.

    Parameters
    ----------
    module
        The network. Its mode, flags, hooks, random state and weights are left as they are by everything in
        SeeWhy.
    preprocess
        From photos to input tensors; without it only tensors can be explained, and pictures show the input
        scaled to its own range.
    labels
        Class names in order of index.
    name
        How results call it; the class name by default.
    output
        Which part of the forward pass' return value is the answer; the usual ones are found without it.
    kind
        "classes" (scores of classes), "embedding" (a vector) or "regression" (numbers). Derived from the
        labels and the output's width when not given.
    activation
        From the answer to probabilities: "softmax", "sigmoid" (several classes at once), or "none" when the
        network ends in probabilities already.
    differentiable
        False for forward-only runtimes (ONNX): methods that need gradients or layers are refused with the
        reason.
    notes
        What a user should know before trusting results, one sentence each: assumed preprocessing, untrained
        parts.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        preprocess: Preprocessing | None = None,
        labels: Sequence[str] | None = None,
        name: str | None = None,
        output: OutputKey = None,
        kind: Kind | None = None,
        activation: Activation = "softmax",
        differentiable: bool = True,
        notes: Sequence[str] = (),
    ) -> None:
        if not isinstance(module, nn.Module):
            raise BadInput(
                "Asked to explain a model",
                f"Found {type(module).__name__}",
                "Give a torch.nn.Module, or a spec string to seewhy.load",
            )
        self.module: nn.Module = getattr(
            module, "_orig_mod", module
        )  # taps need the eager twin of a compiled module
        self.preprocess = preprocess
        self.labels = labels if isinstance(labels, Labels) or labels is None else Labels(labels)
        self.name = name or type(self.module).__name__
        self.output, self.activation, self.differentiable = output, activation, differentiable
        self.notes = tuple(notes)
        self._kind = kind
        self._dtype: torch.dtype | None = None

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {self._kind or 'kind not yet known'}, on {self.device})"

    def with_module(self, module: nn.Module, dtype: torch.dtype) -> Model:
        """Return this model with a network that does the same work and takes inputs of `dtype`."""
        twin = copy.copy(self)
        twin.__dict__.pop("memo", None)
        twin.module, twin._dtype = module, dtype
        return twin

    # -- where and what ------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next((t.device for t in self._tensors()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights, and of the inputs that the network takes."""
        return self._dtype or next((t.dtype for t in self._tensors() if t.is_floating_point()), torch.float32)

    def kind(self, output: Tensor) -> Kind:
        """Return what the answer holds: scores of classes, a vector, or numbers."""
        if self._kind is None:
            wide = output.ndim == 2 and output.shape[1] > 1
            self._kind = "classes" if self.labels is not None or wide else "regression"
        return self._kind

    @property
    def weights_hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of all parameters and buffers, names and types included.

        Kept until a weight changes. That is told by a check sum over all weights, since writing through
        `.data` leaves no other trace.
        """
        return self._known(weights.sweep(self.module))[0]

    def check_weights(self, sweep: weights.Sweep | None = None) -> str:
        """Return `weights_hash`, provided that all weights are finite.

        Parameters
        ----------
        sweep
            A look at the weights that has begun; None begins one.

        Raises
        ------
        NotFinite
            When a weight is NaN or infinite, with its name.
        """
        found, unsound = self._known(sweep or weights.sweep(self.module))
        if unsound is not None:
            raise NotFinite(
                f"Asked to explain {self.name}",
                f"Its weight {unsound!r} holds NaN or infinity",
                "Load a sound checkpoint",
            )
        return found

    def _known(self, sweep: weights.Sweep) -> tuple[str, str | None]:
        """Return the hash and the name of an unsound weight, found out again when a weight has changed."""
        check_sums = sweep.settle()
        known: tuple[tuple[int, ...], str, str | None] | None = self.facts.get("weights")
        if known is None or known[0] != check_sums:
            known = check_sums, weights.digest(self.module), weights.unsound(self.module)
            self.facts["weights"] = known
        return known[1:]

    # -- asking --------------------------------------------------------------------------------------------

    def prepare(self, source: Any) -> Inputs:
        """Turn photos into a batch.

        Parameters
        ----------
        source
            A path, PIL image or tensor, or a sequence of paths and images, or an `Inputs` (returned as it
            is). For a model of clips: the frames of one clip as paths or images, or a sequence of such clips.
        """
        if isinstance(source, Inputs):
            return source
        if isinstance(source, Tensor):
            return Inputs.of(source)
        if self.preprocess is None:
            raise BadInput(
                f"Asked {self.name} to read a photo",
                "It has no preprocessing",
                "Give Model(module, preprocess=Preprocessing(...)), or a normalised tensor",
            )
        sources = list(source) if isinstance(source, Iterable) and not isinstance(source, str) else [source]
        if not sources:
            raise BadInput("Asked to explain photos", "The list is empty")
        if self.preprocess.frames is None:
            tensors = [self.preprocess(_read(s)) for s in sources]
        else:
            sources = sources if isinstance(sources[0], list | tuple) else [sources]
            tensors = [self.preprocess.clip([_read(f) for f in clip]) for clip in sources]
        names = tuple(str(s) if isinstance(s, str | Path) else f"input {i}" for i, s in enumerate(sources))
        if len({t.shape for t in tensors}) > 1:
            raise BadInput(
                "Asked to explain photos as one batch",
                "Their sizes differ and the model keeps them",
                "Explain them one by one",
            )
        return Inputs(torch.stack(tensors), names)

    def answer(self, x: Tensor, layers: Sequence[str] = (), *, differentiable: bool = False) -> Answer:
        """Run the network once, as it stands.

        Parameters
        ----------
        x
            `(n, c, *size)`; moved to the model's device and type.
        layers
            Names of layers whose outputs to keep.
        differentiable
            Let gradients be taken with respect to those outputs (see `taps.read`).
        """
        tapping: AbstractContextManager[dict[str, Tensor]] = nullcontext({})
        if layers:
            tapping = taps.read(self.module, layers, differentiable=differentiable)
        with tapping as activations:
            raw = self.module(x.to(self.device, self.dtype))
        for layer in layers:
            if layer not in activations:
                raise DoesNotFit(
                    f"Asked for the layer {layer!r}", "The forward pass never calls it", "Choose another"
                )
        return Answer(raw, pick(raw, self.output), tuple(x.shape[1:]), activations)

    def probabilities(self, output: Tensor) -> Tensor:
        """Return `(n, classes)` float32 probabilities of an answer's output."""
        match self.activation:
            case "softmax":
                return output.float().softmax(1)
            case "sigmoid":
                return output.float().sigmoid()
            case "none":
                return output.float()

    def log_probabilities(self, output: Tensor) -> Tensor:
        """Return `(n, classes)` float32 logarithms of the probabilities, without loss for small ones."""
        match self.activation:
            case "softmax":
                return output.float().log_softmax(1)
            case "sigmoid":
                return nn.functional.logsigmoid(output.float())
            case "none":
                return output.float().log()

    def log_odds(self, output: Tensor, classes: Tensor) -> Tensor:
        """Return `(n,)` log(p / (1 - p)) of each sample's class, exact where the model is sure, too.

        1 - p is the sum of the others: where p rounds to 1 it is still known.
        """
        own = classes[:, None]
        if self.activation == "sigmoid":
            return output.float().gather(1, own)[:, 0]
        known = self.log_probabilities(output)
        return known.gather(1, own)[:, 0] - known.scatter(1, own, float("-inf")).logsumexp(1)

    def predict(self, source: Any, k: int = 5) -> list[list[Prediction]]:
        """Return the `k` most probable classes of each sample, best first; none without classes."""
        x = self.prepare(source).tensor
        with self.untouched(), torch.inference_mode():
            output = self.answer(x).output
        return self.predictions(output, k)

    def predictions(self, output: Tensor, k: int = 5) -> list[list[Prediction]]:
        """Return `predict` for an output that is at hand."""
        if self.kind(output) != "classes" or output.ndim != 2:
            return [[] for _ in output]
        top = self.probabilities(output.detach()).cpu().topk(min(k, output.shape[1]))
        return [
            [Prediction(self.label(i), i, p) for i, p in zip(row_i, row_p, strict=True)]
            for row_i, row_p in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]

    def label(self, index: int) -> str:
        """Return the name of class `index`; `class 7` where there is none."""
        return (
            self.labels[index] if self.labels is not None and index < len(self.labels) else f"class {index}"
        )

    @contextmanager
    def untouched(self, device: torch.device | str | None = None) -> Iterator[Parts]:
        """See `seewhy.models.untouched.untouched`."""
        with untouched(self.module, device) as found:
            yield found

    def copy(self) -> Model:
        """Return the same model on a network of its own: what is done to that one leaves this one alone.

        Raises
        ------
        DoesNotFit
            When the network cannot be copied.
        """
        try:
            module = copy.deepcopy(self.module)
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise DoesNotFit(
                f"Asked for a copy of {self.name}",
                f"Its network cannot be copied: {error}",
                "Give it without hooks, locks and tensors that carry a graph",
            ) from error
        return Model(
            module,
            preprocess=self.preprocess,
            labels=self.labels,
            name=self.name,
            output=self.output,
            kind=self._kind,
            activation=self.activation,
            differentiable=self.differentiable,
            notes=self.notes,
        )

    def input_size(self) -> Size | None:
        """Return the `(height, width)` or `(frames, height, width)` of prepared inputs, if that is fixed."""
        if self.preprocess is None or self.preprocess.fit == "none":
            return None
        clip = () if self.preprocess.frames is None else (self.preprocess.frames,)
        return (*clip, *self.preprocess.size)

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """What was found out about this model by experiment and holds parts of it (resumption)."""
        return {}

    @property
    def facts(self) -> dict[Any, Any]:
        """What was found out by experiment and holds no part of the network (geometry, weights' hash).

        Shared by every `Model` of one network, so that a bare network passed again is measured once.
        """
        return _FACTS.setdefault(self.module, {}).setdefault(self.output, {})

    def _tensors(self) -> Iterator[Tensor]:
        yield from self.module.parameters()
        yield from self.module.buffers()


def _read(source: Any) -> Image.Image:
    if isinstance(source, str | Path):
        return read_image(source)
    if isinstance(source, Image.Image):
        return source
    raise BadInput(
        "Asked to explain a photo",
        f"Found {type(source).__name__}",
        "Give a path, a PIL image or a tensor batch",
    )
