"""The concept view's server: files of `seewhy concepts` in one form, maps by independent arithmetic."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import torch
from PIL import Image

from studio_client import MODEL, Client, unpacked

pytest.importorskip("fastapi")
pytest.importorskip("sklearn")

import seewhy
from seewhy.__main__ import main
from seewhy.concepts import ConceptVectors, TcavResult, VisualTcavResult
from seewhy.studio.concept_maps_here import _amounts
from seewhy.studio.lifecycle import Running
from seewhy.studio.session import Session

LAYER = "3"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of each kind below `root`, made by the commands."""
    home = tmp_path_factory.mktemp("concepts")
    (home / "model.py").write_text(MODEL)
    rng = np.random.default_rng(0)

    def save(folder: str, count: int, lift: tuple[int, int, int]) -> Path:
        (home / folder).mkdir(parents=True)
        for i in range(count):
            pixels = np.clip(rng.integers(0, 100, (48, 64, 3)) + lift, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(home / folder / f"{i}.png")
        return home / folder

    save("sets/red", 6, (150, 0, 0))
    save("sets/bright", 6, (150, 150, 150))
    save("random", 24, (0, 0, 0))
    save("classes/cat", 3, (60, 0, 0))
    save("classes/4", 3, (0, 60, 60))
    save("root/photos", 4, (90, 20, 0))
    named = ["--concepts", home / "sets", "--random", home / "random", "--layers", LAYER]
    common = ["--model", f"{home / 'model.py'}:make", "--out", home / "root"]
    say("cav", *named, *common, "--runs", 2)
    say("cav", *named, *common[:2], "--out", home / "root" / "cells", "--runs", 2, "--pool", "none")
    say("tcav", *named, *common, "--images", home / "classes", "--runs", 3)
    say("visual-tcav", home / "root" / "photos", *named, *common, "--steps", 4)
    say("gallery", home / "root" / "photos", *common, "--layers", LAYER, "--show", 2, "--count", 3)
    say("discover", home / "root" / "photos", *common, "--layer", LAYER, "--concepts", 3, "--count", 3)
    return home


def say(*words: object) -> None:
    assert main(["concepts", *map(str, words)]) == 0


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[Client]:
    """A studio that may read the files and the photos."""
    session = Session.open(
        [f"{home / 'model.py'}:make", seewhy.load(f"{home / 'model.py'}:make", allow_code=True)],
        [home / "root" / "photos"],
        [home / "root"],
    )
    with Running(session) as running:
        client = Client(running.url)
        client.get("/api/models/0/labels")
        yield client


def board(client: Client, file: Path) -> Any:
    return client.get(f"/api/concepts/board?{urlencode({'path': file})}")


def mapped(client: Client, file: Path, concept: str, **more: str) -> Any:
    image = client.get("/api/images")[0]["id"]
    asked = {"path": str(file), "layer": LAYER, "concept": concept, "model": "0", "image": image, **more}
    return client.post("/api/concepts/map", asked)


@pytest.fixture(scope="module")
def cells(home: Path) -> torch.Tensor:
    """`(c, rows, columns)`: what the layer puts out for the first photo, by the network's own modules."""
    model = seewhy.load(f"{home / 'model.py'}:make", allow_code=True)
    with torch.no_grad():
        return model.module[:4](model.prepare(home / "root" / "photos" / "0.png").tensor)[0]


def test_every_kind_of_file_is_found(client: Client, home: Path) -> None:
    found = {Path(f["path"]).name: f["kind"] for f in client.get("/api/concepts")}
    assert found == {
        "cav.json": "cav",
        "tcav.json": "tcav",
        "visual-tcav.json": "visual_tcav",
        "gallery.json": "gallery",
        "concepts.json": "discovery",
    }


def test_vectors_and_tests_are_those_of_the_files(client: Client, home: Path) -> None:
    shown = board(client, home / "root" / "cav.json")
    saved = ConceptVectors.open(home / "root" / "cav.json")
    assert [(r["concept"], r["value"], r["low"]) for r in shown["rows"]] == [
        (d.concept, d.accuracy, d.low) for d in saved.directions
    ]
    shown = board(client, home / "root" / "tcav.json")
    tests = TcavResult.open(home / "root" / "tcav.json")
    assert shown["targets"] == ["cat", "eel"] or set(shown["targets"]) == {"cat", "eel"}
    for row, known in zip(shown["rows"], tests.rows, strict=True):
        assert (row["concept"], row["target"], row["p"]) == (known.concept, known.target, known.p_corrected)
        assert row["value"] == (known.score if known.separable else None)
        assert (row["significant"], row["separable"]) == (known.significant, known.separable)
        assert row["randoms"] == list(known.random_scores)
    assert any("visual-tcav" in each["command"] for each in shown["absent"])


def test_attributions_are_those_of_the_file(client: Client, home: Path) -> None:
    file = home / "root" / "visual-tcav.json"
    shown, saved = board(client, file), VisualTcavResult.open(file)
    assert len(shown["images"]) == 4
    for row, known in zip(shown["rows"], saved.global_rows(), strict=True):
        assert row["value"] == (known.attribution if known.separable else None)
        assert (row["p"], row["gain"], row["images"]) == (known.p, known.gain, known.images)
    local = client.get(f"/api/concepts/local?{urlencode({'path': file, 'image': 2})}")
    known = [r for r in saved.local_rows() if r["image"] == saved.provenance["images"][2]["path"]]
    assert [(r["concept"], r["target"]) for r in local] == [(r["concept"], r["target"]) for r in known]
    assert [r["gain"] for r in local] == [r["gain"] for r in known]
    status, content, _ = client.ask("GET", f"/api/concepts/photo?{urlencode({'path': file, 'image': 2})}")
    assert (status, Image.open(io.BytesIO(content)).size) == (200, (64, 48))


def test_galleries_have_cards_and_crops(client: Client, home: Path) -> None:
    for name, strips in (("gallery.json", 2), ("concepts.json", 1)):
        file = home / "root" / name
        shown = board(client, file)
        assert len(shown["cards"]) == len(shown["rows"]) >= 2
        assert all(len(card["strips"]) == strips for card in shown["cards"])
        crops = shown["cards"][0]["strips"][0]["crops"]
        assert crops
        assert all(crop["shown"] for crop in crops)
        asked = urlencode({"path": file, "card": 0, "strip": 0, "place": 0, "model": "0"})
        status, content, _ = client.ask("GET", f"/api/concepts/crop?{asked}")
        assert status == 200
        assert max(Image.open(io.BytesIO(content)).size) <= 192
        for wrong in ({"card": 99}, {"place": 99}):
            asked = urlencode({"path": file, "card": 0, "strip": 0, "place": 0, **wrong})
            assert client.ask("GET", f"/api/concepts/crop?{asked}")[0] == 400


def test_a_crop_shows_the_window_of_the_photo(home: Path) -> None:
    from seewhy.models.preprocessing import Preprocessing
    from seewhy.studio.concept_galleries import crop

    photo = home / "root" / "photos" / "0.png"
    whole = np.asarray(Image.open(photo)).astype(int)
    shown = crop(photo, ((8, 24), (16, 48)), Preprocessing(size=(48, 64), fit="squash"), 32)
    assert shown.size == (32, 16)
    assert np.abs(np.asarray(shown).astype(int) - whole[8:24, 16:48]).max() <= 1


def test_a_calibrated_map_is_the_formula(client: Client, home: Path, cells: torch.Tensor) -> None:
    file = home / "root" / "visual-tcav.json"
    found = VisualTcavResult.open(file).layers[LAYER]
    for q, concept in enumerate(VisualTcavResult.open(file).concepts):
        made = mapped(client, file, concept)
        raw = (found.vectors[q].double() @ cells.double().flatten(1)).clamp_min(0).reshape(cells.shape[1:])
        want = ((raw - found.low[q]) / (found.high[q] - found.low[q])).clamp(0, 1)
        want = want * bool(found.separable[q])
        np.testing.assert_allclose(unpacked(made["native"]), want, atol=1e-3)
        assert made["values"]["shape"] == [48, 64]
        assert made["signed"] is False
        assert bool(made["remark"]) is not bool(found.separable[q])


@pytest.mark.parametrize("name", ["cav.json", "tcav.json"])
def test_a_map_of_a_vector_is_the_layer_along_it(
    client: Client, home: Path, cells: torch.Tensor, name: str
) -> None:
    file = home / "root" / name
    if name == "cav.json":
        vector = next(d.vector for d in ConceptVectors.open(file).directions if d.concept == "red")
    else:
        saved = TcavResult.open(file)
        vector = saved.vectors[LAYER][list(saved.provenance["concepts"]).index("red")]
    made = mapped(client, file, "red")
    unit = vector.double() / vector.double().norm()
    want = (cells.double() * unit[:, None, None]).sum(0).numpy()
    np.testing.assert_allclose(unpacked(made["native"]), want, atol=2e-3 * np.abs(want).max())
    assert made["signed"] is True


def test_a_map_of_a_channel_is_its_output(client: Client, home: Path, cells: torch.Tensor) -> None:
    file = home / "root" / "gallery.json"
    concept = board(client, file)["rows"][0]["concept"]
    want = cells[int(concept.split()[1])].numpy()
    found = unpacked(mapped(client, file, concept)["native"])
    np.testing.assert_allclose(found, want, atol=2e-3 * np.abs(want).max())


def test_amounts_of_discovered_directions_are_non_negative_least_squares() -> None:
    from scipy.optimize import nnls

    generator = torch.Generator().manual_seed(0)
    directions = torch.rand(4, 9, generator=generator)
    cells = torch.rand(9, 2, 3, generator=generator)
    found = _amounts(cells, directions).flatten(1).T.numpy()
    want = [nnls(directions.T.numpy(), cell)[0] for cell in cells.flatten(1).T.numpy()]
    np.testing.assert_allclose(found, want, atol=1e-5)
    assert (found == 0).any(), "else nothing was held at 0"


def test_a_discovered_concept_has_a_map(client: Client, home: Path) -> None:
    made = mapped(client, home / "root" / "concepts.json", "concept 1")
    values = unpacked(made["native"])
    assert values.min() >= 0
    assert made["text"].startswith("concept 1 is ")


def test_what_cannot_be_mapped_is_refused_with_the_reason(client: Client, home: Path) -> None:
    shown = board(client, home / "root" / "cells" / "cav.json")
    assert shown["map"]["possible"] is False
    assert "--pool mean" in shown["map"]["explanation"]
    image = client.get("/api/images")[0]["id"]
    good = {"path": str(home / "root" / "cav.json"), "layer": LAYER, "concept": "red", "model": "0"}
    for wrong, status in (
        ({"path": str(home / "root" / "cells" / "cav.json")}, 400),
        ({"concept": "blue"}, 404),
        ({"layer": "0"}, 404),
        ({"image": "nothing"}, 404),
        ({"path": str(home / "model.py")}, 403),
        ({"path": str(home / "root")}, 400),
    ):
        got, content, _ = client.ask("POST", "/api/concepts/map", {**good, "image": image, **wrong})
        assert got == status, content
        assert json.loads(content)["error"]["found"]


def test_another_model_gets_no_map(home: Path) -> None:
    from seewhy.studio.concept_maps_here import concept_here

    model = seewhy.load(f"{home / 'model.py'}:make", allow_code=True)
    with torch.no_grad():
        model.module[0].weight.mul_(2)
    for name in ("cav.json", "visual-tcav.json", "gallery.json"):
        with pytest.raises(seewhy.errors.BadInput, match="The file was made with"):
            concept_here(model, home / "root" / "photos" / "0.png", home / "root" / name, LAYER, "red")


def test_damaged_and_foreign_files_are_refused(client: Client, home: Path) -> None:
    broken = home / "root" / "broken"
    broken.mkdir()
    for name, content in (
        ("tcav.json", "{"),
        ("gallery.json", '{"channels": [], "about": {}}'),
        ("cav.json", '{"kind": "cav"}'),
        ("concepts.json", '{"concepts": [1], "layer": "3"}'),
    ):
        (broken / name).write_text(content)
        status, said, _ = client.ask("GET", f"/api/concepts/board?{urlencode({'path': broken / name})}")
        assert status == 400, said
    assert client.ask("GET", "/api/concepts")[0] == 200


def test_tensors_that_are_a_link_out_are_refused(client: Client, home: Path) -> None:
    folder = home / "root" / "linked"
    folder.mkdir()
    (folder / "cav.json").write_bytes((home / "root" / "cav.json").read_bytes())
    outside = home / "outside.safetensors"
    outside.write_bytes((home / "root" / "cav.safetensors").read_bytes())
    (folder / "cav.safetensors").symlink_to(outside)
    assert client.ask("GET", f"/api/concepts/board?{urlencode({'path': folder / 'cav.json'})}")[0] == 403
