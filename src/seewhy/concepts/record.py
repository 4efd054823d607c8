"""Results on disk: NAME.safetensors for numbers in bulk, NAME.json for the rest; both whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from seewhy.errors import UnreadableInput
from seewhy.files import write_atomically
from seewhy.types import Json

FORMAT = 1


def save(path: str | Path, kind: str, tensors: Mapping[str, Tensor], notes: Json) -> tuple[Path, Path]:
    """Write both files and return their paths.

    Raises
    ------
    BadInput
        When the folder cannot be written.
    """
    from safetensors.torch import save as packed

    bulk, text = _files(path)
    content = packed({k: t.detach().cpu().contiguous().clone() for k, t in tensors.items()})
    marks = {"format": FORMAT, "kind": kind, "tensors_sha256": hashlib.sha256(content).hexdigest()}
    new = not bulk.exists()
    write_atomically(bulk, content)
    try:
        write_atomically(text, json.dumps({**marks, **notes}, indent=1, ensure_ascii=False).encode())
    except BaseException:
        if new:
            bulk.unlink(missing_ok=True)
        raise
    return bulk, text


def open_record(path: str | Path, kind: str) -> tuple[dict[str, Tensor], Json]:
    """Read what `save` wrote.

    Raises
    ------
    UnreadableInput
        For files that are missing, damaged, of another kind or that do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    bulk, text = _files(path)
    asked = f"Asked to open {path}"
    try:
        content, notes = bulk.read_bytes(), json.loads(text.read_text(encoding="utf-8"))
        marks = {k: notes.pop(k) for k in ("format", "kind", "tensors_sha256")}
        tensors = load(content)
    except FileNotFoundError as error:
        raise UnreadableInput(
            asked,
            f"{error.filename} does not exist",
            "A result is a .safetensors and a .json of one name",
        ) from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UnreadableInput(asked, f"It is damaged: {error}") from error
    if marks["format"] != FORMAT or marks["kind"] != kind:
        raise UnreadableInput(asked, f"It holds {marks['kind']}, format {marks['format']}, not {kind}")
    if marks["tensors_sha256"] != hashlib.sha256(content).hexdigest():
        raise UnreadableInput(
            asked,
            f"{bulk.name} and {text.name} do not belong together",
            "Saving was interrupted, or one of them was changed; make the result again",
        )
    return tensors, notes


def _files(path: str | Path) -> tuple[Path, Path]:
    path = Path(path)
    base = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    return base.with_name(f"{base.name}.safetensors"), base.with_name(f"{base.name}.json")
