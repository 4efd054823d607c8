"""The target "along a direction of a layer": how far activations lie along a concept's vector, say."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import Tensor

from seewhy.errors import BadInput
from seewhy.models.layers import grid_of
from seewhy.models.model import Model
from seewhy.models.outputs import Answer
from seewhy.targets import BoundTarget, Target
from seewhy.types import Rows, ScoreKind, Scores


@dataclass(frozen=True, eq=False)
class Along(Target):
    """A layer's activations along a direction, in their own unit; the mean over the cells.

    Parameters
    ----------
    layer
        Name as `seewhy layers` prints it.
    vector
        `(channels,)`, or `(channels * cells,)` with a direction for each cell, whose products are added up.
        Its length does not matter.
    label
        What it stands for.
    """

    layer: str
    vector: Tensor
    label: str = "a direction"

    @property
    def layers(self) -> tuple[str, ...]:
        """See `Target.layers`."""
        return (self.layer,)

    def bind(self, model: Model, answer: Answer, default: ScoreKind) -> BoundTarget:
        """See `Target.bind`."""
        activation = answer.activations[self.layer]
        grid = None if activation.ndim == 2 else grid_of(model, self.layer, answer.input_shape)
        shape = (activation if grid is None else grid.read(activation)).shape[1:]
        whole = self.vector.numel() == prod(shape)
        length = float(self.vector.double().norm())
        if self.vector.ndim != 1 or not (whole or len(self.vector) == shape[0]) or not 0 < length < 1e38:
            raise BadInput(
                f"Asked for a direction in {self.layer!r}",
                f"Found shape {tuple(self.vector.shape)} and length {length:g}",
                f"Give {shape[0]} numbers, one a channel, or {prod(shape)}, one a channel and cell",
            )
        unit = self.vector.double() / length

        def score(a: Answer, rows: Rows) -> Scores:
            values = a.activations[self.layer] if grid is None else grid.read(a.activations[self.layer])
            flat = values.flatten(1) if whole else values.reshape(len(rows), shape[0], -1).mean(2)
            return flat @ unit.to(flat)

        label = {
            "label": f"{self.label} in {self.layer}",
            "index": None,
            "score": "direction",
            "layer": self.layer,
        }
        return BoundTarget(score, (label,) * len(answer.output), self.layers)
