"""Which maps stay: none, all, or those of each method's worst samples under each metric.

While a unit's scores are being made its maps are on disk as one chunk. Then they go, stay, or leave the worst
of them behind, a file a sample. A sample that is among the worst at the end was so ever since it was scored,
so that dropping early loses none, and what stays does not depend on the order of work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from seewhy.inputs.datasets.base import Dataset
from seewhy.runs.folder import RunFolder, maps_folder
from seewhy.runs.plan import Keep
from seewhy.runs.units import Record

WORST = 4
"""Samples that a method keeps under a metric."""


class KeptMaps:
    """Keeps what the plan wants kept.

    Parameters
    ----------
    folder
        The run folder.
    keep
        What to keep.
    data
        For the names of samples.
    chunk
        Samples of a chunk.
    higher_is_better
        By the label of the metric.
    """

    def __init__(
        self, folder: RunFolder, keep: Keep, data: Dataset, chunk: int, higher_is_better: Mapping[str, bool]
    ) -> None:
        self.folder, self.keep, self.data, self.chunk = folder, keep, data, chunk
        self.higher = dict(higher_is_better)
        self.worst: dict[str, dict[str, list[tuple[float, int]]]] = {}

    def note(self, record: Record) -> None:
        """Take the scores of a unit into account."""
        _, method, metric = record.unit
        if not metric or self.keep != "worst":
            return
        sign = 1 if self.higher[metric] else -1
        first = record.unit.chunk * self.chunk
        scored = [
            (sign * row["value"], first + place)
            for place, row in enumerate(record.rows)
            if "value" in row and not math.isnan(row["value"])
        ]
        under = self.worst.setdefault(method, {})
        under[metric] = sorted([*under.get(metric, []), *scored])[:WORST]

    def settle(self, chunk: int, method: str) -> None:
        """Deal with the maps of a unit all of whose scores are recorded."""
        if self.keep == "all":
            return
        wanted = self.wanted(method)
        first = chunk * self.chunk
        places = {i: i - first for i in wanted if first <= i < first + self.chunk}
        for part in (self.folder.open_maps(chunk, method) or ()) if places else ():
            names = {self.data.name(i): i for i in places}
            for single in part:
                i = names.get(str(single.provenance["inputs"][0]["path"]))
                if i is not None:
                    single.save(sample_file(self.folder.path, method, i))
        self.folder.drop_maps(chunk, method)
        self.prune(method, wanted)

    def wanted(self, method: str) -> set[int]:
        """Return the samples whose maps by a method are among those to keep, as far as is known."""
        return {i for kept in self.worst.get(method, {}).values() for _, i in kept}

    def prune(self, method: str, wanted: Iterable[int]) -> None:
        """Drop the maps of samples that are no longer wanted."""
        keep = {sample_file(self.folder.path, method, i).name for i in wanted}
        for file in maps_folder(self.folder.path, method).glob("sample-*"):
            if file.stem not in keep:
                file.unlink()


def sample_file(path: Path, method: str, i: int) -> Path:
    """Return the file, without its ending, of the map of sample `i`."""
    return maps_folder(path, method) / f"sample-{i:08d}"
