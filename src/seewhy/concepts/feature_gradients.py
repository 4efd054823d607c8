"""Integrated gradients of class logits on the feature maps of one layer: from a baseline to the activation.

Only what follows the layer runs. Behind the last convolution of a network that ends in global pooling and one
linear layer, the gradient is the same everywhere: one is enough, and exact. Whether that is so is
tried on the first batch and checked on every other by completeness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from seewhy.concepts.layers import class_logits
from seewhy.execution import Passes
from seewhy.models.resume import Resumption

SAME, COMPLETE, MOST = 1e-4, 1e-3, 1600
"""Gradients that count as equal; completeness that counts as exact, both relative; most steps ever taken."""

Head = Callable[[Tensor], Tensor]
"""From `(m, ...)` activations of a layer to `(m, classes)` logits."""


@dataclass(frozen=True)
class Integrated:
    """What was found for a batch.

    Parameters
    ----------
    values
        `(n, k, ...)`: for each asked class, the integrated gradients in the layer's own layout.
    rise
        `(n, classes)`: logits at the activation less those at the baseline.
    error
        `(n, k)`: how far the sum of `values` is from the rise, as a fraction of it.
    steps
        Steps taken; 0 for the exact one.
    """

    values: Tensor
    rise: Tensor
    error: Tensor
    steps: int


@dataclass
class FeatureGradients:
    """Integrated gradients behind one layer.

    Parameters
    ----------
    head
        The network from the layer on.
    baseline
        `(1, ...)` activation without evidence.
    steps
        Of the trapezoid rule.
    tolerance
        Largest completeness error of an image before its batch is done again with twice the steps; None
        takes what comes.
    batch
        Most activations in a pass.
    passes
        Counted as the work goes on.
    """

    head: Head
    baseline: Tensor
    steps: int
    tolerance: float | None = None
    batch: int = 64
    passes: Passes = field(default_factory=Passes)
    linear: bool | None = None

    def __call__(self, activation: Tensor, classes: Tensor, logits: Tensor) -> Integrated:
        """Attribute logits to an activation.

        Parameters
        ----------
        activation
            `(n, ...)`.
        classes
            `(n, k)` indices.
        logits
            `(n, all classes)` at the activation.
        """
        with torch.no_grad():
            self.passes.forward += 1
            rise = (logits - self.head(self.baseline)).detach()
        asked = rise.gather(1, classes)
        apart = (activation - self.baseline).detach()
        if self.linear is not False:
            values = self._slopes(activation, classes, torch.ones(1)) * apart[:, None]
            error = _error(values, asked)
            complete = bool((error * asked.abs() <= COMPLETE * asked.abs().clamp_min(1e-3)).all())
            if self.linear is None:
                half = self._slopes(activation, classes, torch.tensor([0.5])) * apart[:, None]
                self.linear = complete and bool((half - values).abs().max() <= SAME * values.abs().max())
            if self.linear and complete:
                return Integrated(values, rise, error, 0)
        steps = self.steps
        while True:
            nodes = torch.linspace(0, 1, steps + 1)
            values = self._slopes(activation, classes, nodes) * apart[:, None]
            error = _error(values, asked)
            if self.tolerance is None or float(error.max()) <= self.tolerance or 2 * steps > MOST:
                return Integrated(values, rise, error, steps)
            steps *= 2

    def _slopes(self, activation: Tensor, classes: Tensor, nodes: Tensor) -> Tensor:
        """Return `(n, k, ...)`: gradients averaged over the nodes, the ends of several counting half."""
        n, k = classes.shape
        weights = torch.ones(len(nodes))
        if len(nodes) > 1:
            weights[0] = weights[-1] = 0.5
        weights = (weights / weights.sum()).to(activation.device)
        total = torch.zeros(n, k, *activation.shape[1:], device=activation.device)
        together = max(1, self.batch // n)
        for start in range(0, len(nodes), together):
            part = nodes[start : start + together].to(activation)
            shape = (len(part), *[1] * activation.ndim)
            points = torch.lerp(self.baseline[None], activation[None], part.reshape(shape))
            points = points.flatten(0, 1).detach().requires_grad_()
            with torch.enable_grad():
                logits = self.head(points)
                self.passes.forward += len(points)
                for j in range(k):
                    wanted = logits.gather(1, classes[:, j].repeat(len(part))[:, None]).sum()
                    (g,) = torch.autograd.grad(wanted, points, retain_graph=j + 1 < k)
                    self.passes.backward += len(points)
                    g = g.reshape(len(part), *activation.shape).float()
                    total[:, j] += torch.einsum("s,sn...->n...", weights[start : start + len(part)], g)
        return total


def head_of(resumption: Resumption) -> Head:
    """Return the logits of a resumed network as a function of the activation."""
    return lambda activation: class_logits(resumption.model, resumption(activation).output)


def _error(values: Tensor, rise: Tensor) -> Tensor:
    return (values.flatten(2).sum(2) - rise).abs() / rise.abs().clamp_min(1e-12)
