"""What a model answers: one tensor picked out of whatever its forward pass returns.

Networks return tensors, tuples, lists, dicts, dataclasses or Hugging Face `ModelOutput`s. `pick` finds the
tensor that holds the answer, `swap` puts another tensor in its place without touching the rest.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import Tensor

from seewhy.errors import BadInput, listing
from seewhy.types import Size

OutputKey: TypeAlias = str | int | Callable[[Any], Tensor] | None
"""Which part of the raw output is the answer: a key, a position, a function, or None for the usual one."""

USUAL_KEYS = ("logits", "image_embeds", "pooler_output", "last_hidden_state", "output", "out", "pred")


@dataclass
class Answer:
    """One forward pass.

    Parameters
    ----------
    raw
        What the network returned, untouched.
    output
        The tensor picked from it, `(n, ...)`: usually `(n, classes)` logits or `(n, width)` embeddings.
    input_shape
        `(c, *size)` of one input.
    activations
        Outputs of the layers that were asked for, by layer name.
    """

    raw: Any
    output: Tensor
    input_shape: Size
    activations: dict[str, Tensor] = field(default_factory=dict)


def pick(raw: Any, key: OutputKey = None) -> Tensor:
    """Return the answer tensor of a raw output.

    Raises
    ------
    BadInput
        When nothing there is a tensor or `key` is absent; the message lists what there is.
    """
    if callable(key):
        found: Any = key(raw)
    else:
        parts = _parts(raw)
        if key is None:
            key = next((k for k in USUAL_KEYS if isinstance(parts.get(k), Tensor)), None)
            found = (
                parts[key]
                if key is not None
                else next((v for v in parts.values() if isinstance(v, Tensor)), None)
            )
        elif isinstance(key, int) and key < 0 and isinstance(raw, tuple | list):
            found = parts.get(len(raw) + key)
        else:
            found = parts.get(key)
    if not isinstance(found, Tensor):
        names = [str(k) for k, v in _parts(raw).items() if isinstance(v, Tensor)]
        raise BadInput(
            "Asked for the tensor that holds the model's answer"
            + (f" under {key!r}" if key is not None else ""),
            f"The model returned {type(raw).__name__} without it" + (f". {listing(names)}" if names else ""),
            "Name it: Model(module, output='logits')",
        )
    return found


def swap(raw: Any, new: Tensor) -> Any:
    """Return a copy of `raw` in which the tensor that `pick(raw)` finds is `new`; `raw` stays as it is."""
    old = pick(raw)
    if raw is old:
        return new
    if isinstance(raw, tuple | list):
        items = [new if item is old else item for item in raw]
        return type(raw)(*items) if hasattr(raw, "_fields") else type(raw)(items)
    if isinstance(raw, Mapping) and not isinstance(raw, MutableMapping):
        return {k: new if v is old else v for k, v in raw.items()}
    fresh = copy.copy(raw)
    for k, v in _parts(raw).items():
        if v is old:
            if isinstance(fresh, MutableMapping):
                fresh[k] = new
            else:
                object.__setattr__(fresh, k, new)  # frozen dataclasses refuse the plain way
    return fresh


def _parts(raw: Any) -> dict[Any, Any]:
    if isinstance(raw, Tensor):
        return {0: raw}
    if isinstance(raw, Mapping):
        return dict(raw.items())
    if isinstance(raw, tuple | list):
        named = dict(zip(getattr(raw, "_fields", ()), raw, strict=False))
        return {**named, **dict(enumerate(raw))}
    if dataclasses.is_dataclass(raw):
        return {f.name: getattr(raw, f.name) for f in dataclasses.fields(raw)}
    return dict(getattr(raw, "__dict__", {}))
