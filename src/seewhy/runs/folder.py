"""The run folder: the plan, what the run rests on, the journal, maps, and at the end the results.

    plan.toml          the plan
    run.json           model, weights, versions, data: what a resumed run must find again
    journal            finished units
    maps/              maps that stay, or that are waiting for their scores
    results.parquet    the table; samples.parquet: the model's answers; costs.parquet: seconds and passes
    leaderboard.html   the page

One process at a time may work in it.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import IO, Any

from seewhy.attribution import Attribution
from seewhy.errors import BadInput, UnreadableInput
from seewhy.files import writable_folder, write_atomically
from seewhy.runs.journal import Journal
from seewhy.runs.plan import Plan
from seewhy.types import Json

FORMAT = 1
RESTS_ON = ("weights_sha256", "data_sha256", "samples", "seewhy", "torch", "python")
"""Facts on which the numbers rest: a run is only continued where they are as they were."""


class RunFolder:
    """An open run folder, locked until `close`.

    Parameters
    ----------
    path
        Of the folder; made where it is missing.
    plan
        The plan to work off.
    facts
        What the numbers rest on, as found now.

    Raises
    ------
    BadInput
        When another plan, model, data or version was begun there, another process works there, or the folder
        holds something else.
    """

    def __init__(self, path: Path, plan: Plan, facts: Json) -> None:
        check_folder(path, plan)
        self.path = writable_folder(path)
        self._lock = _locked(path)
        try:
            earlier = read_facts(path) if begun(path) else None
            if earlier is None:
                write_atomically(path / "plan.toml", plan.to_toml().encode())
                text = json.dumps({"format": FORMAT, **facts}, indent=2, ensure_ascii=False)
                write_atomically(path / "run.json", text.encode())
            else:
                _same(path, earlier, facts)
            self.journal = Journal(path / "journal")
        except BaseException:
            self._lock.close()
            raise

    # -- maps of whole chunks: waiting for their scores, or all kept -----------------------------------------

    def save_maps(self, chunk: int, method: str, maps: tuple[Attribution, ...]) -> None:
        """Keep the maps of one unit."""
        for part, attribution in enumerate(maps):
            attribution.save(self._chunk_maps(chunk, method, part))

    def open_maps(self, chunk: int, method: str) -> tuple[Attribution, ...] | None:
        """Return the maps of one unit; None where they are not there whole."""
        parts = len(list(self._maps(method).glob(f"chunk-{chunk:06d}-*.json")))
        try:
            return tuple(Attribution.open(self._chunk_maps(chunk, method, part)) for part in range(parts))
        except UnreadableInput:
            return None

    def drop_maps(self, chunk: int, method: str) -> None:
        """Forget the maps of one unit."""
        for file in self._maps(method).glob(f"chunk-{chunk:06d}-*"):
            file.unlink()

    def _chunk_maps(self, chunk: int, method: str, part: int) -> Path:
        return self._maps(method) / f"chunk-{chunk:06d}-{part}"

    def _maps(self, method: str) -> Path:
        return maps_folder(self.path, method)

    def close(self) -> None:
        """Let go of the folder."""
        self.journal.close()
        self._lock.close()


def maps_folder(path: Path, method: str) -> Path:
    """Return where the maps of a method are, by its label."""
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in method)
    return path / "maps" / (name if name == method else f"{name}-{zlib.crc32(method.encode()):08x}")


def begun(path: Path) -> bool:
    """Return whether a run in a folder has finished a unit; one that has not may be replaced."""
    journal = path / "journal"
    return (path / "run.json").is_file() and journal.is_file() and journal.stat().st_size > 0


def check_folder(path: Path, plan: Plan) -> bool:
    """Return whether a run with this plan was begun in a folder.

    Raises
    ------
    BadInput
        When another plan was begun there, or the folder holds something else.
    """
    asked = f"Asked to benchmark into {path}"
    if path.is_file():
        raise BadInput(asked, "It is a file", "Choose another folder with --out")
    if not (path / "run.json").is_file():
        others = (
            [p.name for p in path.iterdir() if p.name not in ("plan.toml", "lock") and p.name[0] != "."]
            if path.is_dir()
            else []
        )
        if others:
            raise BadInput(
                asked,
                f"It holds something that is no run, such as {sorted(others)[0]}",
                "Choose a new or empty folder with --out",
            )
        return False
    if not begun(path):
        return False
    earlier = Plan.read(path / "plan.toml")
    if earlier != plan:
        raise BadInput(
            asked,
            f"Another plan was begun there: {earlier.difference(plan)}",
            "Choose another folder with --out, or go on with the plan that is there",
        )
    return True


def read_facts(path: Path) -> Json:
    """Return what a run rests on.

    Raises
    ------
    UnreadableInput
        When it cannot be read, or is of another format.
    """
    asked = f"Asked for the run in {path}"
    try:
        facts: Json = json.loads((path / "run.json").read_text(encoding="utf-8"))
        known = facts.pop("format")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UnreadableInput(asked, f"Its run.json cannot be read: {error}", "Name a run folder") from error
    if known != FORMAT:
        raise UnreadableInput(
            asked, f"It is of format {known}, not {FORMAT}", "Use the version that wrote it"
        )
    return facts


def _same(path: Path, earlier: Json, facts: Json) -> None:
    for key in RESTS_ON:
        if earlier.get(key) != facts.get(key):
            raise BadInput(
                f"Asked to go on with the run in {path}",
                f"Its {key.replace('_', ' ')} was {earlier.get(key)}, and now is {facts.get(key)}",
                "Its numbers could not be compared: restore what there was, or begin anew in another folder",
            )


def _locked(path: Path) -> IO[Any]:
    """Return the folder's lock file, locked; the system lets go of it when the process ends, however."""
    file = (path / "lock").open("w")
    try:
        import fcntl
    except ImportError:  # Windows
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise BadInput(
            f"Asked to benchmark into {path}",
            "Another process is working there",
            "Wait for it, or choose another folder with --out",
        ) from error
    return file
