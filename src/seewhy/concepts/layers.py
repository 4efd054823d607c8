"""What concepts need of a network: activations of many images by batch, layers to run on from, logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from seewhy.batching import default_batch_size, in_batches
from seewhy.concepts.sets import ImageSet
from seewhy.errors import BadInput, DoesNotFit
from seewhy.execution import Execution, Passes
from seewhy.models.grids import Grid
from seewhy.models.labels import find_class
from seewhy.models.layers import grid_of, useful_layers
from seewhy.models.model import Model
from seewhy.models.outputs import Answer
from seewhy.models.resume import Resumption, resume_from
from seewhy.types import Size


@dataclass
class Probed:
    """A model and the layers that are looked at, inside `model.untouched()`.

    Parameters
    ----------
    model, execution
        What is asked, and how to run.
    grids
        Layer to how its output lies over the input.
    passes
        Counted as the work goes on; a pass of a part of the network counts as none.
    suffix_passes
        The same for passes from a layer on.
    means
        Layer to the mean of its output, `(1, ...)` in its own layout, over the last set that was read.
    """

    model: Model
    execution: Execution
    grids: dict[str, Grid]
    passes: Passes = field(default_factory=Passes)
    suffix_passes: Passes = field(default_factory=Passes)
    means: dict[str, Tensor] = field(default_factory=dict)

    def answer(self, x: Tensor, *, differentiable: bool = False) -> Answer:
        """Run the whole network on a batch, keeping the layers."""
        self.passes.forward += len(x)
        return self.model.answer(x, tuple(self.grids), differentiable=differentiable)

    def activations(self, sets: Sequence[ImageSet], what: str) -> list[dict[str, Tensor]]:
        """Return, for each set, layer to `(n, channels, *cells)` float32 on the CPU: one pass an image."""
        found = []
        for images in sets:
            size = self.batch_size(images)
            sums: dict[str, Tensor] = {}

            def run(
                start: int, stop: int, images: ImageSet = images, sums: dict[str, Tensor] = sums
            ) -> dict[str, Tensor]:
                with torch.no_grad():
                    answer = self.answer(images.prepared(self.model, start, stop).tensor)
                for layer in self.grids:
                    total = answer.activations[layer].double().sum(0, keepdim=True)
                    sums[layer] = sums[layer] + total if layer in sums else total
                return {
                    layer: grid.read(answer.activations[layer]).float().cpu()
                    for layer, grid in self.grids.items()
                }

            parts = list(in_batches(len(images), size, self.execution, run, f"{what}: {images.name}"))
            found.append({layer: torch.cat([p[layer] for p in parts]) for layer in self.grids})
            self.means = {layer: total.float() / len(images) for layer, total in sums.items()}
        return found

    def batch_size(self, images: ImageSet, *, differentiated: bool = False) -> int:
        """Return how many of these images go into a pass."""
        first = images.prepared(self.model, 0, 1).tensor.to(self.model.device)
        return self.execution.batch_size or default_batch_size(first, differentiated=differentiated)


def probe(
    model: Model, layers: Sequence[str] | None, images: ImageSet, execution: Execution, *, resumed: bool
) -> tuple[Probed, dict[str, Resumption]]:
    """Return the model with its layers settled, and what is needed to run on from each of them.

    Parameters
    ----------
    model, execution
        As in `Probed`.
    layers
        Names; None takes the last layer that fits.
    images
        Any images of the size that will be asked about.
    resumed
        Whether the network must be able to run on from the layers; the second value is empty otherwise.

    Raises
    ------
    UnknownName, DoesNotFit
        For layers that are not there, have no grid, or that the network goes around.
    """
    if not model.differentiable:
        raise DoesNotFit(
            f"Asked for concepts of {model.name}",
            "It needs gradients and layers; the model only runs forward",
            "Give the PyTorch network",
        )
    x = images.prepared(model, 0, 1).tensor.to(model.device, model.dtype)
    shape: Size = tuple(x.shape[1:])
    if layers is not None and not layers:
        raise BadInput("Asked for layers", "The list is empty", "Name at least one, or leave it out")
    heads: dict[str, Resumption] = {}
    if layers is None:
        layers = (_default(model, shape, x) if resumed else useful_layers(model, shape)[0].name,)
    grids = {layer: grid_of(model, layer, shape) for layer in layers}
    if resumed:
        heads = {layer: resume_from(model, layer, x) for layer in layers}
    return Probed(model, execution, grids), heads


def _default(model: Model, shape: Size, x: Tensor) -> str:
    """Return the last layer that everything passes through; in a transformer, the last block but one."""
    problem = ""
    for layer in useful_layers(model, shape):
        try:
            resume_from(model, layer.name, x)
            return layer.name
        except DoesNotFit as error:
            problem = problem or str(error)
    raise DoesNotFit(f"Asked for a layer of {model.name}", f"None fits: {problem}", "Name one")


# -- classes -------------------------------------------------------------------------------------------------


def class_logits(model: Model, output: Tensor) -> Tensor:
    """Return `(n, classes)` float32 logits; of one output, `(-z, z)`: class 1 is the positive one.

    A network that ends in probabilities gives their logarithms (one output: the log odds).

    Raises
    ------
    DoesNotFit
        When the answer holds no scores of classes.
    """
    if output.ndim == 1:
        output = output[:, None]
    if output.ndim != 2 or model.kind(output) == "embedding":
        raise DoesNotFit(
            f"Asked {model.name} for scores of classes",
            f"It answers with shape {tuple(output.shape)}",
            "Concepts are tested against classes: give a classifier",
        )
    z = output.float()
    if z.shape[1] == 1:
        if model.activation == "none" and model.kind(output) == "classes":
            z = torch.logit(z, 1e-7)
        return torch.cat([-z, z], 1)
    return z.clamp_min(1e-12).log() if model.activation == "none" else z


def is_binary(output: Tensor) -> bool:
    """Return whether an answer is one number an input."""
    return output.ndim == 1 or output.shape[1] == 1


def class_index(model: Model, named: int | str, count: int) -> int:
    """Return the index that a label or number means.

    Raises
    ------
    BadInput
        For a class that is not there.
    """
    index = find_class(named, model.labels) if isinstance(named, str) else int(named)
    if not 0 <= index < count:
        raise BadInput(
            f"Asked for the class {named!r}", f"{model.name} has {count}", f"Give 0 to {count - 1}"
        )
    return index
