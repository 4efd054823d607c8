"""From the journal to sorted tables in Parquet, a part at a time, so that memory does not grow with the run.

The bytes of results.parquet follow from the plan, the data and the versions: what an interrupted run writes
is what an uninterrupted one does. Seconds, which never repeat, have a file of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from seewhy.errors import MissingExtra
from seewhy.inputs.datasets.base import Dataset
from seewhy.metrics.baselines import BASELINES
from seewhy.runs.journal import Journal
from seewhy.runs.units import Unit, units_of
from seewhy.types import Json

_GROUP = 16_384
"""Rows that are held in memory, and form a group in a file."""


def arrow() -> Any:
    """Return pyarrow.

    Raises
    ------
    MissingExtra
        When it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra(
            "Asked for a benchmark, whose results are Parquet files",
            "pyarrow",
            "pip install 'seewhy[benchmark]'",
        ) from error
    return pyarrow


def write_results(
    folder: Path,
    journal: Journal,
    data: Dataset,
    chunks: Sequence[range],
    methods: Sequence[str],
    metrics: Sequence[str],
) -> None:
    """Write results.parquet, samples.parquet and costs.parquet from a complete journal.

    Parameters
    ----------
    folder
        The run folder.
    journal
        With a record of every unit.
    data
        For the names of samples.
    chunks
        Samples of each chunk.
    methods, metrics
        Labels, in the order of the table.
    """
    pa = arrow()
    text, number = pa.string(), pa.float64()
    words = pa.dictionary(pa.int32(), text)
    results = [("sample", text), ("method", words), ("metric", words), ("value", number)]
    results += [("baseline", pa.bool_()), ("error", text)]
    results += [("at", pa.list_(number)), ("curve", pa.list_(number))]
    _write(
        folder / "results.parquet",
        pa.schema(results),
        lambda: _results(journal, data, chunks, methods, metrics),
    )
    samples = [("sample", text), ("target", text), ("index", pa.int64()), ("score", number)]
    samples += [("predicted", text), ("probability", number), ("error", text)]
    _write(folder / "samples.parquet", pa.schema(samples), lambda: _samples(journal, data, chunks))
    costs = [("method", words), ("metric", words), ("samples", pa.int32()), ("seconds", number)]
    costs += [("forward", number), ("backward", number)]
    _write(folder / "costs.parquet", pa.schema(costs), lambda: _costs(journal, chunks, methods, metrics))


def _results(
    journal: Journal, data: Dataset, chunks: Sequence[range], methods: Sequence[str], metrics: Sequence[str]
) -> Iterator[Json]:
    labels = [*methods, *BASELINES]
    for chunk, indices in enumerate(chunks):
        records = {(m, k): journal.read(Unit(chunk, m, k)) for m in labels for k in metrics}
        for place, i in enumerate(indices):
            for method in labels:
                for metric in metrics:
                    record = records[method, metric]
                    row = record.rows[place]
                    yield {
                        "sample": data.name(i),
                        "method": method,
                        "metric": metric,
                        "value": row.get("value", float("nan")),
                        "baseline": method in BASELINES,
                        "error": row.get("error"),
                        "at": record.facts["at"][row["at"]] if "at" in row else None,
                        "curve": row.get("curve"),
                    }


def _samples(journal: Journal, data: Dataset, chunks: Sequence[range]) -> Iterator[Json]:
    for chunk, indices in enumerate(chunks):
        record = journal.read(Unit(chunk))
        for i, row in zip(indices, record.rows, strict=True):
            target, top = row.get("target", {}), (row.get("predictions") or [{}])[0]
            yield {
                "sample": data.name(i),
                "target": target.get("label"),
                "index": target.get("index"),
                "score": row.get("score"),
                "predicted": top.get("label"),
                "probability": top.get("probability"),
                "error": row.get("error"),
            }


def _costs(
    journal: Journal, chunks: Sequence[range], methods: Sequence[str], metrics: Sequence[str]
) -> Iterator[Json]:
    for chunk in range(len(chunks)):
        for unit in units_of(chunk, methods, metrics):
            if unit.method:
                record = journal.read(unit)
                known = {key: record.facts.get(key) for key in ("seconds", "forward", "backward")}
                done = sum("error" not in row for row in record.rows)
                yield {"method": unit.method, "metric": unit.metric, "samples": done, **known}


def _write(path: Path, schema: Any, rows: Callable[[], Iterator[Json]]) -> None:
    """Write rows to a neighbour of `path`, then rename it."""
    pa = arrow()
    part = path.with_name(f".{path.name}")
    held: list[Json] = []
    with pa.parquet.ParquetWriter(part, schema, compression="zstd") as writer:
        for row in rows():
            held.append(row)
            if len(held) == _GROUP:
                writer.write_table(pa.Table.from_pylist(held, schema=schema))
                held.clear()
        writer.write_table(pa.Table.from_pylist(held, schema=schema))
    part.replace(path)
