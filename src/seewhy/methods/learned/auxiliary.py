"""Features of the auxiliary network that an explainer names, for inputs of the explained model."""

from __future__ import annotations

from torch import Tensor

from seewhy.methods.learned.explainer import Explainer, auxiliary_of
from seewhy.methods.learned.stages import Features, find_stages, seen_size, translated
from seewhy.models.preprocessing import Preprocessing
from seewhy.types import Batch


def auxiliary_features(explainer: Explainer, x: Batch, look: Preprocessing | None) -> list[Tensor]:
    """Return `(n, channels, rows, columns)` float32 of each stage, finest first: one pass.

    Parameters
    ----------
    explainer
        It names the network and its stages.
    x
        `(n, c, h, w)` inputs of the explained model.
    look
        The explained model's preprocessing.

    Raises
    ------
    BadInput
        When the network cannot be loaded, or has other weights than it had in training.
    """
    auxiliary = auxiliary_of(explainer)
    auxiliary.module.to(x.device)
    shape = seen_size(auxiliary, tuple(x.shape[1:]))
    with auxiliary.untouched():
        stages = find_stages(auxiliary, shape, (explainer.auxiliary or {})["stages"])
        maps, _ = Features(auxiliary, stages)(translated(x.float(), look, auxiliary))
    return [m.float() for m in maps]
