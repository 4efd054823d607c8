"""Model: the network to be explained and everything one must know to ask it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from seewhy.errors import BadInput, DoesNotFit, NotFinite
from seewhy.inputs.batch import Inputs
from seewhy.models import taps
from seewhy.models.labels import Labels
from seewhy.models.outputs import Answer, OutputKey, pick
from seewhy.models.preprocessing import Preprocessing
from seewhy.models.untouched import untouched
from seewhy.types import Size

Kind = Literal["classes", "embedding", "regression"]
Activation = Literal["softmax", "sigmoid", "none"]


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
        The network. Its mode, flags, hooks, random state and weights are left as they are by everything in SeeWhy.
    preprocess
        From photos to input tensors; without it only tensors can be explained, and pictures show the input scaled
        to its own range.
    labels
        Class names in order of index.
    name
        How results call it; the class name by default.
    output
        Which part of the forward pass' return value is the answer; the usual ones are found without it.
    kind
        "classes" (scores of classes), "embedding" (a vector) or "regression" (numbers). Derived from the labels and the
        output's width when not given.
    activation
        From the answer to probabilities: "softmax", "sigmoid" (several classes at once), or "none" when the network
        ends in probabilities already.
    differentiable
        False for forward-only runtimes (ONNX): methods that need gradients or layers are refused with the reason.
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
    ) -> None:
        if not isinstance(module, nn.Module):
            raise BadInput("Asked to explain a model", f"Found {type(module).__name__}",
                           "Give a torch.nn.Module, or a spec string to seewhy.load")
        self.module: nn.Module = getattr(module, "_orig_mod", module)  # taps need the eager twin of a compiled module
        self.preprocess = preprocess
        self.labels = Labels(labels) if labels is not None else None
        self.name = name or type(self.module).__name__
        self.output, self.activation, self.differentiable = output, activation, differentiable
        self._kind = kind
        self._hash: tuple[tuple[tuple[int, int], ...], str] | None = None

    def __repr__(self) -> str:
        return f"Model({self.name!r}, {self._kind or 'kind not yet known'}, on {self.device})"

    # -- where and what ------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next((t.device for t in self._tensors()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return next((t.dtype for t in self._tensors() if t.is_floating_point()), torch.float32)

    def kind(self, output: Tensor) -> Kind:
        """Return what the answer holds: scores of classes, a vector, or numbers."""
        if self._kind is None:
            wide = output.ndim == 2 and output.shape[1] > 1
            self._kind = "classes" if self.labels is not None or wide else "regression"
        return self._kind

    @property
    def weights_hash(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of all parameters and buffers, names included."""
        state = dict(self.module.state_dict())
        key = tuple((t.data_ptr(), t._version) for t in state.values() if isinstance(t, Tensor))
        if self._hash is None or self._hash[0] != key:
            digest = hashlib.sha256()
            for name, t in state.items():
                digest.update(name.encode())
                if isinstance(t, Tensor):
                    digest.update(t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
            self._hash = key, digest.hexdigest()[:16]
        return self._hash[1]

    def check_weights(self) -> None:
        """Raise `NotFinite`, naming the parameter, where a weight is NaN or infinite."""
        for name, t in self.module.state_dict().items():
            if isinstance(t, Tensor) and t.is_floating_point() and not bool(t.isfinite().all()):
                raise NotFinite(f"Asked to explain {self.name}", f"Its weight {name!r} holds NaN or infinity",
                                "Load a sound checkpoint")

    # -- asking --------------------------------------------------------------------------------------------

    def prepare(self, source: Any) -> Inputs:
        """Turn photos into a batch.

        Parameters
        ----------
        source
            A path, PIL image or tensor, or a sequence of paths and images, or an `Inputs` (returned as it is).
        """
        if isinstance(source, Inputs):
            return source
        if isinstance(source, Tensor):
            return Inputs.of(source)
        if self.preprocess is None:
            raise BadInput(f"Asked {self.name} to read a photo", "It has no preprocessing",
                           "Give Model(module, preprocess=Preprocessing(...)), or a normalised tensor")
        from seewhy.inputs.images import read_image

        sources = [source] if isinstance(source, str | Path | Image.Image) else list(source)
        if not sources:
            raise BadInput("Asked to explain photos", "The list is empty")
        images = [read_image(s) if isinstance(s, str | Path) else s for s in sources]
        names = tuple(str(s) if isinstance(s, str | Path) else f"input {i}" for i, s in enumerate(sources))
        tensors = [self.preprocess(image) for image in images]
        if len({t.shape for t in tensors}) > 1:
            raise BadInput("Asked to explain photos as one batch", "Their sizes differ and the model keeps them",
                           "Explain them one by one")
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
        tapping = taps.read(self.module, layers, differentiable=differentiable) if layers else nullcontext({})
        with tapping as activations:
            raw = self.module(x.to(self.device, self.dtype))
        for layer in layers:
            if layer not in activations:
                raise DoesNotFit(f"Asked for the layer {layer!r}", "The forward pass never calls it", "Choose another")
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

    def predict(self, source: Any, k: int = 5) -> list[list[Prediction]]:
        """Return the `k` most probable classes of each sample, best first; empty lists for models without classes."""
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
        return self.labels[index] if self.labels is not None and index < len(self.labels) else f"class {index}"

    @contextmanager
    def untouched(self, device: torch.device | str | None = None) -> Iterator[None]:
        """See `seewhy.models.untouched.untouched`."""
        with untouched(self.module, device):
            yield

    def input_size(self) -> Size | None:
        """Return the `(height, width)` that the preprocessing delivers, if that is fixed."""
        return self.preprocess.size if self.preprocess is not None and self.preprocess.fit != "none" else None

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """What was found out about this model by experiment (geometry, resumption), kept for its lifetime."""
        return {}

    def _tensors(self) -> Iterator[Tensor]:
        yield from self.module.parameters()
        yield from self.module.buffers()
