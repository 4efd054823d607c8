"""A linear probe: classes for an encoder that has none, or others than it has.

The answer of the encoder is standardised per dimension, and a softmax regression with a quadratic penalty is
fitted to it (Alain & Bengio 2016, arXiv:1610.01644). The standardisation is folded into the weights, so that
the probe is one linear layer. Everything runs in float64 from zero weights: the same data gives the same
probe.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from seewhy.errors import BadInput, UnreadableInput
from seewhy.files import write_atomically
from seewhy.models.model import Model
from seewhy.models.outputs import OutputKey, pick

_ENCODER, _LABELS = "encoder_weights", "labels"


class LinearProbe(nn.Module):
    """An encoder and a linear layer behind it; the encoder's layers are called `encoder.NAME`.

    Parameters
    ----------
    encoder
        The network.
    head
        From its flattened answer to `(n, classes)` logits.
    output
        Which part of the encoder's answer is read.
    """

    def __init__(self, encoder: nn.Module, head: nn.Linear, output: OutputKey = None) -> None:
        super().__init__()
        self.encoder, self.head, self.output = encoder, head, output

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, classes)` logits."""
        logits: Tensor = self.head(pick(self.encoder(x), self.output).flatten(1))
        return logits


def fit_linear_probe(
    model: Model,
    inputs: Any,
    labels: Sequence[int] | Tensor,
    names: Sequence[str] | None = None,
    *,
    penalty: float = 1e-2,
    batch_size: int = 16,
) -> Model:
    """Fit a linear probe on the answers of a model, which is not changed.

    Parameters
    ----------
    model
        The encoder.
    inputs
        Anything that `model.prepare` takes: a list of photos, a batch of tensors.
    labels
        `(n,)` class indices from 0; every class must occur.
    names
        One name a class.
    penalty
        Weight of half the squared length of the standardised weights, beside the mean cross-entropy; above 0.
    batch_size
        Inputs a forward pass.

    Returns
    -------
    Model
        With the encoder's preprocessing, the classes `names`, and a `LinearProbe` as its module.

    Raises
    ------
    BadInput
        When labels and inputs do not go together.
    """
    x = model.prepare(inputs).tensor
    y = torch.as_tensor(labels).long()
    classes = len(names) if names is not None else int(y.max()) + 1 if y.numel() else 0
    if y.shape != (len(x),) or classes < 2 or sorted(set(y.tolist())) != list(range(classes)):
        raise BadInput(
            "Asked for a linear probe",
            f"Found {len(x)} inputs, labels of shape {tuple(y.shape)}, {classes} classes",
            "Give one label an input, counted from 0, at least two classes, each with an example",
        )
    if penalty <= 0:
        raise BadInput("Asked for a linear probe", f"Found the penalty {penalty}", "Give a number above 0")
    with model.untouched(), torch.inference_mode():
        rows = [model.answer(part).output.flatten(1).double().cpu() for part in torch.split(x, batch_size)]
    with torch.inference_mode(False), torch.enable_grad():
        head = _fitted(torch.cat(rows).clone(), y.cpu(), classes, penalty)
    return _probe(model, head, names)


def _fitted(features: Tensor, y: Tensor, classes: int, penalty: float) -> nn.Linear:
    mean, std = features.mean(0), features.std(0, correction=0).clamp_min(1e-6)
    z = (features - mean) / std
    weight = torch.zeros(classes, z.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias],
        max_iter=200,
        tolerance_grad=1e-8,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = cross_entropy(z @ weight.T + bias, y) + penalty / 2 * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    folded = (weight / std).detach()
    return _linear(folded, bias.detach() - folded @ mean)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    head = nn.Linear(weight.shape[1], weight.shape[0], device="meta")  # no random numbers are drawn
    head.weight, head.bias = nn.Parameter(weight.float()), nn.Parameter(bias.float())
    return head


def save_probe(model: Model, path: str | Path) -> Path:
    """Write a probe (without its encoder) to a safetensors file and return its path.

    Raises
    ------
    BadInput
        When the model is no probe, or the file cannot be written.
    """
    if not isinstance(model.module, LinearProbe):
        raise BadInput(
            f"Asked to save {model.name} as a linear probe", "It is none", "Fit one: fit_linear_probe"
        )
    file = Path(path).with_suffix(".safetensors")
    head, encoder = model.module.head, Model(model.module.encoder)
    tensors = {
        "weight": head.weight.detach().float().cpu().contiguous(),
        "bias": head.bias.detach().float().cpu().contiguous(),
    }
    labels = json.dumps(list(model.labels) if model.labels is not None else None)
    write_atomically(file, to_bytes(tensors, {_LABELS: labels, _ENCODER: encoder.weights_hash}))
    return file


def open_probe(path: str | Path, model: Model) -> Model:
    """Return `model` with the probe of a file on top.

    Raises
    ------
    UnreadableInput
        When the file is missing or no probe.
    BadInput
        When it was fitted on another encoder.
    """
    file = Path(path).expanduser()
    asked = f"Asked for the linear probe {file}"
    if not file.is_file():
        raise UnreadableInput(asked, "There is no such file", "Check the path")
    try:
        with safe_open(str(file), framework="pt") as stored:
            about = stored.metadata() or {}
            weight, bias = stored.get_tensor("weight"), stored.get_tensor("bias")
        labels, encoder = json.loads(about[_LABELS]), about[_ENCODER]
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise UnreadableInput(
            asked, "It is no probe that save_probe wrote", "Fit and save it again"
        ) from error
    if encoder != model.weights_hash:
        raise BadInput(
            asked,
            f"It was fitted on other weights ({encoder}) than those of {model.name} ({model.weights_hash})",
            "Load it with the encoder that it was fitted on",
        )
    return _probe(model, _linear(weight, bias), labels)


def _probe(model: Model, head: nn.Linear, names: Sequence[str] | None) -> Model:
    module = LinearProbe(model.module, head.to(model.device, model.dtype), model.output)
    module.eval()
    return Model(
        module,
        preprocess=model.preprocess,
        labels=names,
        name=f"{model.name} with a linear probe",
        kind="classes",
        differentiable=model.differentiable,
        notes=model.notes,
    )
