"""What the strongest cells of a channel see, and their projections (Zeiler and Fergus).

For each of the nine photos in which the channel's strongest cell is strongest: the window that this cell
sees, and what of the pixels there excites it, by running the network backwards from that one cell.

Papers
    Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, 2013,
    https://arxiv.org/abs/1311.2901; Springenberg et al.: Striving for Simplicity: The All Convolutional Net,
    2014, https://arxiv.org/abs/1412.6806 (guided backpropagation).
Departures
    the window is the cell's effective receptive field (see `receptive_fields`). The projection starts from 1,
    not from the activation, and layers that the paper does not have are passed as `methods.DeconvNet` says.
    What a deconvnet knows of a photo are the places of its maxima: in a network without max pooling the
    projection of a cell is the same for every photo. Where an experiment finds that (the photo against its
    mirror image), guided backpropagation is used, and the result says so. Networks with other activations
    than ReLU have windows only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from seewhy.concepts.receptive_fields import Box, around, receptive_field
from seewhy.concepts.references import References
from seewhy.errors import DoesNotFit
from seewhy.execution import Execution
from seewhy.methods.gradient.rectifiers import Rule, rectified_slopes, unfit_activations
from seewhy.models.grids import Grid
from seewhy.models.layers import grid_of
from seewhy.models.model import Model
from seewhy.question import ask
from seewhy.targets import Neuron
from seewhy.types import Json

GUIDED = (
    "by guided backpropagation: without max pooling, deconvnet's projection of a cell is the same for every "
    "photo"
)
OUTSIDE, SMALLEST = 0.05, 16
"""Share of the squares at each end of an axis, and fewest pixels of a side, of what `focus` returns."""


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
    """A channel's patches.

    Parameters
    ----------
    patches
        Strongest first.
    rule
        By which they were projected; "" where they were not.
    remark
        Why not, or why not by deconvnet.
    """

    patches: tuple[Patch, ...]
    rule: Literal["", "deconvnet", "guided"]
    remark: str

    def to_json(self) -> Json:
        """Return the numbers."""
        each = [
            {"photo": p.photo, "value": p.value, "cell": list(p.cell), "window": [list(w) for w in p.window]}
            for p in self.patches
        ]
        return {"strongest": each, "projected": self.rule, "remark": self.remark}


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
    rule: Literal["", "deconvnet", "guided"] = ""
    remark, found = unfit_activations(model.module), []
    for done, (value, i, flat) in enumerate(rows):
        x = model.prepare(names[i]).tensor
        grid = grid_of(model, target.layer, tuple(x.shape[1:]))
        neuron = Neuron(target.layer, target.channel, _place(grid, flat))
        if done == 0 and not remark:
            rule, remark = _rule(model, x, neuron, execution)
        field = receptive_field(model, target.layer, tuple(x.shape[1:]))
        cell = _place(grid, flat)
        window = around(cell, grid.cells, field, tuple(x.shape[2:]))
        (top, bottom), (left, right) = window
        part = _back(model, x, neuron, rule, execution)[:, top:bottom, left:right] if rule else None
        found.append(Patch(names[i], value, cell, window, part))
        execution.step(done + 1, len(rows), f"projections of {target.layer} channel {target.channel}")
    return Patches(tuple(found), rule, remark)


def focus(projection: Tensor) -> Box:
    """Return where in a `(c, rows, columns)` projection something is: a square to look at more closely.

    Along either axis it leaves out 5 % of the sum of squares at each end. It is at least `SMALLEST` pixels
    wide where the projection is, and inside it; the whole of a projection that is 0 everywhere.
    """
    mass = projection.double().square().sum(0)
    if not bool(mass.any()):
        return tuple((0, side) for side in mass.shape)
    ends = []
    for axis in (0, 1):
        along = mass.sum(1 - axis).cumsum(0) / mass.sum()
        ends.append((int((along < OUTSIDE).sum()), int((along < 1 - OUTSIDE).sum()) + 1))
    longest = max(SMALLEST, *(stop - start for start, stop in ends))
    spans = []
    for (start, stop), side in zip(ends, mass.shape, strict=True):
        length = min(longest, side)
        first = min(max(0, (start + stop - length) // 2), side - length)
        spans.append((first, first + length))
    return tuple(spans)


def _place(grid: Grid, flat: int) -> tuple[int, ...]:
    return tuple(int(k) for k in torch.unravel_index(torch.tensor(flat), grid.cells))


def _rule(
    model: Model, x: Tensor, neuron: Neuron, execution: Execution
) -> tuple[Literal["", "deconvnet", "guided"], str]:
    """Return the rule that shows something of a photo, and why it is not deconvnet's."""
    try:
        here, mirrored = (_back(model, t, neuron, "deconvnet", execution) for t in (x, x.flip(-1)))
    except DoesNotFit as error:
        return "", str(error)
    if bool((here - mirrored).abs().max() <= 1e-4 * here.abs().max()):
        return "guided", GUIDED
    return "deconvnet", ""


def _back(model: Model, x: Tensor, neuron: Neuron, rule: Rule, execution: Execution) -> Tensor:
    question = ask(model, x, neuron, execution, "logit")
    return rectified_slopes(question, rule, "Projections")[0].float().cpu()
