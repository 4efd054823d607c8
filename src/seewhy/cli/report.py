"""`seewhy report`: maps that were written before, as one page."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from seewhy.cli.evaluate import by_question, files_of
from seewhy.cli.options import AsJson
from seewhy.cli.output import note, print_json
from seewhy.errors import BadInput

PLAN = "plan.toml"


def report(
    *paths: Path,
    out: Annotated[Path, Parameter(help="The page to write.")] = Path("report.html"),
    title: str = "Where the model looked",
    static: bool = False,
    as_json: AsJson = False,
) -> None:
    """Write one page of maps that `explain` or `demo` wrote: it needs no network and no other file.

    Its maps can be probed, and their opacity, colours and thresholds changed; where scripts do not run they
    are pictures. Maps of one photo and target stand beside each other.

    Parameters
    ----------
    paths
        Files written by `explain` (.safetensors, .json or the name without either), folders of them or of a
        demo; or one folder of a benchmark, whose leaderboard is written.
    title
        Heading of the page.
    static
        Pictures only: a smaller page without a script.
    """
    from seewhy.attribution import Attribution
    from seewhy.report import Entry, write_report
    from seewhy.report.live import possible

    if any((path / PLAN).is_file() for path in paths):
        page, inputs = _leaderboard(paths, out), 0
    else:
        maps = [Attribution.open(file) for file in files_of([_folder(p) for p in paths], "report")]
        models = sorted({str(a.provenance["model"]) for a in maps})
        if len(models) > 1:
            raise BadInput(
                "Asked for one report", f"The maps are of {', '.join(models)}", "Give those of one model"
            )
        groups = by_question(maps)
        several = len({path for path, _ in groups}) < len(groups)
        entries = [
            Entry(group, f"{Path(path).name}: {aim}" if several else "")
            for (path, aim), group in groups.items()
        ]
        live = possible() and not static
        if not live and not static:
            note("The maps will be pictures: the front end was not built (`make web`, or install a wheel)")
        again = f"seewhy report {' '.join(shlex.quote(str(p)) for p in paths)} --out {shlex.quote(str(out))}"
        page = write_report(out, entries, title=title, command=again, interactive=live)
        inputs = len(entries)
    if as_json:
        print_json({"report": str(page), "inputs": inputs})
    else:
        print(page)


def _folder(path: Path) -> Path:
    """Return the folder of maps in what a demo wrote, or the path itself."""
    inside = path / "maps"
    return inside if inside.is_dir() and not any(path.glob("*.safetensors")) else path


def _leaderboard(paths: tuple[Path, ...], out: Path) -> Path:
    from seewhy.files import write_atomically
    from seewhy.report.leaderboard import page
    from seewhy.runs.study import open_study

    if len(paths) > 1:
        raise BadInput(
            "Asked for a report of a benchmark",
            f"Found {len(paths)} paths",
            "Give the folder of one benchmark, or only files of maps",
        )
    write_atomically(out, page(open_study(paths[0])).encode())
    return out
