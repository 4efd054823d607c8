"""Checkpoints: all that a run needs to go on as if it had never stopped, in one file, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import torch

from seewhy.errors import BadInput, UnreadableInput
from seewhy.files import write_atomically
from seewhy.types import Json

SUFFIX = ".checkpoint"


def place(out: Path) -> Path:
    """Return where the checkpoint of an explainer that will be `out` lies."""
    return out.with_name(out.name + SUFFIX)


def identity(facts: Json) -> str:
    """Return a digest of what must be the same for a run to go on."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def write(path: Path, identity: str, state: dict[str, Any]) -> None:
    """Write a state of tensors, numbers and containers of them."""
    buffer = io.BytesIO()
    torch.save({"identity": identity, **state}, buffer)
    write_atomically(path, buffer.getvalue())


def read(path: Path, identity: str) -> dict[str, Any] | None:
    """Return the state of an interrupted run, or None where there is none.

    Raises
    ------
    BadInput
        When it is of another run: other parameters, data or weights.
    UnreadableInput
        When it is damaged.
    """
    if not path.exists():
        return None
    asked = f"Asked to go on with the training in {path}"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = state.pop("identity")
    except Exception as error:
        raise UnreadableInput(asked, "The checkpoint is damaged", "Delete it to begin anew") from error
    if found != identity:
        raise BadInput(
            asked,
            "It was begun with other parameters, data or weights",
            "Delete it to begin anew, or give what it was begun with",
        )
    return state
