"""Which maps a metric can use: one an input, at its resolution, finite, and not the same everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from seewhy.errors import BadInput
from seewhy.question import Question
from seewhy.types import Maps, Scores


@dataclass(frozen=True)
class Usable:
    """Maps on the device of the inputs, float32; those that are not finite are 0 throughout.

    Parameters
    ----------
    maps
        `(n, *size)`.
    finite, constant
        `(n,)` bool.
    """

    maps: Maps
    finite: Tensor
    constant: Tensor

    @property
    def why(self) -> list[str | None]:
        """For each map the reason why it has neither order nor range, or None."""
        pairs = zip(self.finite.tolist(), self.constant.tolist(), strict=True)
        return ["not finite" if not f else "constant" if c else None for f, c in pairs]

    def defined(self, values: Scores) -> Scores:
        """Return `(n,)` values as float32, NaN where a map has neither order nor range."""
        return values.float().masked_fill(self.constant | ~self.finite, float("nan"))

    def unit(self) -> Maps:
        """Return each map from 0 at its lowest value to 1 at its highest; a constant one is 0."""
        shape = (-1, *[1] * (self.maps.ndim - 1))
        low = self.maps.flatten(1).amin(1).reshape(shape)
        high = self.maps.flatten(1).amax(1).reshape(shape)
        return (self.maps - low) / (high - low).where(high > low, high.new_ones(()))


def usable(question: Question, maps: Maps) -> Usable:
    """Return `(n, *size)` maps as metrics read them.

    Raises
    ------
    BadInput
        For maps of another number or size than the inputs.
    """
    size = tuple(question.x.shape[2:])
    if tuple(maps.shape[1:]) != size or len(maps) != len(question.x):
        raise BadInput(
            f"Asked to score maps of shape {tuple(maps.shape)}",
            f"The inputs are {len(question.x)} of size {size}",
            "Give one map an input, at its resolution",
        )
    maps = maps.to(question.x.device).float()
    finite = maps.flatten(1).isfinite().all(1)
    maps = maps.where(finite.reshape(-1, *[1] * len(size)), maps.new_zeros(()))
    flat = maps.flatten(1)
    return Usable(maps, finite, flat.amax(1) == flat.amin(1))
