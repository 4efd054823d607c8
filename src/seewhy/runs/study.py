"""A study: what a finished benchmark found, read back from its folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from seewhy.attribution import Attribution
from seewhy.errors import BadInput, UnreadableInput
from seewhy.metrics.table import MeanCurve, Row, Table
from seewhy.runs.folder import maps_folder, read_facts
from seewhy.runs.kept import sample_file
from seewhy.runs.plan import Plan
from seewhy.runs.results import arrow
from seewhy.types import Json


@dataclass(frozen=True)
class MethodCost:
    """What a method cost for one sample: medians over the chunks.

    Parameters
    ----------
    seconds
        Of wall clock on one worker.
    forward, backward
        Model inputs that went forward and backward.
    """

    seconds: float
    forward: float
    backward: float


@dataclass(frozen=True)
class Failure:
    """Something that could not be done.

    Parameters
    ----------
    sample
        Name of the sample.
    method
        "" where the sample failed as a whole (it could not be read, say).
    metric
        "" where the method failed under every metric (its map could not be made, say).
    message
        Why.
    """

    sample: str
    method: str
    metric: str
    message: str


class Study:
    """A finished benchmark.

    Parameters
    ----------
    folder
        The run folder. Its files are read as they are asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plan = Plan.read(folder / "plan.toml")
        self.facts: Json = read_facts(folder)
        """Model, weights' hash, versions, number of samples; `left_out`: what did not fit, and why."""

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r}, {self.facts['samples']} samples)"

    @property
    def methods(self) -> list[str]:
        """Labels of the methods that were run, in order, without baselines."""
        return [c.label for c in self.plan.methods if c.label not in self.facts["left_out"]]

    @property
    def metrics(self) -> list[str]:
        """Labels of the metrics that were run, in order."""
        return [c.label for c in self.plan.metrics if c.label not in self.facts["left_out"]]

    @cached_property
    def table(self) -> Table:
        """Every value, sample by sample, undefined and failed ones NaN.

        Without the curves, which for many samples would not fit into memory: see `curves` and `rows`.
        """
        rows = tuple(self._values())
        chosen = {c.label: c.metric() for c in self.plan.metrics if c.label in self.metrics}
        return Table(
            rows,
            {label: metric.higher_is_better for label, metric in chosen.items()},
            {
                **{key: self.facts[key] for key in ("model", "weights_sha256", "preprocessing")},
                "plan": self.plan.to_json(),
                "metrics": {label: metric.parameters() for label, metric in chosen.items()},
            },
        )

    @cached_property
    def curves(self) -> list[MeanCurve]:
        """The mean curve of every method under every metric that follows one.

        Samples whose curves have other steps than the first (photos of another size) are left out.
        """
        sums: dict[tuple[str, str, bool], tuple[tuple[float, ...], list[float], int]] = {}
        for row in self.rows():
            if not row.curve or math.isnan(row.value):
                continue
            key = row.method, row.metric, row.baseline
            at, total, count = sums.get(key, (row.at, [0.0] * len(row.at), 0))
            if at == row.at:
                sums[key] = at, [a + b for a, b in zip(total, row.curve, strict=True)], count + 1
        return [
            MeanCurve(method, metric, at, tuple(v / count for v in total), baseline)
            for (method, metric, baseline), (at, total, count) in sums.items()
        ]

    @cached_property
    def costs(self) -> dict[str, MethodCost]:
        """What each method cost, by its label; baselines, which cost nothing, and failures are left out."""
        found: dict[str, list[Json]] = {}
        for line in self._lines("costs"):
            if not line["metric"] and line["seconds"] is not None:
                found.setdefault(line["method"], []).append(line)
        return {
            method: MethodCost(
                *(median(line[key] for line in lines) for key in ("seconds", "forward", "backward"))
            )
            for method, lines in found.items()
        }

    @cached_property
    def failures(self) -> list[Failure]:
        """What failed, sample by sample, each once and as far up as it reaches."""
        every = len(self.metrics)
        found: list[Failure] = []
        unread = {r["sample"]: r["error"] for r in self._lines("samples") if r["error"] is not None}
        alike: dict[tuple[str, str, str], list[str]] = {}
        for r in self._lines("results", ["sample", "method", "metric", "error"]):
            if r["error"] is not None and r["sample"] not in unread:
                alike.setdefault((r["sample"], r["method"], r["error"]), []).append(r["metric"])
        for (sample, method, message), metrics in alike.items():
            whole = len(metrics) == every and every > 1
            found += [Failure(sample, method, metric, message) for metric in ([""] if whole else metrics)]
        return [Failure(sample, "", "", message) for sample, message in unread.items()] + found

    def samples(self) -> Iterator[Json]:
        """Yield for each sample: its target, the target's score, what the model answered, or the error."""
        return self._lines("samples")

    def rows(self) -> Iterator[Row]:
        """Yield every row with its curve, from the file."""
        for r in self._lines("results"):
            at, curve = tuple(r["at"] or ()), tuple(r["curve"] or ())
            yield Row(r["sample"], r["method"], r["metric"], r["value"], r["baseline"], at, curve)

    def _values(self) -> Iterator[Row]:
        """Yield every row without its curve; rows share their names, of which there are few."""
        names: dict[str, str] = {}
        columns = ["sample", "method", "metric", "value", "baseline"]
        for batch in self._batches("results", columns):
            lists = (batch.column(i).to_pylist() for i in range(len(columns)))
            for sample, method, metric, value, baseline in zip(*lists, strict=True):
                method, metric = names.setdefault(method, method), names.setdefault(metric, metric)
                yield Row(names.setdefault(sample, sample), method, metric, value, baseline)

    def maps(self, sample: str, method: str) -> Attribution:
        """Return the map of a sample by a method.

        Raises
        ------
        BadInput
            When it was not kept.
        """
        place = self._places.get(sample)
        if place is not None:
            alone = sample_file(self.folder, method, place)
            if alone.with_name(f"{alone.name}.json").is_file():
                return Attribution.open(alone)
            chunk = place // self.plan.chunk
            for file in sorted(maps_folder(self.folder, method).glob(f"chunk-{chunk:06d}-*.json")):
                for single in Attribution.open(file):
                    if single.provenance["inputs"][0]["path"] == sample:
                        return single
        raise BadInput(
            f"Asked for the map of {sample} by {method}",
            "It was not kept",
            'Keep them with keep_maps = "all" in the plan, or make it again with seewhy.explain',
        )

    def kept(self) -> Iterator[tuple[str, str]]:
        """Yield (sample, method) for every map that was kept."""
        names = list(self._places)
        for method in self.methods:
            folder = maps_folder(self.folder, method)
            for file in sorted(folder.glob("sample-*.json")):
                yield names[int(file.stem.removeprefix("sample-"))], method
            for file in sorted(folder.glob("chunk-*.json")):
                for entry in Attribution.open(file).provenance["inputs"]:
                    yield entry["path"], method

    @cached_property
    def _places(self) -> dict[str, int]:
        return {r["sample"]: i for i, r in enumerate(self._lines("samples", ["sample"]))}

    def _lines(self, name: str, columns: list[str] | None = None) -> Iterator[Json]:
        for batch in self._batches(name, columns):
            yield from batch.to_pylist()

    def _batches(self, name: str, columns: list[str] | None) -> Iterator[Any]:
        with arrow().parquet.ParquetFile(self.folder / f"{name}.parquet") as file:
            yield from file.iter_batches(batch_size=4096, columns=columns)


def open_study(folder: str | Path) -> Study:
    """Open the study in the folder of a finished run.

    Raises
    ------
    UnreadableInput
        When there is no run, or it is not finished.
    """
    folder = Path(folder)
    asked = f"Asked for the study in {folder}"
    if not (folder / "run.json").is_file():
        raise UnreadableInput(asked, "There is no run", "Give the folder that `seewhy benchmark` wrote")
    if not (folder / "costs.parquet").is_file():
        raise UnreadableInput(asked, "The run is not finished", f"seewhy benchmark --out {folder} --resume")
    return Study(folder)
