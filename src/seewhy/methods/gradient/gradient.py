"""Gradient saliency, input x gradient and SmoothGrad.

The gradient of the score with respect to a pixel says how fast the score would change with it. Averaging it
over noisy copies of the input (SmoothGrad) removes the fluctuations that single gradients of deep networks
show; multiplying it with the input turns speed into a first-order contribution.

Formula
    plain: max over channels of |df/dx|; with `times_input`: sum over channels of x * df/dx. With `samples`
    = N > 0, df/dx is replaced by its mean over x + e_k, k = 1..N, with e_k normal of deviation `noise` *
    (max x - min x).
Needs
    gradients.
Cost
    one forward and one backward pass, or N of each with SmoothGrad; one more forward for the prediction.
Papers
    Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks, 2013, https://arxiv.org/abs/1312.6034;
    Smilkov et al.: SmoothGrad, 2017, https://arxiv.org/abs/1706.03825;
    Shrikumar et al.: Not Just a Black Box, 2016, https://arxiv.org/abs/1605.01713 (input x gradient).
Departures
    the N noise patterns are the same for every sample of a batch, so that a batch gives what single calls
    give. The signed mean is taken first and the channels are reduced afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from seewhy.batching import add_at
from seewhy.methods.base import METHODS, Cost, Estimate, Method, Need, Paper, channel_sum, require
from seewhy.question import Question
from seewhy.types import Maps, Size

Reduction = Literal["max_abs", "l2", "sum"]


@METHODS.register
@dataclass(frozen=True)
class Gradient(Method):
    """Gradient of the score with respect to the pixels.

    Parameters
    ----------
    times_input
        Multiply the gradient with the (normalised) input.
    samples
        Noisy copies to average over (SmoothGrad), 0 for the gradient of the input itself. The SmoothGrad
        paper uses 50.
    noise
        Standard deviation of the noise as a fraction of each sample's range of values, 0 to 1.
    channels
        How channels become one value: "max_abs" (the paper's), "l2" or "sum" (signed). None: "sum" with
        `times_input`, else "max_abs".
    """

    name: ClassVar[str] = "gradient"
    title: ClassVar[str] = "Gradient"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    paper: ClassVar[Paper] = Paper(
        "Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency Maps",
        "Simonyan, Vedaldi, Zisserman",
        2013,
        "https://arxiv.org/abs/1312.6034",
    )

    times_input: bool = False
    samples: int = 0
    noise: float = 0.15
    channels: Reduction | None = None

    def __post_init__(self) -> None:
        require(self.samples >= 0, "Asked for a number of SmoothGrad samples", self.samples, "Give 0 or more")
        require(
            0 <= self.noise <= 1,
            "Asked for a noise level",
            self.noise,
            "Give a fraction of the range, 0 to 1",
        )
        require(
            self.channels in (None, "max_abs", "l2", "sum"),
            "Asked how to reduce channels",
            repr(self.channels),
            "Choose max_abs, l2 or sum",
        )

    @property
    def signed(self) -> bool:
        """True where channels are summed."""
        return self._reduction == "sum"

    @property
    def _reduction(self) -> Reduction:
        return self.channels or ("sum" if self.times_input else "max_abs")

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        n = max(self.samples, 1)
        return Cost(1 + n, n)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        x, n = question.x, len(question.x)
        draws = max(self.samples, 1)
        total = torch.zeros_like(x, dtype=torch.float32)
        spread = self.noise * (x.flatten(1).amax(1) - x.flatten(1).amin(1)).reshape(-1, *[1] * (x.ndim - 1))

        def run(start: int, stop: int) -> None:
            jobs = torch.arange(start, stop, device=x.device)
            rows, draw = jobs % n, jobs // n
            noisy = x[rows]
            if self.samples:
                patterns = {int(k): self._pattern(question, int(k)) for k in draw.unique()}
                noisy = noisy + spread[rows] * torch.stack([patterns[int(k)] for k in draw])
            noisy = noisy.detach().requires_grad_()
            with torch.enable_grad():
                scores = question.scores(noisy, rows)
            add_at(total, rows, question.gradient(scores, noisy).float())

        for _ in question.in_batches(n * draws, run, self.title):
            pass
        yield Estimate(self._reduce(total / draws, x))

    def _pattern(self, question: Question, k: int) -> Tensor:
        noise: Tensor = torch.randn(question.x.shape[1:], generator=question.generator(k))
        return noise.to(question.x)

    def _reduce(self, gradient: Tensor, x: Tensor) -> Maps:
        if self.times_input:
            gradient = gradient * x.float()
        match self._reduction:
            case "max_abs":
                return gradient.abs().amax(1)
            case "l2":
                return gradient.square().sum(1).sqrt()
            case "sum":
                return channel_sum(gradient)
