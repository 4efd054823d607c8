"""Features of the auxiliary network that an explainer names, for inputs of the explained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from seewhy.methods.learned.evidence import with_evidence
from seewhy.methods.learned.explainer import Explainer, auxiliary_of, is_ours
from seewhy.methods.learned.stages import Features, Stage, find_stages, seen_size, translated
from seewhy.models.fast_copy import kept_copy
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.models.untouched import structure, wiring
from seewhy.types import Batch, Size

_FEATURES: WeakKeyDictionary[Explainer, dict[str, Any]] = WeakKeyDictionary()


def auxiliary_features(
    explainer: Explainer, x: Batch, look: Preprocessing | None, classes: Tensor | None = None
) -> list[Tensor]:
    """Return `(n, channels, rows, columns)` float32 of each stage, finest first: one pass.

    An explainer that takes evidence gets it behind them, `(n, k, rows, columns)` of each of its layers.

    Parameters
    ----------
    explainer
        It names the network and its stages.
    x
        `(n, c, h, w)` inputs of the explained model.
    look
        The explained model's preprocessing.
    classes
        `(n, k)`: the classes for which evidence is wanted, of each sample; None wants none.

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
        features, evidence = _features(explainer, auxiliary, shape)
        seen = translated(x.float(), look, auxiliary)
        features = _hastened(explainer, features, evidence, seen)
        if evidence and classes is not None:
            return with_evidence(features, evidence, seen, classes.to(seen.device))[0]
        maps, _ = features(seen)
    return [m.float() for m in maps]


def _hastened(explainer: Explainer, features: Features, evidence: Sequence[Stage], seen: Tensor) -> Features:
    """Return the same, asked of a copy of the network where that pays: on processors, see `kept_copy`."""
    if seen.device.type != "cpu":
        return features
    model = features.model
    read = tuple(dict.fromkeys(stage.layer for stage in (*features.stages, *evidence)))
    about = explainer.auxiliary or {}
    wired = () if is_ours(model) else wiring(model.module)
    version = about["weights_sha256"], *wired  # weights are these: `auxiliary_of` has looked
    return replace(features, model=kept_copy(model, seen, read, version)[0])


def _features(explainer: Explainer, auxiliary: Model, shape: Size) -> tuple[Features, tuple[Stage, ...]]:
    """Return the stages and the layers of evidence that an explainer names, looked up once for a shape."""
    known = _FEATURES.setdefault(explainer, {})
    key = (auxiliary, structure(auxiliary.module), shape)
    if known.get("key") != key:
        about = explainer.auxiliary or {}
        stages = find_stages(auxiliary, shape, about["stages"])
        named = about.get("evidence", [])
        evidence = find_stages(auxiliary, shape, named) if named else ()
        known.update(key=key, found=(Features(auxiliary, stages), evidence))
    found: tuple[Features, tuple[Stage, ...]] = known["found"]
    return found
