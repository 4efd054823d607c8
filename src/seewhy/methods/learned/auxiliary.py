"""Features of the auxiliary network that an explainer names, for inputs of the explained model."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from seewhy.methods.learned.explainer import Explainer, auxiliary_of
from seewhy.methods.learned.stages import Features, find_stages, seen_size, translated
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.models.untouched import structure
from seewhy.types import Batch, Size

_FEATURES: WeakKeyDictionary[Explainer, dict[str, Any]] = WeakKeyDictionary()


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
    if auxiliary.device != x.device:  # moving what is in place costs a quarter of a small network's pass
        auxiliary.module.to(x.device)
    shape = seen_size(auxiliary, tuple(x.shape[1:]))
    with auxiliary.untouched():
        maps, _ = _features(explainer, auxiliary, shape)(translated(x.float(), look, auxiliary))
    return [m.float() for m in maps]


def _features(explainer: Explainer, auxiliary: Model, shape: Size) -> Features:
    """Return the stages that an explainer names, looked up once for inputs of one shape."""
    known = _FEATURES.setdefault(explainer, {})
    key = (auxiliary, structure(auxiliary.module), shape)
    if known.get("key") != key:
        stages = find_stages(auxiliary, shape, (explainer.auxiliary or {})["stages"])
        known.update(key=key, features=Features(auxiliary, stages))
    features: Features = known["features"]
    return features
