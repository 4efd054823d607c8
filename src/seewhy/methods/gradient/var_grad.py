"""VarGrad.

The variance of the gradient over noisy copies of the input: large where a small change of the image changes
the model's sensitivity, whatever the mean gradient is.

Formula
    mean over k of (g_k - mean g)^2 with g_k = df/dx at x + e_k, e_k normal of deviation `noise` *
    (max x - min x), k = 1..N; summed over channels.
Needs
    gradients.
Cost
    N forward and backward passes; one more forward for the prediction.
Paper
    Adebayo, Gilmer, Goodfellow, Kim: Local Explanation Methods for Deep Neural Networks Lack Sensitivity to
    Parameter Values, 2018, https://arxiv.org/abs/1810.03307.
Departures
    the noise level, the sum over channels and the number of copies are our choices; the copies are those of
    SmoothGrad with the same seed.
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
class VarGrad(Method):
    """Variance of the gradient over noisy copies of the input.

    Parameters
    ----------
    samples
        Noisy copies, at least 2.
    noise
        Standard deviation of the noise as a fraction of each sample's range of values, 0 to 1.
    channels
        How the channels' variances become one value: "sum", "max_abs" or "l2".
    """

    name: ClassVar[str] = "var_grad"
    title: ClassVar[str] = "VarGrad"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradient"})
    paper: ClassVar[Paper] = Paper(
        "Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter Values",
        "Adebayo, Gilmer, Goodfellow, Kim",
        2018,
        "https://arxiv.org/abs/1810.03307",
    )

    samples: int = 50
    noise: float = 0.15
    channels: Reduction = "sum"

    def __post_init__(self) -> None:
        require_noise(self.samples, self.noise, least=2)
        require_reduction(self.channels)

    @property
    def signed(self) -> bool:
        """Variances have no sign."""
        return False

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`."""
        return Cost(1 + self.samples, self.samples)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        first, second = moments(question, self.samples, self.noise, self.title)
        # Rounding may leave a variance of zero a trace below it.
        yield Estimate(reduced((second - first.square()).clamp_min(0).float(), self.channels))
