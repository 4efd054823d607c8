"""Sparse autoencoders: many directions of a layer, of which each cell may use but a few.

An encoder reads from a cell how much there is of each direction, all but the largest amounts are dropped,
and the directions add up to the cell again. Both are trained to lose as little as possible. Unlike a
factorisation it holds more directions than a cell can use, signed ones, and tells the amounts of a new cell
in one product.

Formula
    z = the `active` largest of relu(E (x - b) / s + e);  x^ = b + s z D, rows of D of length 1.
    Loss: |x - x^|^2 / s^2 + 1/32 |x - x^ - s z' D|^2 / s^2, z' the `2 active` largest amounts among
    directions that no cell used in the last `PATIENCE` steps. b begins as the mean cell, s^2 is the mean of
    |x - b|^2.
Needs
    cells, many more than directions.
Cost
    `steps` steps of `BATCH` cells, six products of a cell with D each.
Paper
    Gao et al.: Scaling and evaluating sparse autoencoders, 2024, https://arxiv.org/abs/2406.04093.
Departures
    directions begin as cells, less the mean, drawn at random; the encoder as their transpose. Gradients along
    a direction are not removed: its length is divided out instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from seewhy.concepts.draws import key, permutation
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.perturb.counters import uniform

BATCH, RATE, PATIENCE, REVIVAL = 512, 1e-3, 100, 1 / 32
"""Cells a step, Adam's learning rate at its start, steps after which an unused direction counts as dead, and
the weight of what dead directions make of the rest."""


@dataclass(frozen=True, eq=False)
class SparseAutoencoder:
    """A trained autoencoder; a `Factors`.

    Parameters
    ----------
    encoder, bias
        `(concepts, channels)` and `(concepts,)`.
    dictionary
        `(concepts, channels)`, rows of length 1.
    centre, scale
        `(channels,)` and a number above 0: b and s of the formula.
    active
        Most concepts that a cell may have.
    """

    encoder: Tensor
    bias: Tensor
    dictionary: Tensor
    centre: Tensor
    scale: float
    active: int

    @property
    def directions(self) -> Tensor:
        """`(concepts, channels)` float64, of length 1."""
        return self.dictionary.double()

    @property
    def offset(self) -> Tensor:
        """`(channels,)` float64: the cell without any concept."""
        return self.centre.double()

    def amounts(self, cells: Tensor) -> Tensor:
        """Return `(n, concepts)` float64, in units of the layer, at most `active` of each row above 0."""
        x = (cells.detach().double().cpu() - self.offset) / self.scale
        return self.scale * largest(x @ self.encoder.double().T + self.bias.double(), self.active)


def largest(before: Tensor, count: int) -> Tensor:
    """Return the positive part of the `count` largest of each row, 0 elsewhere."""
    values, places = before.topk(min(count, before.shape[1]), dim=1)
    return torch.zeros_like(before).scatter(1, places, values.relu())


def train_autoencoder(
    cells: Tensor, concepts: int, active: int, steps: int, execution: Execution
) -> SparseAutoencoder:
    """Train an autoencoder.

    Parameters
    ----------
    cells
        `(n, channels)` float32; work is done where they are.
    concepts, active, steps
        Directions, at most `n`; the most of them a cell may have; steps of training.
    execution
        Seed, progress, cancelling.

    Raises
    ------
    BadInput
        For fewer cells than directions, or cells that are all alike.
    """
    centre = cells.double().mean(0).float()
    scale = float((cells - centre).double().square().sum(1).mean().sqrt())
    if len(cells) < concepts or scale == 0:
        found = f"{len(cells)} cells for {concepts} directions" if scale else "all cells are alike"
        raise BadInput("Asked to train a sparse autoencoder", f"Found {found}", "Give more photos")
    chosen = permutation(key(execution.seed, "directions"), 0, len(cells))[:concepts].to(cells.device)
    with torch.inference_mode(mode=False), torch.enable_grad():
        x = ((cells - centre) / scale).clone()
        directions = normalize(x[chosen] + 1e-6, dim=1).requires_grad_()
        encoder = directions.detach().clone().requires_grad_()
        bias, shift = (torch.zeros(n, device=x.device, requires_grad=True) for n in (concepts, x.shape[1]))
        adam = torch.optim.Adam([directions, encoder, bias, shift], lr=RATE)
        rate = torch.optim.lr_scheduler.LambdaLR(adam, _rate(steps))
        unused = torch.zeros(concepts, device=x.device)
        for step in range(steps):
            drawn = uniform(key(execution.seed, "cells"), torch.tensor([step]), BATCH)[0].double()
            batch = x[(drawn * len(x)).long().to(x.device)]
            unit = normalize(directions, dim=1)
            before = (batch - shift) @ encoder.T + bias
            codes = largest(before, active)
            left = batch - shift - codes @ unit
            loss = left.square().sum(1).mean()
            unused = torch.where((codes > 0).any(0), 0.0, unused + 1)
            dead = unused > PATIENCE
            if bool(dead.any()):
                revived = largest(before.masked_fill(~dead, -torch.inf), 2 * active)
                loss = loss + REVIVAL * (left.detach() - revived @ unit).square().sum(1).mean()
            adam.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([directions, encoder, bias, shift], 1.0)
            adam.step()
            rate.step()
            execution.step(step + 1, steps, "sparse autoencoder")
        weights, unit, middle = encoder.detach().cpu(), normalize(directions, dim=1), centre + scale * shift
    return SparseAutoencoder(
        weights, bias.detach().cpu(), unit.detach().cpu(), middle.detach().cpu(), scale, active
    )


def _rate(steps: int) -> Callable[[int], float]:
    """Return the learning rate's factor at a step: it rises over a twentieth, and falls in the last fifth."""
    return lambda step: min(1.0, (step + 1) / max(1.0, steps / 20), max(0.0, (steps - step) / (steps / 5)))
