"""The run view's server: the study's own numbers; an unfinished run is read without being touched."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from PIL import Image

from studio_client import MODEL, Client

pytest.importorskip("fastapi")
pytest.importorskip("pyarrow")

from seewhy.metrics.table import Row, Table
from seewhy.report.leaderboard_data import Board
from seewhy.runs import Plan
from seewhy.runs.here_engine import Here
from seewhy.runs.run import benchmark
from seewhy.runs.study import open_study
from seewhy.studio.lifecycle import Running
from seewhy.studio.run_board import board_of, open_board
from seewhy.studio.run_detail import BINS, SHOWN, SINGLY, detail_of, distribution
from seewhy.studio.session import Session

METHODS, METRICS = "gradient,occlusion?window=16&stride=16", "deletion?steps=6,insertion?steps=6"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, a finished run and one that was stopped half-way."""
    home = tmp_path_factory.mktemp("runs")
    (home / "model.py").write_text(MODEL)
    (home / "photos").mkdir()
    generator = np.random.default_rng(2)
    for i in range(6):
        Image.fromarray(generator.integers(0, 255, (60, 80, 3), np.uint8)).save(home / "photos" / f"{i}.png")
    (home / "photos" / "6.png").write_bytes(b"no photo")
    plan = Plan.make(
        model=f"{home / 'model.py'}:make",
        data=str(home / "photos"),
        methods=METHODS,
        metrics=METRICS,
        chunk=2,
    )
    benchmark(plan, home / "root" / "finished", engine=Here(), allow_code=True)
    seen: list[int] = []

    def enough() -> bool:
        seen.append(1)
        return len(seen) == 14

    with pytest.raises(Exception, match="Stopped as asked"):
        benchmark(plan, home / "root" / "deep" / "stopped", engine=Here(), cancelled=enough, allow_code=True)
    (home / "root" / "photos").symlink_to(home / "photos")
    return home


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[Client]:
    """A studio that may read the runs, not the photos."""
    with Running(Session.open([f"{home / 'model.py'}:make"], [], [home / "root"])) as running:
        yield Client(running.url)


@pytest.fixture(scope="module")
def open_client(home: Path) -> Iterator[Client]:
    """A studio that may read both."""
    session = Session.open([f"{home / 'model.py'}:make"], [], [home / "root", home / "photos"])
    with Running(session) as running:
        yield Client(running.url)


def ask(client: Client, route: str, path: Path, **more: str) -> Any:
    return client.get(f"/api/runs/{route}?{urlencode({'path': path, **more})}")


def test_runs_below_the_roots_are_found(client: Client) -> None:
    found = {run["name"]: run for run in client.get("/api/runs")}
    assert {name: run["state"] for name, run in found.items()} == {
        "finished": "finished",
        "stopped": "unfinished",
    }
    assert (found["finished"]["methods"], found["finished"]["metrics"]) == (2, 2)


def test_the_standings_are_those_of_the_study(client: Client, home: Path) -> None:
    shown = ask(client, "board", home / "root" / "finished")
    study = open_study(home / "root" / "finished")
    means = {(s.method, s.metric): s for s in study.table.mean()}
    assert len(shown["cells"]) == len(means) == 2 * 5
    for cell in shown["cells"]:
        known = means[cell["method"], cell["metric"]]
        assert (cell["mean"], cell["low"], cell["high"]) == (known.mean, known.low, known.high)
        assert (cell["samples"], cell["undefined"]) == (6, 1)
    assert [m["label"] for m in shown["methods"]] == Board(study).ordered("deletion")
    assert {m["label"] for m in shown["methods"] if m["baseline"]} == {"random", "centre", "edges"}
    (occlusion,) = (m for m in shown["methods"] if m["label"].startswith("occlusion"))
    assert occlusion["parameters"] == {"window": 16, "stride": 16}
    assert occlusion["forward"] > 1
    assert {m["label"]: m["higher_is_better"] for m in shown["metrics"]} == {
        "deletion": False,
        "insertion": True,
    }
    assert shown["progress"] is None


def test_doubts_say_what_cannot_be_believed_and_what_failed(client: Client, home: Path) -> None:
    told = ask(client, "doubts", home / "root" / "finished")
    board = Board(open_study(home / "root" / "finished"))
    for doubt in told["metrics"]:
        found = board.reliability[doubt["metric"]]
        assert doubt["verdict"] == found.verdict
        assert {p["method"]: (p["best"], p["worst"]) for p in doubt["places"]} == found.places
        assert doubt["reasons"]
    assert [(f["count"], f["where"]) for f in told["failures"]] == [(1, ["6.png"])]
    assert len(told["curves"]) == 2 * 5
    assert {c["metric"] for c in told["curves"]} == {a["metric"] for a in told["axes"]}


def test_a_cell_shows_its_samples_worst_first(open_client: Client, home: Path) -> None:
    run = home / "root" / "finished"
    found = ask(open_client, "detail", run, metric="insertion", method="gradient", compared="random")
    values = Board(open_study(run)).values
    mine, other = values["insertion", "gradient"], values["insertion", "random"]
    known = np.sort(mine[np.isfinite(mine)])
    worst = [s["value"] for s in found["worst"]]
    assert worst == known.tolist()
    assert [s["value"] for s in found["best"]] == worst[::-1]
    assert found["better"] == int((mine > other).sum())
    assert found["worse"] == int((mine < other).sum())
    first = found["distributions"][0]
    assert first["values"] == known.tolist()
    assert first["quantiles"] == np.quantile(known, (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)).tolist()
    assert sum(first["bins"]) == first["count"] == 6
    assert first["undefined"] == 1
    assert {s["photo"] for s in found["worst"]} == {
        str(home / "photos" / s["sample"]) for s in found["worst"]
    }
    assert all(s["index"] is not None and s["predicted"] == s["target"] for s in found["worst"])
    falling = ask(open_client, "detail", run, metric="deletion", method="gradient")
    assert [s["value"] for s in falling["worst"]] == sorted(
        (s["value"] for s in falling["worst"]), reverse=True
    )
    assert (falling["better"], falling["worse"]) == (None, None)


def test_photos_are_shown_below_the_roots_only(client: Client, open_client: Client, home: Path) -> None:
    run = home / "root" / "finished"
    asked = f"/api/runs/thumbnail?{urlencode({'path': run, 'sample': '0.png'})}"
    status, content, _ = open_client.ask("GET", asked)
    assert status == 200
    assert Image.open(io.BytesIO(content)).size == (80, 60)
    assert client.ask("GET", asked)[0] == 400, "a link below a root does not open what lies outside"
    closed = ask(client, "detail", run, metric="deletion", method="gradient")
    assert {s["photo"] for s in closed["worst"]} == {""}
    for sample in ("../model.py", str(home / "model.py"), "no-such.png"):
        way = f"/api/runs/thumbnail?{urlencode({'path': run, 'sample': sample})}"
        assert open_client.ask("GET", way)[0] >= 400


def test_a_run_elsewhere_is_refused(client: Client, home: Path) -> None:
    for path in (home / "photos", "/etc", home / "root" / ".." / "photos", home / "root" / "nothing"):
        for route in ("board", "doubts"):
            assert client.ask("GET", f"/api/runs/{route}?{urlencode({'path': path})}")[0] in (403, 404)
    assert client.ask("GET", f"/api/runs/board?{urlencode({'path': home / 'root'})}")[0] == 400


@pytest.mark.parametrize("file", ["run.json", "results.parquet"])
def test_a_run_whose_file_is_a_link_out_is_refused(
    client: Client, home: Path, tmp_path: Path, file: str
) -> None:
    import shutil

    copy = home / "root" / f"linked-{file}"
    shutil.copytree(home / "root" / "finished", copy)
    (copy / file).rename(tmp_path / file)
    (copy / file).symlink_to(tmp_path / file)
    try:
        assert client.ask("GET", f"/api/runs/board?{urlencode({'path': copy})}")[0] == 403
        assert all(run["path"] != str(copy) for run in client.get("/api/runs"))
    finally:
        shutil.rmtree(copy)


def test_an_unfinished_run_tells_what_it_has_and_is_not_touched(client: Client, home: Path) -> None:
    run = home / "root" / "deep" / "stopped"
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in run.iterdir() if p.is_file()}
    shown = ask(client, "board", run)
    assert (shown["progress"]["done"], shown["progress"]["total"]) == (14, 4 * (1 + 2 * 3 + 3 * 2))
    assert shown["progress"]["command"] == f"seewhy benchmark --out {run} --resume"
    whole = ask(client, "board", home / "root" / "finished")
    counts = {(c["method"], c["metric"]): c["samples"] for c in shown["cells"]}
    assert counts["gradient", "deletion"] == 2, "one chunk of two"
    assert len(counts) == len(whole["cells"])
    values = open_board(run).values["deletion", "gradient"]
    finished = open_board(home / "root" / "finished").values["deletion", "gradient"]
    assert values.tolist() == finished[:2].tolist()
    detail = ask(client, "detail", run, metric="deletion", method="gradient")
    assert [s["photo"] for s in detail["worst"]] == ["", ""]
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in before} == before


def test_a_torn_line_of_the_journal_is_passed_over(home: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "torn"
    shutil.copytree(home / "root" / "deep" / "stopped", copy)
    content = (copy / "journal").read_bytes()
    (copy / "journal").write_bytes(content[:-7])
    shown = board_of(open_board(copy))
    assert shown.progress is not None
    assert shown.progress.done == 13
    assert (copy / "journal").read_bytes() == content[:-7]


def test_many_samples_are_sent_as_quantiles_and_bins() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    values[:5] = np.nan
    edges = np.linspace(np.nanmin(values), np.nanmax(values), BINS + 1)
    found = distribution("rise", values, edges)
    assert (found.values, found.count, found.undefined, sum(found.bins)) == ([], 9_995, 5, 9_995)
    assert found.quantiles[3] == np.nanmedian(values)
    assert len(distribution("rise", values[: SINGLY + 5], edges).values) == SINGLY


def test_no_more_samples_are_sent_than_are_shown(home: Path) -> None:
    study = open_study(home / "root" / "finished")
    rows = tuple(Row(f"{i}", m, "deletion", i / 50) for i in range(50) for m in ("a", "b"))
    study.table = Table(rows, {"deletion": False})
    found = detail_of(Board(study), "deletion", "a", "b", Path)
    assert [s.sample for s in found.worst] == [str(i) for i in range(49, 49 - SHOWN, -1)]
    assert [s.sample for s in found.best] == [str(i) for i in range(SHOWN)]
    assert (found.better, found.worse) == (0, 0)
