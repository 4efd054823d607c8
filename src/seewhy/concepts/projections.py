"""What the strongest cells of a channel see, and their deconvnet projections (Zeiler and Fergus).

For each of the nine photos in which the channel's strongest cell is strongest: the window that this cell
sees, and what of the pixels there excites it, by running the network backwards from that one cell.

Paper
    Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2013,
    https://arxiv.org/abs/1311.2901.
Departures
    the window is the cell's effective receptive field (see `receptive_fields`). The projection starts from 1,
    not from the activation, and layers that the paper does not have are passed as `methods.DeconvNet` says.
    Networks with other activations than ReLU have windows only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.concepts.receptive_fields import Box, around, receptive_field
from seewhy.concepts.references import References
from seewhy.errors import DoesNotFit
from seewhy.execution import Execution
from seewhy.methods.gradient.rectifiers import rectified_slopes, unfit_activations
from seewhy.models.layers import grid_of
from seewhy.models.model import Model
from seewhy.question import ask
from seewhy.targets import Neuron
from seewhy.types import Json


@dataclass(frozen=True, eq=False)
class Patch:
    """A photo's strongest cell.

    Parameters
    ----------
    photo
        Its path.
    value
        The activation.
    cell
        Where, on the layer's grid.
    window
        What the cell sees, in pixels of the model's input.
    projection
        `(c, rows, columns)` float32 of that window, signed; None where the network has no rule.
    """

    photo: str
    value: float
    cell: tuple[int, ...]
    window: Box
    projection: Tensor | None


@dataclass(frozen=True)
class Patches:
    """Patches, strongest first, and why they have no projections ("" where they have)."""

    patches: tuple[Patch, ...]
    reason: str

    def to_json(self) -> Json:
        """Return the numbers."""
        each = [
            {"photo": p.photo, "value": p.value, "cell": list(p.cell), "window": [list(w) for w in p.window]}
            for p in self.patches
        ]
        return {"strongest": each, "no_projections": self.reason}


def project(
    model: Model, target: Neuron, strongest: References, names: tuple[str, ...], execution: Execution
) -> Patches:
    """Return the patches of a channel's strongest cells above 0. Inside `model.untouched()` only.

    Parameters
    ----------
    model, target
        The channel.
    strongest
        A table of one column.
    names
        Of the photos in it.
    execution
        Batch size, cancelling.
    """
    rows = [row for row in strongest.of(0) if row[0] > 0]
    reason = unfit_activations(model.module)
    found = []
    for done, (value, i, flat) in enumerate(rows):
        x = model.prepare(names[i]).tensor
        grid = grid_of(model, target.layer, tuple(x.shape[1:]))
        cell = tuple(int(k) for k in torch.unravel_index(torch.tensor(flat), grid.cells))
        field = receptive_field(model, target.layer, tuple(x.shape[1:]))
        window = around(cell, grid.cells, field, tuple(x.shape[2:]))
        whole = None
        if not reason:
            try:
                whole = _projection(model, x, Neuron(target.layer, target.channel, cell), execution)
            except DoesNotFit as error:
                reason = str(error)
        (top, bottom), (left, right) = window
        part = None if whole is None else whole[:, top:bottom, left:right]
        found.append(Patch(names[i], value, cell, window, part))
        execution.step(done + 1, len(rows), f"projections of {target.layer} channel {target.channel}")
    return Patches(tuple(found), reason)


def _projection(model: Model, x: Tensor, neuron: Neuron, execution: Execution) -> Tensor:
    question = ask(model, x, neuron, execution, "logit")
    return rectified_slopes(question, "deconvnet", "DeconvNet")[0].float().cpu()
