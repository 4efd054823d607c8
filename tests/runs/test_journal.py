"""The journal: whole lines or none, whatever a kill leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from seewhy.runs.journal import Journal
from seewhy.runs.units import Record, Unit

RECORDS = [
    Record(Unit(0), ({"target": {"label": "tabby"}}, {"error": "über"}), {}),
    Record(Unit(0, "rise"), ({}, {"error": "über"}), {"seconds": 0.1}),
    Record(Unit(0, "rise", "road"), ({"value": 0.1}, {"value": float("nan")}), {"at": [[0.0, 1.0]]}),
    Record(Unit(1), ({}, {}), {}),
]


def written(path: Path, records: Sequence[Record] = RECORDS) -> bytes:
    journal = Journal(path)
    for record in records:
        journal.append(record)
    journal.close()
    return path.read_bytes()


def survives_every_cut(path: Path, content: bytes, kind: type[Journal]) -> None:
    """Cut the file at every byte; what was whole must still be there, and appending must go on."""
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        journal = kind(path)
        whole = sum(end <= cut for end in ends)
        assert list(journal.places) == [r.unit for r in RECORDS[:whole]], cut
        for record in RECORDS:
            journal.append(record)
        journal.close()
        assert path.read_bytes() == content, cut


def test_a_kill_at_any_byte_costs_the_torn_line_alone(tmp_path: Path) -> None:
    survives_every_cut(tmp_path / "journal", written(tmp_path / "journal"), Journal)


class Untruncated(Journal):
    """A planted bug: the torn line stays, and the next one is glued to it."""

    def _scan(self) -> int:
        super()._scan()
        return self.path.stat().st_size


def test_a_journal_that_keeps_torn_lines_would_be_caught(tmp_path: Path) -> None:
    content = written(tmp_path / "journal")
    with pytest.raises(AssertionError):
        survives_every_cut(tmp_path / "journal", content, Untruncated)


def test_records_come_back(tmp_path: Path) -> None:
    written(tmp_path / "journal")
    journal = Journal(tmp_path / "journal")
    assert repr(list(journal.records())) == repr(RECORDS)  # NaN equals itself in print alone
    journal.close()


def test_a_damaged_line_is_passed_over(tmp_path: Path) -> None:
    content = written(tmp_path / "journal")
    at = content.index(b"0.1}")
    (tmp_path / "journal").write_bytes(content[:at] + b"0.2}" + content[at + 4 :])
    journal = Journal(tmp_path / "journal")
    assert journal.damaged == 1
    assert Unit(0, "rise") not in journal
    assert Unit(1) in journal
    journal.append(RECORDS[1])
    assert journal.read(Unit(0, "rise")) == RECORDS[1]
    journal.close()


def test_a_unit_is_recorded_once(tmp_path: Path) -> None:
    content = written(tmp_path / "journal")
    assert written(tmp_path / "journal") == content
