"""Maps that were made, by the hash of everything that they follow from; bounded in bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seewhy.studio.packing import pack, png
from seewhy.studio.refusals import Missing
from seewhy.studio.schema import MapEvent

if TYPE_CHECKING:
    from seewhy.attribution import Attribution
    from seewhy.studio.asked import Asked

BYTES = 500_000_000


def key_of(**facts: Any) -> str:
    """Return an identifier that follows from JSON-serialisable facts."""
    text = json.dumps(facts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Kept:
    """A map and what it follows from."""

    id: str
    attribution: Attribution
    asked: Asked
    """What was asked for; of a run that was stopped, what would have asked for this map."""
    stopped: bool = False
    seconds: float = 0.0

    def event(self, job: str) -> MapEvent:
        """Return the map as the last frame of a stream."""
        return frame(self.attribution, job, self.seconds)

    @property
    def size(self) -> int:
        """Bytes of its tensors."""
        a = self.attribution
        return sum(t.numel() * t.element_size() for t in (a.values, a.native, a.pixels))


class MapCache:
    """The maps of a session; the ones that were used least recently go when memory is spent."""

    def __init__(self, limit: int = BYTES) -> None:
        self.limit = limit
        self._maps: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, kept: Kept) -> None:
        """Keep a map."""
        with self._lock:
            self._maps[kept.id] = kept
            self._maps.move_to_end(kept.id)
            while len(self._maps) > 1 and sum(k.size for k in self._maps.values()) > self.limit:
                self._maps.popitem(last=False)

    def get(self, name: str) -> Kept | None:
        """Return a map, or None."""
        with self._lock:
            if name in self._maps:
                self._maps.move_to_end(name)
            return self._maps.get(name)

    def __getitem__(self, name: str) -> Kept:
        kept = self.get(name)
        if kept is None:
            raise Missing("map", name, "Make it again")
        return kept


def frame(attribution: Attribution, job: str, seconds: float) -> MapEvent:
    """Return an attribution of one photo as the page reads it."""
    values, native, notes = attribution.values[0], attribution.native[0], attribution.provenance
    coarser = native.shape != values.shape and native.ndim == 2
    return MapEvent(
        job=job,
        values=pack(values),
        native=pack(native) if coarser else None,
        signed=attribution.signed,
        done=notes["steps"]["done"],
        total=notes["steps"]["total"],
        seconds=seconds,
        reliability=notes["inputs"][0]["reliability"],
        text=attribution.text_twin(),
    )


def content(kept: Kept, ending: str) -> tuple[bytes, str]:
    """Return a map as the content of a file, and its media type. Endings: safetensors, json, png, npy."""
    if ending == "png":
        return png(kept.attribution.overlay()), "image/png"
    if ending == "npy":
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, kept.attribution.values[0].numpy())
        return buffer.getvalue(), "application/octet-stream"
    with tempfile.TemporaryDirectory() as folder:
        tensors, notes = kept.attribution.save(Path(folder) / kept.id)
        if ending == "json":
            return notes.read_bytes(), "application/json"
        return tensors.read_bytes(), "application/octet-stream"
