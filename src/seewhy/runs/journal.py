"""The journal of a run: one line a finished unit, written the moment it is finished.

A line is the CRC-32 of its text, a space, the text (JSON) and a newline. Whatever a kill leaves of the last
line is cut off when the journal is opened again; a line that was damaged later is passed over, so that its
unit is done once more. Lines reach the operating system at once, which a kill -9 cannot undo, and the disk
within a second or so, so that a failure of power costs about that much work.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from seewhy.runs.units import Record, Unit
from seewhy.types import Json

_FLUSHED = 1.0
"""Seconds between two waits for the disk."""


class Journal:
    """An append-only file of records. One process writes it: see `RunFolder`.

    Parameters
    ----------
    path
        Of the file; made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[Unit, int] = {}
        """Where in the file the line of each recorded unit begins."""
        self.damaged = 0
        """Lines passed over."""
        self._file: BinaryIO = path.open("a+b")
        self._flushed = time.monotonic()
        self._end = self._scan()
        self._file.truncate(self._end)

    def __contains__(self, unit: object) -> bool:
        return unit in self.places

    def __len__(self) -> int:
        return len(self.places)

    def append(self, record: Record) -> None:
        """Write a record, unless its unit has one already."""
        if record.unit in self.places:
            return
        text = json.dumps({"unit": list(record.unit), "facts": record.facts, "rows": list(record.rows)})
        line = f"{zlib.crc32(text.encode()):08x} {text}\n".encode()
        self._file.write(line)
        self._file.flush()
        self.places[record.unit] = self._end
        self._end += len(line)
        if time.monotonic() - self._flushed > _FLUSHED:
            self.sync()

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        os.fsync(self._file.fileno())
        self._flushed = time.monotonic()

    def read(self, unit: Unit) -> Record:
        """Return the record of a unit, without its maps."""
        self._file.seek(self.places[unit])
        known = _parsed(self._file.readline())
        assert known is not None, "it was whole when the journal was opened"
        return _record(known)

    def records(self) -> Iterator[Record]:
        """Yield every record in the order in which they were written."""
        for unit in list(self.places):
            yield self.read(unit)

    def close(self) -> None:
        """Wait for the disk and let go of the file."""
        self.sync()
        self._file.close()

    def _scan(self) -> int:
        """Find the lines; return where the last whole one ends."""
        self._file.seek(0)
        at = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break  # torn by a kill
            known = _parsed(line)
            if known is None:
                self.damaged += 1
            else:
                self.places[Unit(*known["unit"])] = at
            at += len(line)
        return at


def read_records(path: Path) -> Iterator[Record]:
    """Yield what is recorded so far, without touching the file: another process may be writing it."""
    with path.open("rb") as file:
        for line in file:
            known = _parsed(line) if line.endswith(b"\n") else None
            if known is not None:
                yield _record(known)


def _parsed(line: bytes) -> Json | None:
    """Return the content of a line, or None for a damaged one."""
    head, _, text = line.rstrip(b"\n").partition(b" ")
    if head != f"{zlib.crc32(text):08x}".encode():
        return None
    content: Json = json.loads(text)
    return content


def _record(known: Json) -> Record:
    return Record(Unit(*known["unit"]), tuple(known["rows"]), known["facts"])
