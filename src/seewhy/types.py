"""Shapes and small aliases shared by every room.

Letters: `n` samples, `c` channels, `*size` the axes of the input after the channels: (height, width) of
an image, (frames, height, width) of a clip; `*grid` the cells of a layer along the same axes.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from jaxtyping import Bool, Float, Int
from torch import Tensor

Batch: TypeAlias = Float[Tensor, "n c *size"]
Maps: TypeAlias = Float[Tensor, "n *size"]
Masks: TypeAlias = Bool[Tensor, "n *size"]
"""Where the evidence is: True on the object, at input resolution."""
Cells: TypeAlias = Float[Tensor, "n *cells"]
Scores: TypeAlias = Float[Tensor, " n"]
Rows: TypeAlias = Int[Tensor, " n"]
"""For each input of a batch, the index of the sample that it belongs to."""

Size: TypeAlias = tuple[int, ...]
ScoreKind: TypeAlias = Literal["logit", "probability", "log_probability"]
Json: TypeAlias = dict[str, Any]
