"""`onnx:FILE`: a network in an ONNX file, run by onnxruntime: forward only, no layers to look into.

The input's size and layout come from the graph. A graph does not say how photos become its input: unless
`mean=`, `std=`, `fit=` ... are given, ImageNet's mean and deviation are assumed, with the aspect ratio kept,
and the model's notes say so. Likewise `activation=none` says that the graph ends in probabilities.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from seewhy.errors import BadInput, DoesNotFit, UnreadableInput
from seewhy.extras import optional
from seewhy.models.labels import imagenet_labels
from seewhy.models.model import Model
from seewhy.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from seewhy.models.sources.base import FAMILIES, ONNX, Family
from seewhy.specs import Options

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


@FAMILIES.register
class OnnxFile(Family):
    """ONNX files."""

    name = "onnx"
    example = "onnx:model.onnx"

    def load(self, which: str, options: Options) -> Model:
        """See `Family.load`."""
        asked = f"Asked for the model {options.spec!r}"
        file = Path(which).expanduser()
        if not file.is_file():
            raise UnreadableInput(asked, "There is no such file", "Check the path")
        runtime = optional("onnxruntime", "onnxruntime", asked, ONNX)
        module = OnnxNetwork(runtime, file, asked)
        assumed = not {"mean", "std"} & set(options.values)
        notes = (
            ("Its preprocessing was assumed: ImageNet's mean and deviation, aspect ratio kept.",)
            if assumed
            else ()
        )
        channels, size = module.channels, module.size or (224, 224)
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.5,), (0.5,))
        preprocess = Preprocessing(size, mean=mean, std=std) if channels in (1, 3) else None
        return Model(
            module,
            preprocess=preprocess,
            labels=imagenet_labels() if module.width == 1000 else None,
            differentiable=False,
            notes=notes,
        )


class OnnxNetwork(nn.Module):
    """A session of onnxruntime as a module: `(n, c, h, w)` in, the graph's output (or a dict of several) out.

    Parameters
    ----------
    runtime
        The package onnxruntime.
    file
        The ONNX file.
    asked
        How messages begin.
    """

    digest: Tensor

    def __init__(self, runtime: Any, file: Path, asked: str) -> None:
        super().__init__()
        settings = runtime.SessionOptions()
        settings.log_severity_level = 4
        settings.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = runtime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UnreadableInput(
                asked,
                f"{file} is no network that onnxruntime can run: {_first_line(error)}",
                "Export it again",
            ) from error
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in _TYPES:
            found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise DoesNotFit(
                asked, f"Its inputs are {found}", "Export a network with one floating-point image input"
            )
        self.input, self.number = inputs[0].name, _TYPES[inputs[0].type]
        n, *shape = (d if isinstance(d, int) and d > 0 else None for d in inputs[0].shape)
        self.fixed_batch: int | None = n
        self.channels_last = shape[0] not in (1, 3) and shape[2] in (1, 3)
        channels, height, width = (shape[2], *shape[:2]) if self.channels_last else shape
        self.channels = channels or 3
        self.size = (height, width) if height and width else None
        self.outputs = [o.name for o in self.session.get_outputs()]
        last = self.session.get_outputs()[0].shape
        self.width = last[1] if len(last) == 2 and isinstance(last[1], int) else None
        # The weights are the session's; their digest stands in for them wherever a module's state is asked
        # for.
        self.register_buffer("digest", torch.frombuffer(bytearray(_digest(file)), dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """Run the graph, batch by batch where its batch size is fixed.

        Raises
        ------
        BadInput
            When the input's shape is not the graph's.
        """
        array = x.detach().cpu().numpy().astype(self.number)
        if self.channels_last:
            array = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
        step = self.fixed_batch or max(len(array), 1)
        parts = [self._run(array[i : i + step]) for i in range(0, len(array), step)]
        found = {
            name: torch.from_numpy(np.concatenate(each)).to(x.device)
            for name, each in zip(self.outputs, zip(*parts, strict=True), strict=True)
        }
        return found if len(found) > 1 else found[self.outputs[0]]

    def _run(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        n = len(array)
        if self.fixed_batch is not None and n < self.fixed_batch:
            array = np.concatenate([array, np.repeat(array[-1:], self.fixed_batch - n, 0)])
        try:
            return [np.asarray(out)[:n] for out in self.session.run(self.outputs, {self.input: array})]
        except Exception as error:
            raise BadInput(
                f"Asked the ONNX network for its answer to shape {tuple(array.shape)}",
                f"onnxruntime refuses: {_first_line(error)}",
                "Give the shape that the graph was exported for",
            ) from error


def _digest(file: Path) -> bytes:
    """Return the SHA-256 of the file and of external weights beside it (`NAME.data`, `NAME.onnx.data`)."""
    digest = hashlib.sha256()
    for path in (file, file.with_name(file.name + ".data"), file.with_suffix(".data")):
        if path.is_file():
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.digest()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
