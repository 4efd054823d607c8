"""The layers of a model: what they put out, how that lies over the input, and which of them a method can use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from seewhy.models.grids import Grid
from seewhy.types import Size

if TYPE_CHECKING:
    from seewhy.models.model import Model


@dataclass(frozen=True)
class Layer:
    """One layer as a forward pass found it.

    Parameters
    ----------
    name, type
        Its name in `module.named_modules()` and its class.
    shape
        Of its output, without the batch axis.
    grid
        How the output lies over the input; None where it does not.
    live
        Whether the answer depends on the cells of this output (patch tokens behind the last attention often do not).
    reason
        Why it does not fit; "" when it does.
    """

    name: str
    type: str
    shape: Size
    grid: Grid | None
    live: bool
    reason: str = ""

    @property
    def fits(self) -> bool:
        """Whether a method that explains on a layer's grid can use it."""
        return not self.reason


def survey(model: Model, input_shape: Size) -> list[Layer]:
    """Return every layer that a forward pass on `(c, *size)` inputs calls, in order of execution. Cached on the model."""
    raise NotImplementedError


def default_layer(model: Model, input_shape: Size) -> Layer:
    """Return the layer that Grad-CAM and its family use when none is named."""
    raise NotImplementedError


def grid_of(model: Model, layer: str, input_shape: Size) -> Grid:
    """Return the grid of `layer`, or refuse with the layers that have one."""
    raise NotImplementedError
