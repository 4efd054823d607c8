"""The studio's server answers as the library does, streams, stops, goes on, and keeps nobody waiting."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shlex
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import seewhy
from seewhy.__main__ import main
from seewhy.attribution import Attribution
from seewhy.methods import METHODS
from seewhy.metrics import METRICS
from seewhy.perturb.ranks import ranks
from seewhy.studio import describe, schema
from seewhy.studio.app import openapi
from seewhy.studio.jobs import Job
from seewhy.studio.lifecycle import Running
from seewhy.studio.networks import Network
from seewhy.studio.outbox import Outbox
from seewhy.studio.worker import Worker
from studio_client import Client, unpacked


def concluded(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a thread of its own: a browser that drives other tests keeps this one's loop."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result()


LONG = {"masks": 1_000_000}


@pytest.fixture(scope="module")
def model(place: Path) -> seewhy.Model:
    return seewhy.load(f"{place / 'model.py'}:make", allow_code=True)


@pytest.fixture(scope="module")
def path(client: Client) -> Path:
    return Path(client.get("/api/images")[0]["path"])


def kept(client: Client, name: str, folder: Path) -> Attribution:
    """Return a map as the server's files have it."""
    for ending in ("safetensors", "json"):
        status, content, _ = client.ask("GET", f"/api/maps/{name}.{ending}")
        assert status == 200
        (folder / f"map.{ending}").write_bytes(content)
    return Attribution.open(folder / "map")


# -- what is here --------------------------------------------------------------------------------


def test_what_is_here(client: Client, model: seewhy.Model, path: Path) -> None:
    about = client.get("/api/about")
    assert about["models"][0]["state"] == "ready"
    assert about["models"][0]["classes"] == 7
    assert about["models"][0]["input_size"] == [48, 64]
    assert client.get("/api/models/0/methods")
    until = time.monotonic() + 30  # a pass is timed when there is time
    while (rate := client.get("/api/models/0")["passes_per_second"]) is None and time.monotonic() < until:
        time.sleep(0.05)
    assert rate > 0
    assert len(about["colour_maps"]["viridis"]["hex"]) == 1536
    assert client.get("/api/models/0/labels") == ["ant", "bee", "cat", "dog", "eel", "fox", "gnu"]
    layers = client.get("/api/models/0/layers")
    assert [entry["name"] for entry in layers if entry["default"]] == ["4"]
    assert {entry["name"] for entry in client.get("/api/metrics")} == set(METRICS.names())
    assert path.name == "a.png"


def test_predictions_are_the_models(client: Client, model: seewhy.Model, photo: str, path: Path) -> None:
    found = client.get(f"/api/models/0/predictions/{photo}")
    expected = model.predict(path)[0]
    assert [(p["label"], p["index"]) for p in found["top"]] == [(p.label, p.index) for p in expected]
    np.testing.assert_allclose([p["probability"] for p in found["top"]], [p.probability for p in expected])
    content = base64.b64decode(found["seen"].removeprefix("data:image/png;base64,"))
    seen = np.asarray(Image.open(io.BytesIO(content)))
    own = seewhy.explain(model, [path], "gradient").photo()
    np.testing.assert_array_equal(seen, own)
    assert (found["height"], found["width"]) == seen.shape[:2] == (48, 64)


def test_methods_are_described_by_their_classes(client: Client) -> None:
    entries = {entry["name"]: entry for entry in client.get("/api/models/0/methods")}
    assert set(entries) == set(METHODS.names())
    rollout, cam = entries["attention_rollout"], entries["grad_cam"]
    assert not rollout["fits"]
    assert "attention" in rollout["reason"]
    assert cam["fits"]
    assert cam["autorun"]
    assert cam["takes_layer"]
    assert cam["paper"]["bibtex"].startswith("@misc{selvaraju2017")
    assert entries["rise"]["streams"]
    masks = next(p for p in entries["rise"]["parameters"] if p["name"] == "masks")
    assert (masks["type"], masks["default"], masks["optional"]) == ("integer", 4000, False)
    assert masks["help"] == "How many masks at most, at least 2."
    estimator = next(p for p in entries["rise"]["parameters"] if p["name"] == "estimator")
    assert estimator["choices"] == ["regressed", "centred", "published", "normalised"]


@pytest.mark.parametrize("cls", [*METHODS, *METRICS], ids=lambda cls: cls.name)
def test_every_parameter_goes_to_the_page_and_back(cls: Any) -> None:
    described = describe.parameters(cls)
    assert [p.name for p in described] == [f.name for f in fields(cls)]
    assert all(p.help for p in described), "a parameter without a word of help"
    sent = json.loads(json.dumps({p.name: p.default for p in described}))
    assert cls(**describe.values(cls, sent, cls.name)) == cls()


@pytest.mark.parametrize(
    ("method", "given", "word"),
    [
        ("rise", {"mask": 3}, "masks"),
        ("rise", {"masks": "many"}, "whole number"),
        ("rise", {"masks": True}, "whole number"),
        ("rise", {"masks": 1}, "at least 2"),
        ("rise", {"estimator": "guessed"}, "estimator"),
        ("occlusion", {"window": ["a"]}, "window"),
        ("no_such", {}, "no_such"),
    ],
)
def test_bad_parameters_are_answers(
    client: Client, photo: str, method: str, given: dict[str, Any], word: str
) -> None:
    body = {"panel": "p", "model": "0", "image": photo, "method": method, "parameters": given}
    status, content, _ = client.ask("POST", "/api/explain", body)
    said = json.loads(content)["error"]
    assert status in (400, 404)
    assert word in f"{said['asked']} {said['found']} {said['do']}"
    assert "Traceback" not in content.decode()


# -- maps --------------------------------------------------------------------------------


def test_a_map_is_the_librarys_bit_for_bit(
    client: Client, model: seewhy.Model, photo: str, path: Path, tmp_path: Path
) -> None:
    price, *frames, done = client.explain(photo, "grad_cam", target="dog")
    assert (price["event"], done["event"]) == ("price", "done")
    assert not price["cached"]
    own = seewhy.explain(model, [path], "grad_cam", target="dog", precision="fp32")
    files = kept(client, done["map"], tmp_path)
    assert torch.equal(files.values, own.values)
    assert torch.equal(files.native, own.native)
    np.testing.assert_allclose(
        unpacked(frames[-1]["values"]), own.values[0].numpy(), atol=2**-11 * float(own.values.abs().max())
    )
    assert frames[-1]["native"]["shape"] == list(own.native.shape[1:])
    assert frames[-1]["text"] == own.text_twin()
    status, content, _ = client.ask("GET", f"/api/maps/{done['map']}.npy")
    assert status == 200
    np.testing.assert_array_equal(np.load(io.BytesIO(content)), own.values[0].numpy())
    _, content, _ = client.ask("GET", f"/api/maps/{done['map']}.png")
    assert Image.open(io.BytesIO(content)).tobytes() == own.overlay().tobytes()


def test_what_was_made_is_not_made_again(client: Client, photo: str) -> None:
    first = client.explain(photo, "occlusion", parameters={"window": [12, 16]})
    price, again, done = client.explain(photo, "occlusion", parameters={"window": [12, 16]})
    assert price["cached"]
    assert done["map"] == first[-1]["map"]
    assert again["values"] == first[-2]["values"]
    for other in ({"seed": 1}, {"target": "fox"}, {"parameters": {"window": [12, 8]}}, {"randomised": True}):
        asked = {"parameters": {"window": [12, 16]}, **other}
        assert client.explain(photo, "occlusion", **asked)[-1]["map"] != done["map"]


def test_a_run_that_is_stopped_is_a_shorter_run_and_goes_on(
    client: Client, model: seewhy.Model, photo: str, path: Path, tmp_path: Path
) -> None:
    asked = {"parameters": {"masks": 6000}, "seed": 4}

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "map" and event["done"] >= 100:
            client.ask("POST", f"/api/jobs/{event['job']}/stop")

    *_, last, done = client.explain(photo, "rise", stop, **asked)
    assert done["stopped"]
    assert done["resumable"]
    masks = last["done"]
    assert 100 <= masks < 6000
    own = seewhy.explain(model, [path], "rise", seed=4, precision="fp32", masks=masks)
    files = kept(client, done["map"], tmp_path)
    assert torch.equal(files.values, own.values)
    assert files.provenance["parameters"]["masks"] == masks
    assert f"--masks {masks}" in done["command"]

    # Asked for again, by a page that was loaded again say, the map is the one that was stopped.
    fewer = {**asked, "parameters": {"masks": masks}}
    price, _, reopened = client.explain(photo, "rise", **fewer)
    assert price["cached"]
    assert reopened["resumable"]
    assert reopened["map"] == done["map"]

    other = client.explain(photo, "rise", resume=done["map"], parameters={"masks": 6001})
    assert other[-1]["kind"] == "Missing"
    _, first, *_, end = client.explain(photo, "rise", resume=done["map"], **asked)
    assert first["done"] > masks, "it began anew"
    assert not end["stopped"]
    assert not end["resumable"]
    whole = seewhy.explain(model, [path], "rise", seed=4, precision="fp32", masks=6000)
    assert torch.equal(kept(client, end["map"], tmp_path).values, whole.values)

    *_, reopened = client.explain(photo, "rise", **fewer)
    assert not reopened["resumable"]
    gone = client.explain(photo, "rise", resume=done["map"], parameters={"masks": 6001})
    assert gone[-1]["kind"] == "Missing"


def test_the_photo_of_a_map_comes_in_all_its_detail(
    client: Client, photo: str, path: Path, model: seewhy.Model
) -> None:
    done = client.explain(photo, "gradient")[-1]
    status, content, answer = client.ask("GET", f"/api/maps/{done['map']}/photo")
    assert (status, answer.headers["content-type"]) == (200, "image/webp")
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == (192, 144), "three times 64 x 48: the photo has 160 x 120"
        fine = np.asarray(picture.resize((64, 48), Image.Resampling.BILINEAR), np.float32)
    assert model.preprocess is not None
    with Image.open(path) as own:
        seen = np.asarray(model.preprocess.frame(own), np.float32)
    assert np.abs(fine - seen).mean() < 8
    assert client.ask("GET", "/api/maps/nothing/photo")[0] == 404


def test_a_newer_request_of_a_panel_takes_the_place_of_the_older(client: Client, photo: str) -> None:
    older: list[dict[str, Any]] = []
    running = threading.Event()

    def seen(event: dict[str, Any]) -> None:
        older.append(event)
        running.set()

    thread = threading.Thread(target=lambda: client.explain(photo, "rise", seen, parameters=LONG))
    thread.start()
    assert running.wait(30)
    assert client.explain(photo, "gradient")[-1]["event"] == "done"
    thread.join(30)
    assert not thread.is_alive()
    assert older[-1]["event"] == "error"
    assert older[-1]["superseded"]


def test_a_cheap_map_does_not_wait_for_a_dear_one(client: Client, photo: str) -> None:
    frames = client.stream(
        "/api/explain",
        {"panel": "dear", "model": "0", "image": photo, "method": "rise", "parameters": LONG},
    )
    assert next(frames)["event"] == "price"
    assert next(frames)["event"] == "map"
    assert client.explain(photo, "gradient", seed=77)[-1]["event"] == "done"
    assert next(frames)["event"] == "map", "the dear one went on"
    job = next(j for j in client.get("/api/jobs") if j["panel"] == "dear")
    assert job["state"] in ("waiting", "running")
    assert client.ask("DELETE", f"/api/jobs/{job['id']}")[0] == 204
    *_, last = frames
    assert last["superseded"]


def test_a_client_that_leaves_costs_one_batch_at_most(client: Client, running: Running, photo: str) -> None:
    frames = client.stream(
        "/api/explain",
        {"panel": "gone", "model": "0", "image": photo, "method": "rise", "parameters": LONG},
    )
    next(frames)
    next(frames)
    job = next(j for j in running.session.jobs._all.values() if j.panel == "gone")
    frames.close()  # type: ignore[attr-defined]
    job.ended.result(timeout=20)
    assert job.superseded
    assert client.explain(photo, "gradient", seed=78)[-1]["event"] == "done"


def test_a_method_that_does_not_fit_is_an_answer(client: Client, photo: str) -> None:
    *_, last = client.explain(photo, "attention_rollout")
    assert last["event"] == "error"
    assert last["kind"] == "DoesNotFit"
    assert "attention" in last["found"]
    *_, last = client.explain(photo, "gradient", target="unicorn")
    assert last["kind"] == "UnknownName"


def test_fifty_clients_at_once(client: Client, photo: str) -> None:
    def one(i: int) -> list[int]:
        paths = ("/api/about", "/api/images", f"/api/images/{photo}/thumbnail")
        statuses = [client.ask("GET", p)[0] for p in paths]
        statuses.append(client.ask("GET", f"/api/models/0/predictions/{photo}")[0])
        events = client.explain(photo, "gradient", panel=f"panel {i}", seed=i % 5)
        return [*statuses, 200 if events[-1]["event"] == "done" else 500]

    with ThreadPoolExecutor(50) as pool:
        assert {status for each in pool.map(one, range(50)) for status in each} == {200}


# -- elsewhere --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        ("grad_cam", {"layer": "1", "target": "ant vs bee"}),
        ("rise", {"parameters": {"masks": 90, "keep": 0.4}, "seed": 3}),
        ("occlusion", {"parameters": {"window": [12, 16], "operator": "blur:10"}}),
        ("gradient", {"parameters": {"channels": "sum"}, "target": "5"}),
        ("ablation_cam", {"parameters": {"relu": False}}),
    ],
)
def test_the_command_makes_the_same_map(
    client: Client,
    photo: str,
    method: str,
    asked: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    *_, done = client.explain(photo, method, **asked)
    own = kept(client, done["map"], tmp_path)
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(done["command"])
    assert program == "seewhy"
    assert main(words) == 0
    (made,) = (tmp_path / "seewhy-out").glob("*.safetensors")
    assert torch.equal(Attribution.open(made).values, own.values)
    exec(compile(done["python"], "copied", "exec"), {})
    assert torch.equal(Attribution.open(tmp_path / "map").values, own.values)


def test_the_twin_is_randomised_and_its_python_makes_the_same_map(
    client: Client, photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, plain = client.explain(photo, "gradient")
    *_, twin = client.explain(photo, "gradient", randomised=True)
    labels = [e["provenance"]["inputs"][0]["target"]["label"] for e in (plain, twin)]
    assert labels[0] == labels[1], "the twin is asked about the network's answer"
    own = kept(client, twin["map"], tmp_path)
    assert not torch.equal(own.values, kept(client, plain["map"], tmp_path).values)
    monkeypatch.chdir(tmp_path)
    exec(compile(twin["python"], "copied", "exec"), {})
    assert torch.equal(Attribution.open(tmp_path / "map").values, own.values)
    again = client.explain(photo, "gradient", seed=9)  # the trained network is as it was
    assert again[-2]["values"] == client.explain(photo, "gradient")[-2]["values"]


# -- measuring --------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["deletion", "insertion"])
def test_the_curve_is_the_metrics(
    client: Client, model: seewhy.Model, photo: str, path: Path, metric: str
) -> None:
    *_, done = client.explain(photo, "gradient", target="cat")
    found = client.post(
        "/api/curve",
        {"panel": "curve", "map": done["map"], "metric": metric, "steps": 12, "operator": "blur"},
    )
    own = seewhy.explain(model, [path], "gradient", target="cat", precision="fp32")
    table = seewhy.evaluate(
        model, [path], own, [METRICS[metric](steps=12, operator="blur")], precision="fp32"
    )
    row, line = next(r for r in table if r.method == "gradient"), found["lines"][0]
    assert line["area"] == pytest.approx(row.value, rel=1e-5)
    np.testing.assert_allclose(line["scores"], row.curve, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["at"], row.at, rtol=1e-6)
    centre = next(r for r in table if r.method == "centre")
    assert found["lines"][2]["area"] == pytest.approx(centre.value, rel=1e-4)
    random = found["lines"][1]
    assert all(a <= b <= c for a, b, c in zip(random["low"], random["scores"], random["high"], strict=True))
    assert found["unit"] == "probability of cat"

    places = np.frombuffer(base64.b64decode(found["places"]), np.uint8).reshape(48, 64)
    for step, share in enumerate(found["at"]):
        changed = ranks(own.values)[0].numpy() < round(share * 48 * 64)
        np.testing.assert_array_equal((places > 0) & (places <= step), changed)
    fill = Image.open(io.BytesIO(base64.b64decode(found["fill"].partition(",")[2])))
    assert fill.size == (64, 48)
    assert client.post("/api/curve", {"panel": "curve", "map": done["map"], "metric": metric, "steps": 12,
                                      "operator": "blur"}) == found  # fmt: skip


def test_a_map_without_an_order_has_no_curve(client: Client, photo: str, running: Running) -> None:
    *_, done = client.explain(photo, "gradient", target="eel", seed=5)
    running.session.maps[done["map"]].attribution.values.zero_()
    found = client.post("/api/curve", {"panel": "curve", "map": done["map"], "steps": 6})
    assert "constant" in found["undefined"]
    assert found["lines"][0]["area"] is None
    assert found["lines"][1]["area"] is not None
    assert not np.frombuffer(base64.b64decode(found["places"]), np.uint8).any()


def test_an_operator_that_needs_a_mask_is_refused(client: Client, photo: str) -> None:
    *_, done = client.explain(photo, "gradient")
    status, content, _ = client.ask(
        "POST", "/api/curve", {"panel": "c", "map": done["map"], "operator": "unknown"}
    )
    assert status == 400
    assert json.loads(content)["error"]["kind"] == "UnknownName"


# -- parts --------------------------------------------------------------------------------


def test_of_frames_that_wait_only_the_newest_is_sent_and_never_the_last_is_lost() -> None:
    def event(n: int) -> schema.Message:
        return schema.Job(id=str(n), panel="", what="", state="done", done=n, total=9, seconds=0)

    async def run() -> list[str]:
        box = Outbox()
        box.put(lambda: event(0))
        for n in range(1, 6):
            box.put(lambda n=n: event(n), replaceable=True)
        box.put(lambda: event(6))
        box.close()
        return [e.id async for e in box.events()]  # type: ignore[attr-defined]

    assert concluded(run()) == ["0", "5", "6"]


def test_a_worker_outlives_whatever_its_jobs_do() -> None:
    worker = Worker("test")
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda: 1 / 0).result(10)

    def exits() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        worker.call(exits).result(10)
    assert worker.call(lambda: 5).result(10) == 5
    worker.close()
    assert worker.call(lambda: 5).cancelled() or not worker.thread.is_alive()


def test_urgent_jobs_go_first_and_equals_take_turns() -> None:
    worker, order, gate = Worker("test"), [], threading.Event()
    worker.call(gate.wait)

    def job(name: str, priority: int) -> Job:
        def steps(_: Job) -> Any:
            for _ in range(2):
                order.append(name)
                yield

        return Job(name, name, priority).does(steps)

    jobs = [job("late", 2), job("a", 1), job("b", 1), job("now", 0)]
    for each in jobs:
        worker.submit(each)
    gate.set()
    for each in jobs:
        each.ended.result(10)
    assert order == ["now", "now", "a", "b", "a", "b", "late", "late"]
    worker.close()


def test_prices_follow_what_runs_took(client: Client, running: Running, photo: str) -> None:
    network = running.session.networks["0"]
    network.rate = 1.0
    price, *_ = client.explain(photo, "rise", parameters={"masks": 400}, seed=41)
    assert price["seconds"] == pytest.approx(401)
    after = client.get("/api/models/0")["passes_per_second"]
    assert after > 1.5
    price, *_ = client.explain(photo, "rise", parameters={"masks": 400}, seed=42)
    assert price["seconds"] == pytest.approx(401 / after)
    network.learn(2, 1e-6)
    assert client.get("/api/models/0")["passes_per_second"] < 1e6, "a few passes say little"


def test_a_model_that_cannot_be_loaded_says_why() -> None:
    network = Network("0", "no-such-model")
    with pytest.raises(seewhy.errors.BadInput):
        concluded(network.ready())
    assert network.state().state == "failed"
    assert "no-such-model" in network.state().error
    network.worker.close()


def test_the_session_leaves_nothing(place: Path) -> None:
    from seewhy.studio.session import Session

    with Running(Session.open([f"{place / 'model.py'}:make"], [place / "photos" / "a.png"])) as running:
        folder, url = running.session.folder, running.url
        assert folder.stat().st_mode & 0o777 == 0o700
        Client(url).get("/api/models/0/labels")
    assert not folder.exists()
    with pytest.raises(OSError):
        Client(url).get("/api/about")


def test_the_description_is_up_to_date() -> None:
    file = Path(__file__).parents[2] / "web" / "openapi.json"
    assert json.loads(file.read_text()) == openapi(), "python -m seewhy.studio.app > web/openapi.json"


def test_the_page_does_not_wait_for_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import seewhy.studio.lifecycle, seewhy.studio.session, seewhy.inputs;"
        "print(sorted({'torch', 'seewhy.methods.base'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
