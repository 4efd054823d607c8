"""Meaningful perturbation: the smallest smooth hole that makes the score fall.

A coarse mask is optimised for one input. It should hide little and have short, soft edges, and what it leaves
should score low. What it hides in the end is what the score needed.

Formula
    With a coarse mask m in [0, 1] (1 keeps), enlarged by nearest neighbour and blurred to m', and
    picture(m) = m' x + (1 - m') fill, minimise
    f(picture(m)) + area * sum |1 - m| + edges * sum |grad m|^beta,
    where |grad m|^2 is the sum of squared differences to the next cell along each axis. Adam, m clamped to
    [0, 1] after each step; in each step the picture is shifted at random by some pixels. The map is 1 - m',
    in [0, 1]. Not signed.
Needs
    gradients with respect to the input.
Cost
    `steps` forward and backward passes, and one forward pass for the prediction.
Paper
    Fong, Vedaldi: Interpretable Explanations of Black Boxes by Meaningful Perturbation, ICCV 2017,
    https://arxiv.org/abs/1704.03296
Departures
    The mask starts at one half everywhere, not at random; the gradient goes through the blur of the mask;
    shifting rolls the picture, so that up to three columns and rows reappear on the other side. Lengths
    hold at 224 pixels and scale with the shorter side. For clips each frame has its own mask, and
    differences along time count as edges, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Need, Paper, require
from seewhy.methods.optimised.descent import descend, scaled
from seewhy.perturb.blurs import filtered, gaussian
from seewhy.perturb.edits import compose
from seewhy.perturb.operators import operator
from seewhy.question import Question
from seewhy.types import ScoreKind, Size


@METHODS.register
@dataclass(frozen=True)
class MeaningfulPerturbation(Method):
    """The deletion mask.

    Parameters
    ----------
    steps
        Steps of gradient descent, at least 1.
    cells
        Cells of the coarse mask along height and width, at least 1.
    area, edges
        Weights of what is hidden and of the edges, 0 or more.
    beta
        Exponent of the edges, at least 2.
    rate
        Learning rate, more than 0.
    blur
        Deviation of the mask's blur, on 224 pixels; 0 for none.
    jitter
        Shifts are below this number of pixels, on 224 pixels; 0 for none.
    operator
        What is hidden becomes this: "blur:PERCENT", "mean", "noise:DEVIATION", "harmonic" ...
    """

    name: ClassVar[str] = "meaningful_perturbation"
    title: ClassVar[str] = "Meaningful perturbation"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    native: ClassVar[Native] = "pixels"
    streams: ClassVar[bool] = True
    prefers: ClassVar[ScoreKind] = "probability"
    paper: ClassVar[Paper] = Paper(
        "Interpretable Explanations of Black Boxes by Meaningful Perturbation",
        "Fong, Vedaldi",
        2017,
        "https://arxiv.org/abs/1704.03296",
    )

    steps: int = 300
    cells: int = 28
    area: float = 1e-4
    edges: float = 1e-2
    beta: float = 3.0
    rate: float = 0.1
    blur: float = 5.0
    jitter: float = 4.0
    operator: str = "blur:4.46"

    def __post_init__(self) -> None:
        asked = "Asked for a meaningful perturbation"
        require(min(self.steps, self.cells) >= 1, f"{asked} with steps or cells", 0, "Give at least 1")
        least = min(self.area, self.edges, self.blur, self.jitter)
        require(least >= 0, f"{asked} with area, edges, blur or jitter", least, "Give 0 or more")
        require(self.beta >= 2, f"{asked} with beta", self.beta, "Give at least 2")
        require(self.rate > 0, f"{asked} with a learning rate", self.rate, "Give more than 0")
        operator(self.operator)

    @property
    def signed(self) -> bool:
        """See `Method.signed`."""
        return False

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(self.steps + 1, self.steps)

    def energy(self, coarse: Tensor) -> Tensor:
        """Return `(n,)`: what masks `(n, *cells)` pay for their area and edges."""
        squares = torch.zeros_like(coarse)
        for axis in range(1, coarse.ndim):
            step = coarse.diff(dim=axis, append=coarse.narrow(axis, coarse.shape[axis] - 1, 1))
            squares = squares + step**2
        hidden = (1 - coarse).abs().flatten(1).sum(1)
        return self.area * hidden + self.edges * (squares ** (self.beta / 2)).flatten(1).sum(1)

    def enlarged(self, coarse: Tensor, size: Size) -> Tensor:
        """Return `(n, 1, *size)` masks from `(n, *cells)`."""
        frames = interpolate(coarse.reshape(-1, 1, *coarse.shape[-2:]), size[-2:], mode="nearest")
        sigma = scaled(self.blur, size)
        if sigma:
            frames = filtered(frames, gaussian(sigma, ceil(4 * sigma)), "replicate")
        return frames.reshape(len(coarse), 1, *size)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        x = question.x
        size = tuple(x.shape[2:])
        cells = [min(self.cells, s) for s in size[-2:]]
        parameters = torch.full((len(x), *size[:-2], *cells), 0.5, device=x.device)
        optimiser = torch.optim.Adam([parameters], lr=self.rate)
        fill = operator(self.operator).behind(question)
        reach = round(scaled(self.jitter, size))

        def energy(coarse: Tensor, start: int, stop: int, step: int) -> Tensor:
            rows = torch.arange(start, stop, device=x.device)
            picture = compose(x[start:stop], self.enlarged(coarse, size).to(x), fill, rows)
            if reach:
                down, right = torch.randint(reach, (2,), generator=question.generator(step)).tolist()
                picture = picture.roll((down, right), (-2, -1))
            return question.scores(picture, rows) + self.energy(coarse)

        for done in descend(question, parameters, optimiser, energy, self.steps, self.title, within=(0, 1)):
            # A blur of ones may miss 1 by a rounding.
            values = (1 - self.enlarged(parameters, size)[:, 0]).clamp_min(0)
            yield Estimate(values, values, done, self.steps)
