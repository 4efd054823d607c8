"""Results: written and read a part at a time, however many samples there are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from seewhy.inputs.datasets.base import Offer, Sample
from seewhy.metrics.baselines import BASELINES
from seewhy.runs import results
from seewhy.runs.journal import Journal
from seewhy.runs.units import Record, Unit, units_of
from seewhy.types import Json


@dataclass(frozen=True)
class Numbers:
    """Samples that have names and nothing else."""

    count: int
    offers: frozenset[Offer] = frozenset()

    def __len__(self) -> int:
        return self.count

    def name(self, i: int) -> str:
        return f"sample {i}"

    def load(self, i: int) -> Sample:
        return Sample(Image.new("L", (1, 1)))


def journal_of(path: Path, chunks: list[range]) -> Journal:
    journal = Journal(path)
    for chunk, indices in enumerate(chunks):
        for unit in units_of(chunk, ["rise"], ["road"]):
            value = (len(unit.method) + 1) / 7
            row: Json = {"value": value, "curve": [value] * 50, "at": 0} if unit.metric else {}
            journal.append(Record(unit, (row,) * len(indices), {"at": [[i / 49 for i in range(50)]]}))
    return journal


def peak(folder: Path, samples: int) -> int:
    """Return the most bytes that Python held at a time while writing."""
    folder.mkdir()
    chunks = [range(i, i + 10) for i in range(0, samples, 10)]
    journal = journal_of(folder / "journal", chunks)
    tracemalloc.start()
    results.write_results(folder, journal, Numbers(samples), chunks, ["rise"], ["road"])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    journal.close()
    return most


def flat(tmp_path: Path) -> bool:
    """Return whether four times the samples take about the same memory."""
    peak(tmp_path / "first", 10)  # imports
    return peak(tmp_path / "many", 600) < 1.5 * peak(tmp_path / "some", 150)


def test_memory_does_not_grow_with_the_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_GROUP", 64)
    assert flat(tmp_path)


def test_holding_all_rows_would_be_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 600 * (1 + len(BASELINES)) < results._GROUP  # the planted bug: one group of everything
    assert not flat(tmp_path)


def test_the_order_of_the_journal_does_not_matter(tmp_path: Path) -> None:
    chunks = [range(3), range(3, 5)]
    contents = []
    for name, turned in (("forward", False), ("backward", True)):
        (tmp_path / name).mkdir()
        original = journal_of(tmp_path / f"{name}.journal", chunks)
        journal = Journal(tmp_path / name / "journal")
        records: list[Record] = list(original.records())
        for record in reversed(records) if turned else records:
            journal.append(record)
        results.write_results(tmp_path / name, journal, Numbers(5), chunks, ["rise"], ["road"])
        contents.append((tmp_path / name / "results.parquet").read_bytes())
        journal.close()
        original.close()
    assert contents[0] == contents[1]
    assert list(order(tmp_path / "forward")) == [
        (f"sample {i}", method, "road") for i in range(5) for method in ("rise", *BASELINES)
    ]


def order(folder: Path) -> Iterator[tuple[str, str, str]]:
    for row in results.arrow().parquet.read_table(folder / "results.parquet").to_pylist():
        yield row["sample"], row["method"], row["metric"]


def test_units_come_in_the_order_in_which_they_must_be_done() -> None:
    assert list(units_of(3, ["a", "b"], ["m"])) == [
        Unit(3), Unit(3, "a"), Unit(3, "a", "m"), Unit(3, "b"), Unit(3, "b", "m"),
        *(Unit(3, baseline, "m") for baseline in BASELINES),
    ]  # fmt: skip
