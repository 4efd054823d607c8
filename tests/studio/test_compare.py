"""A comparison is an evaluation: the library's numbers as they come, and the commands that repeat them."""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seewhy
from seewhy.__main__ import main
from seewhy.errors import BadInput
from seewhy.metrics import METRICS
from seewhy.metrics.table import Row, Table
from seewhy.studio import describe, schema
from seewhy.studio.compared import Compared, command
from seewhy.studio.comparing import Comparison, _Steps
from seewhy.studio.jobs import Job
from seewhy.studio.lifecycle import Running
from studio_client import Client, unpacked

METHODS = ["grad_cam", "attention_rollout", "gradient"]


@pytest.fixture(scope="module")
def model(place: Path) -> seewhy.Model:
    return seewhy.load(f"{place / 'model.py'}:make", allow_code=True)


@pytest.fixture(scope="module")
def photos(client: Client, place: Path) -> list[dict[str, Any]]:
    """Three photos, not in the order of their names."""
    more = client.post("/api/images/open", {"path": str(place / "photos" / "more" / "c.jpg")})
    named = {p["name"]: p for p in [*client.get("/api/images"), *more]}
    return [named["c.jpg"], named["a.png"], named["b.png"]]


def compared(client: Client, photos: list[dict[str, Any]], **asked: Any) -> list[dict[str, Any]]:
    body = {"panel": "x", "model": "0", "images": [p["id"] for p in photos], "methods": METHODS}
    return list(client.stream("/api/compare", {**body, "metrics": ["deletion"], "steps": 6, **asked}))


@pytest.fixture(scope="module")
def events(client: Client, photos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return compared(client, photos)


def finished(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {e["method"]: e for e in events if e["event"] == "cells" and e["finished"]}


def test_the_numbers_are_the_librarys(
    events: list[dict[str, Any]], photos: list[dict[str, Any]], model: seewhy.Model
) -> None:
    cells = finished(events)
    assert set(cells) == {*METHODS, "random", "centre", "edges"}
    paths, metric = [p["path"] for p in photos], METRICS["deletion"](steps=6)
    made = [seewhy.explain(model, paths, name, precision="fp32") for name in ("grad_cam", "gradient")]
    table = seewhy.evaluate(model, paths, made, [metric], precision="fp32")
    for summary in table.mean():
        (cell,) = cells[summary.method]["cells"]
        values = [row.value for row in table if row.method == summary.method]
        np.testing.assert_allclose(cell["values"], values, rtol=1e-4)
        assert cell["mean"] == pytest.approx(summary.mean, rel=1e-4)
        assert cell["baseline"] == summary.baseline
        assert cell["low"] < cell["mean"] < cell["high"]
    last = [e for e in events if e["event"] == "agreement"][-1]
    expected = float(made[0].compare(made[1]).spearman.mean())
    assert last["methods"] == ["grad_cam", "gradient"]
    assert last["matrix"] == [[1, pytest.approx(expected, abs=1e-5)], [pytest.approx(expected, abs=1e-5), 1]]


def test_maps_come_one_by_one_in_the_order_of_the_photos(
    events: list[dict[str, Any]], photos: list[dict[str, Any]], model: seewhy.Model
) -> None:
    maps = [m for e in events if e["event"] == "cells" and e["method"] == "gradient" for m in e["maps"]]
    assert len(maps) == len(photos)
    for photo, found in zip(photos, maps, strict=True):
        own = seewhy.explain(model, [photo["path"]], "gradient", precision="fp32").values[0].numpy()
        np.testing.assert_allclose(unpacked(found["values"]), own, atol=1e-3 * np.abs(own).max())


def test_progress_rises_to_the_end(events: list[dict[str, Any]]) -> None:
    told = [e["done"] / e["total"] for e in events if e["event"] == "cells"]
    assert told == sorted(told)
    assert told[0] < 0.5
    assert told[-1] == 1
    assert events[-1]["event"] == "done"


def test_what_does_not_fit_is_left_out_with_its_reason(events: list[dict[str, Any]]) -> None:
    left_out = finished(events)["attention_rollout"]
    assert "attention" in left_out["problem"]
    assert left_out["cells"] == left_out["maps"] == []
    assert any("Attention rollout is left out" in remark for remark in events[-1]["remarks"])


@pytest.mark.parametrize("count", [1, 3])
def test_the_command_gives_the_same_numbers(
    count: int,
    client: Client,
    photos: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = compared(client, photos[:count], methods=["grad_cam", "gradient"], target="cat", seed=3)
    cells = finished(told)
    monkeypatch.chdir(tmp_path)
    lines = [shlex.split(line) for line in told[-1]["command"].split("&&")]
    assert [words[:2] for words in lines] == (
        [["seewhy", "compare"]] if count == 1 else [["seewhy", "explain"]] * 2 + [["seewhy", "evaluate"]]
    )
    for words in lines:
        capsys.readouterr()
        assert main([*words[1:], "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    for entry in answer["faithfulness" if count == 1 else "methods"]:
        (cell,) = cells[entry["name"]]["cells"]
        own = entry["metrics"]["deletion"]
        assert cell["mean"] == pytest.approx(own["mean"], rel=2e-3)
        if count == 1:
            assert cell["low"] is cell["high"] is own["interval"] is None
        else:
            assert [cell["low"], cell["high"]] == pytest.approx(own["interval"], rel=2e-3)


def test_one_photo_has_no_intervals_and_says_so(client: Client, photos: list[dict[str, Any]]) -> None:
    told = compared(client, photos[:1], methods=["gradient"])
    assert "One photo says nothing about others: there are no intervals." in told[-1]["remarks"]


def test_without_metrics_there_are_maps_and_agreement(client: Client, photos: list[dict[str, Any]]) -> None:
    told = compared(client, photos[:2], metrics=[])
    assert set(finished(told)) == set(METHODS)
    assert all(not e["cells"] for e in finished(told).values())
    assert sum(len(e["maps"]) for e in told if e["event"] == "cells") == 4
    assert told[-1]["event"] == "done"


@pytest.mark.parametrize(
    ("asked", "status", "found"),
    [
        ({"metrics": ["pointing_game"]}, 400, "mask"),
        ({"metrics": ["nothing"]}, 404, "nothing"),
        ({"metrics": ["deletion?steps=3"]}, 404, "deletion"),
        ({"methods": ["nothing"]}, 404, "nothing"),
        ({"images": ["nothing"]}, 404, "nothing"),
        ({"images": []}, 422, "images"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    asked: dict[str, Any], status: int, found: str, client: Client, photos: list[dict[str, Any]]
) -> None:
    body = {"panel": "x", "model": "0", "images": [photos[0]["id"]], "methods": ["gradient"], "metrics": []}
    got, content, _ = client.ask("POST", "/api/compare", {**body, **asked})
    assert got == status
    error = json.loads(content)["error"]
    assert found in f"{error['asked']} {error['found']} {error['do']}"


def _resolved(running: Running, photos: list[dict[str, Any]], **asked: Any) -> Comparison:
    request = schema.CompareRequest.model_validate(
        {"panel": "x", "model": "0", "images": [p["id"] for p in photos], "metrics": [], **asked}
    )
    paths = [(p["id"], Path(p["path"])) for p in photos]
    return Comparison(request, running.session.networks["0"], paths)


def test_a_study_is_sent_to_the_benchmark(running: Running, photos: list[dict[str, Any]]) -> None:
    from seewhy.methods import METHODS as ALL

    with pytest.raises(BadInput, match=r"maps; one comparison holds 1,024.*seewhy benchmark"):
        _resolved(running, [photos[0]] * 64, methods=ALL.names())


def test_what_is_stopped_keeps_what_it_has(running: Running, photos: list[dict[str, Any]]) -> None:
    """Stopped within its first method, which is finished; the next ones are not begun."""
    comparison = _resolved(running, photos[:2], methods=["gradient", "grad_cam"])
    job, sent = Job("x", "two methods"), []
    job.send = lambda make, replaceable=False: sent.append(make())  # type: ignore[method-assign]
    for _ in comparison.begin(running.session.explaining, running.session.comparisons, job):
        job.stop()
    assert [e.method for e in sent if isinstance(e, schema.CellsEvent) and e.finished] == ["gradient"]
    assert isinstance(sent[-1], schema.CompareDone)
    assert "It was stopped: the methods that had not begun are missing." in sent[-1].remarks


def test_what_came_to_its_end_is_told_again_at_once(client: Client, photos: list[dict[str, Any]]) -> None:
    asked: dict[str, Any] = {"methods": ["gradient", "attention_rollout", "grad_cam"], "seed": 77}
    (refused,) = compared(client, photos[:2], kept=True, **asked)
    assert (refused["event"], refused["kind"]) == ("error", "Missing")
    first = compared(client, photos[:2], **asked)
    again = compared(client, photos[:2], kept=True, **asked)
    own, told = finished(first), finished(again)
    assert list(told) == list(own)
    for name, cells in own.items():
        for part in ("cells", "problem", "seconds"):
            assert told[name][part] == cells[part]
    made = [m for e in first if e["event"] == "cells" and e["method"] == "grad_cam" for m in e["maps"]]
    assert [m["values"] for m in told["grad_cam"]["maps"]] == [m["values"] for m in made]
    assert again[-2] == next(e for e in reversed(first) if e["event"] == "agreement")
    for part in ("command", "remarks"):
        assert again[-1][part] == first[-1][part]
    for other in ({"seed": 78}, {"steps": 7}, {"target": "fox"}, {"metrics": []}, {"methods": ["grad_cam"]}):
        (refused,) = compared(client, photos[:2], kept=True, **{**asked, **other})
        assert refused["kind"] == "Missing"
    (refused,) = compared(client, photos[1:], kept=True, **asked)
    assert refused["kind"] == "Missing"


def test_a_comparison_without_its_maps_is_not_told(running: Running, photos: list[dict[str, Any]]) -> None:
    comparison = _resolved(running, photos[:1], methods=["gradient"], seed=79)
    job, kept = Job("x", "one method"), running.session.comparisons
    for _ in comparison.begin(running.session.explaining, kept, job):
        pass
    assert kept.told(comparison.key, job) is not None
    (made,) = comparison.parts[0].maps
    gone = running.session.maps._maps.pop(made)
    assert kept.told(comparison.key, job) is None
    running.session.maps.put(gone)


def test_what_was_stopped_is_not_told_for_the_whole(running: Running, photos: list[dict[str, Any]]) -> None:
    comparison = _resolved(running, photos[:1], methods=["gradient", "grad_cam"], seed=80)
    job, kept = Job("x", "two methods"), running.session.comparisons
    for _ in comparison.begin(running.session.explaining, kept, job):
        job.stop()
    assert kept.told(comparison.key, job) is None


# -- parts -----------------------------------------------------------------------------------------------


def _found(values: dict[str, list[float]]) -> Compared:
    """Deletion of four methods and a baseline on photos whose names are not sorted."""
    photos = [Path(f"{name}.png") for name in "dbca"]
    found = Compared(photos, [METRICS["deletion"]()])
    for method, each in values.items():
        for photo, value in zip(photos, each, strict=True):
            found.add(Row(str(photo), method, "deletion", value, method == "random"))
    return found


VALUES = {
    "first": [0.1, 0.2, 0.3, 0.2],
    "second": [0.2, 0.2, 0.3, 0.2],
    "last": [0.9, 0.8, 0.9, 0.9],
    "random": [0.5, 0.6, 0.5, 0.6],
}


def test_photos_are_resampled_in_the_order_of_their_files() -> None:
    """Which resample hits which photo moves the ends: the command reads the files by name."""
    found = _found({**VALUES, "first": [0.1, 0.9, 0.3, 0.2]})
    (cell,) = found.cells("first")
    by_name = [Row(n, "first", "deletion", v) for n, v in zip("abcd", [0.2, 0.9, 0.3, 0.1], strict=True)]
    (summary,) = Table(tuple(by_name), {"deletion": False}).mean()
    assert (cell.low, cell.high) == (summary.low, summary.high)
    assert cell.values == [0.1, 0.9, 0.3, 0.2]


def test_remarks_say_what_is_not_settled_and_what_is_no_better_than_noise() -> None:
    titles = {name: name.capitalize() for name in VALUES}
    (said,) = _found(VALUES).remarks(titles)
    assert said.startswith("Deletion: First has the best mean, but its interval overlaps that of Second")
    assert "Not better than the baseline 'random': Last." in said
    apart = {**VALUES, "second": [0.7, 0.7, 0.7, 0.7], "last": [0.4, 0.4, 0.4, 0.4]}
    (said,) = _found(apart).remarks(titles)
    assert "overlaps" not in said
    assert "Not better than the baseline 'random': Second." in said


def test_undefined_values_are_null() -> None:
    (cell,) = _found({**VALUES, "first": [math.nan, 0.2, 0.4, math.nan]}).cells("first")
    assert cell.values == [None, 0.2, 0.4, None]
    assert cell.mean == pytest.approx(0.3)


def test_a_method_that_is_dropped_leaves_nothing() -> None:
    found = _found(VALUES)
    found.drop("last")
    assert {row.method for row in found.table()} == {"first", "second", "random"}


def test_commands_quote_what_a_shell_would_take_apart() -> None:
    said = command(
        [Path("my photo.png"), Path("$(x).png")],
        ["rise"],
        ["deletion"],
        spec="a b.py:make",
        steps=6,
        target="A vs B",
        seed=1,
        device="cuda:1",
    )
    first, second = said.split(" &&\n")
    assert shlex.split(first)[:6] == ["seewhy", "explain", "my photo.png", "$(x).png", "--method", "rise"]
    assert shlex.split(first)[6:8] == ["--target", "A vs B"]
    assert "'a b.py:make'" in second
    assert second.endswith("--seed 1 --device cuda:1")


def test_steps_of_several_measurements_add_up() -> None:
    steps = _Steps(2)
    shares = [steps.share(done, 4) for done in (1, 2, 4, 1, 3, 4)]
    assert shares == [0.125, 0.25, 0.5, 0.625, 0.875, 1.0]


def test_metrics_say_what_they_cost_and_what_they_lack() -> None:
    deletion, pointing = (describe.metric_entry(METRICS[n]) for n in ("deletion", "pointing_game"))
    assert deletion.forward == METRICS["deletion"](steps=schema.STEPS).cost((224, 224)).forward
    assert deletion.reason == ""
    assert "place of the evidence" in pointing.reason
    assert describe.metric_entry(METRICS["max_sensitivity"]).forward is None
