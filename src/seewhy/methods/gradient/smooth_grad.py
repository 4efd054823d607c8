"""SmoothGrad.

Gradients of deep networks fluctuate from one image to an almost equal one. Their average over noisy copies of
the input keeps what the copies agree about.

Formula
    g = mean over k = 1..N of df/dx at x + e_k, with e_k normal of deviation `noise` * (max x - min x); the
    map is the maximum over channels of |g|. With `squared` (SmoothGrad-Squared) g is the mean of the squared
    gradients.
Needs
    gradients.
Cost
    N forward and backward passes; one more forward for the prediction.
Papers
    Smilkov, Thorat, Kim, Viegas, Wattenberg: SmoothGrad, 2017, https://arxiv.org/abs/1706.03825;
    Hooker, Erhan, Kindermans, Kim: A Benchmark for Interpretability Methods in Deep Neural Networks, 2018,
    https://arxiv.org/abs/1806.10758 (the squared form).
Departures
    the signed mean is taken first and the channels are reduced afterwards. Every sample of a batch gets the
    same N noise patterns, each at its own scale, so that a batch gives what single calls give.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Need, Paper
from seewhy.methods.gradient.noise import moments, require_noise
from seewhy.methods.gradient.slopes import Reduction, reduced, require_reduction
from seewhy.question import Question
from seewhy.types import Size


@METHODS.register
@dataclass(frozen=True)
class SmoothGrad(Method):
    """Mean gradient over noisy copies of the input.

    Parameters
    ----------
    samples
        Noisy copies, at least 1.
    noise
        Standard deviation of the noise as a fraction of each sample's range of values, 0 to 1.
    channels
        How channels become one value: "max_abs", "l2" or "sum" (signed unless squared).
    squared
        Average the squares of the gradients instead of the gradients.
    """

    name: ClassVar[str] = "smooth_grad"
    title: ClassVar[str] = "SmoothGrad"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    paper: ClassVar[Paper] = Paper(
        "SmoothGrad: removing noise by adding noise",
        "Smilkov, Thorat, Kim, Viegas, Wattenberg",
        2017,
        "https://arxiv.org/abs/1706.03825",
    )

    samples: int = 50
    noise: float = 0.15
    channels: Reduction = "max_abs"
    squared: bool = False

    def __post_init__(self) -> None:
        require_noise(self.samples, self.noise, least=1)
        require_reduction(self.channels)

    @property
    def signed(self) -> bool:
        """True where channels of plain gradients are summed."""
        return self.channels == "sum" and not self.squared

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(1 + self.samples, self.samples)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        first, second = moments(question, self.samples, self.noise, self.title)
        yield Estimate(reduced((second if self.squared else first).float(), self.channels))
