"""FIDO: the smallest region that suffices, or whose loss suffices, when the rest is filled in plausibly.

Each cell of a grid is dropped at random and filled in; the probabilities with which cells are kept are
learnt. SSR, the smallest supporting region, keeps as few cells as possible with a high score; SDR, the
smallest destroying region, drops as few as possible for a low one. What fills the holes is up to you: with
an inpainting network (`perturb.infill`) the pictures stay plausible.

Formula
    z ~ Bernoulli(theta) for each cell, relaxed:
    z = sigmoid((logit theta + log u - log(1 - u)) / temperature) with uniform u;
    x(z) = z' x + (1 - z') fill(x, z'), z' being z enlarged linearly.
    ssr: minimise E[-f(x(z))] + sparsity * mean(theta); map theta'.
    sdr: minimise E[f(x(z))] + sparsity * mean(1 - theta); map 1 - theta'.
    Adam on logit theta, from theta = 1/2. Values in [0, 1]. Not signed.
Needs
    gradients with respect to the input.
Cost
    `steps` times `draws` forward and backward passes, and one forward pass for the prediction.
Papers
    Chang, Creager, Goldenberg, Duvenaud: Explaining Image Classifiers by Counterfactual Generation, ICLR
    2019, https://arxiv.org/abs/1807.08024; the regions after Dabkowski, Gal: Real Time Image Saliency for
    Black Box Classifiers, NeurIPS 2017, https://arxiv.org/abs/1705.07857.
Departures
    In the style of the paper: all numbers (grid, draws, steps, rate, temperature, sparsity) are ours, the
    score is the log probability instead of the log odds, the penalty is a mean over cells of theta itself
    rather than a sum over drawn cells, and the default filling is a blur, not a generative network. The
    numbers u are the same for all samples and follow from the seed. The filling is constant in the
    gradient. For clips each frame has its own grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper, require
from seewhy.methods.optimised.descent import descend
from seewhy.perturb.counters import uniform
from seewhy.perturb.edits import compose
from seewhy.perturb.operators import operator
from seewhy.question import Question
from seewhy.types import ScoreKind, Size

Region = Literal["ssr", "sdr"]


@METHODS.register
@dataclass(frozen=True)
class FIDO(Method):
    """Smallest supporting or destroying region by learnt dropout of cells.

    Parameters
    ----------
    region
        "ssr" (supporting) or "sdr" (destroying).
    steps, draws
        Steps of gradient descent and pictures in each of them, at least 1.
    cells
        Cells along height and width, at least 1.
    sparsity
        Price of keeping (ssr) or dropping (sdr) everything, in units of the score, 0 or more.
    rate
        Learning rate, more than 0.
    temperature
        Of the relaxed draws, more than 0; lower ones are closer to 0 and 1.
    operator
        What fills the holes: "blur:PERCENT", "mean", "harmonic", "telea", a name of your own ...
    """

    name: ClassVar[str] = "fido"
    title: ClassVar[str] = "FIDO"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    native: ClassVar[Native] = "pixels"
    streams: ClassVar[bool] = True
    prefers: ClassVar[ScoreKind] = "log_probability"
    paper: ClassVar[Paper] = Paper(
        "Explaining Image Classifiers by Counterfactual Generation",
        "Chang, Creager, Goldenberg, Duvenaud",
        2019,
        "https://arxiv.org/abs/1807.08024",
    )

    region: Region = "ssr"
    steps: int = 200
    draws: int = 4
    cells: int = 28
    sparsity: float = 3.0
    rate: float = 0.1
    temperature: float = 0.2
    operator: str = "blur:5"

    def __post_init__(self) -> None:
        least = min(self.steps, self.draws, self.cells)
        require(least >= 1, "Asked FIDO for steps, draws or cells", least, "Give at least 1")
        low = min(self.rate, self.temperature)
        require(low > 0, "Asked FIDO for a learning rate or temperature", low, "Give more than 0")
        require(self.sparsity >= 0, "Asked FIDO for sparsity", self.sparsity, "Give 0 or more")
        require(self.region in ("ssr", "sdr"), "Asked FIDO for a region", repr(self.region), "Say ssr or sdr")
        operator(self.operator)

    @property
    def signed(self) -> bool:
        """See `Method.signed`."""
        return False

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(self.steps * self.draws + 1, self.steps * self.draws)

    def enlarged(self, cells: Tensor, size: Size) -> Tensor:
        """Return `(k, 1, *size)` from `(k, *cells)`."""
        frames = cells.reshape(-1, 1, *cells.shape[-2:])
        return interpolate(frames, size[-2:], mode="bilinear").reshape(len(cells), 1, *size)

    def relaxed(self, logits: Tensor, seed: int, step: int) -> Tensor:
        """Return `(k * draws, *cells)` relaxed draws from `(k, *cells)` logits, those of a row together."""
        index = step * self.draws + torch.arange(self.draws, device=logits.device)
        u = uniform(seed, index, logits[0].numel()).clamp(1e-6, 1 - 1e-6).reshape(-1, *logits.shape[1:])
        noisy = logits[:, None] + (u.log() - (-u).log1p())
        return (noisy / self.temperature).sigmoid().flatten(0, 1)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        x = question.x
        size = tuple(x.shape[2:])
        cells = [min(self.cells, s) for s in size[-2:]]
        parameters = torch.zeros(len(x), *size[:-2], *cells, device=x.device)
        optimiser = torch.optim.Adam([parameters], lr=self.rate)
        fill = operator(self.operator).behind(question)
        supporting = self.region == "ssr"

        def energy(logits: Tensor, start: int, stop: int, step: int) -> Tensor:
            rows = torch.arange(start, stop, device=x.device).repeat_interleave(self.draws)
            keep = self.enlarged(self.relaxed(logits, question.execution.seed, step), size)
            scores = question.scores(compose(x[rows], keep.to(x), fill, rows), rows)
            mean = scores.reshape(-1, self.draws).mean(1)
            kept = logits.sigmoid().flatten(1).mean(1)
            return self.sparsity * kept - mean if supporting else self.sparsity * (1 - kept) + mean

        for done in descend(question, parameters, optimiser, energy, self.steps, self.title, self.draws):
            values = self.enlarged((parameters if supporting else -parameters).sigmoid(), size)[:, 0]
            yield Estimate(values, values, done, self.steps)
