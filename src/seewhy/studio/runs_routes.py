"""Routes of the run view. Numbers are read once and kept while a run's files stay as they are."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Response

from seewhy.errors import BadInput, SeeWhyError
from seewhy.studio.found import runs_below
from seewhy.studio.schema_runs import RunBoard, RunDetail, RunDoubts, RunEntry
from seewhy.studio.session import Studio

if TYPE_CHECKING:
    from seewhy.report.leaderboard_data import Board
    from seewhy.studio.sources import Sources

router = APIRouter(prefix="/api/runs")
PathText = Annotated[str, Query(max_length=4096)]
Label = Annotated[str, Query(max_length=512)]
KEPT, SIDE = 3, 200
"""Runs held in memory; pixels of a thumbnail's longer side."""
FILES = ("run.json", "plan.toml", "journal", "results.parquet", "samples.parquet", "costs.parquet")


@router.get("")
def runs(studio: Studio) -> list[RunEntry]:
    """The benchmark runs below the roots, the newest first."""
    found = (_entry(folder) for folder in runs_below([root for _, root in studio.sources.roots]))
    return [entry for entry in found if entry is not None]


@router.get("/board")
def board(studio: Studio, path: PathText) -> RunBoard:
    """The standings of a run."""
    from seewhy.studio.run_board import board_of

    return board_of(_opened(studio.sources, path))


@router.get("/doubts")
def doubts(studio: Studio, path: PathText) -> RunDoubts:
    """How far a run's metrics can be believed, its curves and failures."""
    from seewhy.studio.run_board import doubts_of

    return doubts_of(_opened(studio.sources, path))


@router.get("/detail")
def detail(studio: Studio, path: PathText, metric: Label, method: Label, compared: Label = "") -> RunDetail:
    """What is behind one cell."""
    from seewhy.studio.run_detail import detail_of

    return detail_of(_opened(studio.sources, path), metric, method, compared, studio.sources.inside)


@router.get("/thumbnail", response_class=Response)
def thumbnail(studio: Studio, path: PathText, sample: PathText) -> Response:
    """A sample's photo, small."""
    from seewhy.inputs.images import read_image
    from seewhy.studio.run_detail import photo_of

    photo = photo_of(_opened(studio.sources, path), sample, studio.sources.inside)
    if photo is None:
        raise BadInput(
            f"Asked for the photo of {sample[:200]}",
            "It is not below the folders that the studio may read",
            "Start the studio with --root and the folder of the data",
        )
    picture = read_image(photo).convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=80)
    return Response(buffer.getvalue(), media_type="image/webp", headers={"cache-control": "private"})


class Boards:
    """Runs that were read, the latest few; one request at a time reads."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Path, float], Board] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, folder: Path) -> Board:
        """Return what the leaderboard reads of a run."""
        from seewhy.studio.run_board import open_board

        with self._lock:
            key = folder, _state(folder)
            if key not in self._known:
                found = open_board(folder)
                for old in [k for k in self._known if k[0] == folder]:
                    del self._known[old]
                self._known[key] = found
            self._known.move_to_end(key)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
            return self._known[key]


_BOARDS = Boards()


def _opened(sources: Sources, path: str) -> Board:
    """Return the run in a folder below the roots; its files may be no links out of them."""
    folder = sources.inside(path)
    for name in FILES:
        if (folder / name).is_symlink():
            sources.inside(str(folder / name))
    return _BOARDS(folder)


def _state(folder: Path) -> float:
    """Return what changes when a run goes on."""
    for name in ("costs.parquet", "journal"):
        if (folder / name).is_file():
            return (folder / name).stat().st_mtime
    return 0.0


def _entry(folder: Path) -> RunEntry | None:
    """Return a run for the list; None where it cannot be read."""
    from seewhy.runs.folder import read_facts
    from seewhy.runs.plan import Plan

    if any((folder / name).is_symlink() for name in FILES):
        return None
    try:
        facts, plan = read_facts(folder), Plan.read(folder / "plan.toml")
    except (SeeWhyError, OSError):
        return None
    return RunEntry(
        path=str(folder),
        name=folder.name,
        state="finished" if (folder / "costs.parquet").is_file() else "unfinished",
        model=str(facts.get("model", "")),
        data=plan.data,
        methods=len(plan.methods),
        metrics=len(plan.metrics),
        modified=(folder / "run.json").stat().st_mtime,
    )
