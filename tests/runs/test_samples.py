"""Benchmarks on data that know classes and places: the class asked for, and the mask cut as the photo is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seewhy.errors import BadInput, DoesNotFit
from seewhy.metrics.evaluation import evaluate
from seewhy.models.loading import load
from seewhy.runs.here_engine import Here
from seewhy.runs.plan import Plan
from seewhy.runs.run import benchmark


@pytest.fixture
def known(plan: Callable[..., Plan], photos: Path, tmp_path: Path) -> Callable[..., Plan]:
    """Plans on two of the photos, 24 x 20: a tabby in one, a rocket and a cloud in the other."""
    entries = [(0, 1, [0, 0, 12, 20]), (1, 2, [6, 5, 12, 10]), (1, 3, [0, 0, 24, 4])]
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 24} for i in range(2)],
        "categories": [{"id": 1, "name": "Tabby"}, {"id": 2, "name": "rocket"}, {"id": 3, "name": "cloud"}],
        "annotations": [{"image_id": i, "category_id": c, "bbox": box} for i, c, box in entries],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    usual = {
        "data": f"coco:{tmp_path / 'coco.json'}?images={photos}",
        "methods": "grad_cam",
        "metrics": "pointing_game?tolerance=2,energy_pointing_game",
        "target": "truth",
        "keep_maps": "all",
    }
    return lambda **keys: plan(**{**usual, **keys})


def test_each_samples_own_class_is_explained_and_looked_for(
    known: Callable[..., Plan], photos: Path, tmp_path: Path
) -> None:
    study = benchmark(known(), tmp_path / "out", engine=Here(), allow_code=True)
    assert study.facts["skipped"] == {"cloud": 1}
    assert study.facts["samples"] == 2
    model = load(known().model, allow_code=True)
    places = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    places[0, ..., :8] = True
    places[1, 0, 4:12, 4:12] = True  # 5 to 15 of 20 rows and 6 to 18 of 24 columns, squashed to 16 x 16
    for i, (label, place) in enumerate(zip(("tabby", "rocket"), places, strict=True)):
        sample = f"{i}.png ({'Tabby' if i == 0 else 'rocket'})"
        kept = study.maps(sample, "grad_cam")
        assert kept.provenance["inputs"][0]["target"]["label"] == label
        photo = Image.open(photos / f"{i}.png")
        for truth, same in ((place, True), (place.roll(5, -1), False)):  # a planted shift is seen
            table = evaluate(model, [photo], kept, "energy_pointing_game", truth=truth, precision="fp32")
            expected = {row.method: row.value for row in table}
            found = {
                r.method: r.value
                for r in study.table
                if (r.sample, r.metric) == (sample, "energy_pointing_game")
            }
            assert (found == pytest.approx(expected, abs=1e-6)) == same


def test_maps_of_other_classes_are_not_held_against_the_place(
    known: Callable[..., Plan], tmp_path: Path
) -> None:
    with pytest.raises(DoesNotFit, match=r'energy_pointing_game: .* give the target "truth", or "top 1"'):
        benchmark(known(target=""), tmp_path / "out", engine=Here(), allow_code=True)
    study = benchmark(known(target="top 1"), tmp_path / "top", engine=Here(), allow_code=True)
    assert (study.facts["samples"], study.facts["skipped"]) == (3, {})
    data = known().data
    study = benchmark(known(data=f"{data}&unknown=top"), tmp_path / "all", engine=Here(), allow_code=True)
    assert study.facts["samples"] == 3
    with pytest.raises(BadInput, match="no class of the model: cloud"):
        benchmark(known(data=f"{data}&unknown=refuse"), tmp_path / "no", engine=Here(), allow_code=True)


def test_a_place_that_the_model_does_not_see_is_a_row_with_its_error(
    known: Callable[..., Plan], photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "masks").mkdir()
    for i in range(5):
        mask = np.zeros((20, 24), dtype=np.uint8)
        mask[:, :1] = mask[5, 12] = 1 if i else 0
        mask[:, 0] = 1
        Image.fromarray(mask).save(tmp_path / "masks" / f"{i}.png")
    plan = known(
        model=f"{known().model}?fit=crop&resize=20", data=f"{photos}?masks={tmp_path / 'masks'}", target=""
    )
    study = benchmark(plan, tmp_path / "out", engine=Here(), allow_code=True)
    assert {failure.sample for failure in study.failures} == {"0.png"}
    assert "None of the object is in the part of the photo" in study.failures[0].message
    values = [r.value for r in study.table if r.sample != "0.png"]
    assert not np.isnan(values).any()
