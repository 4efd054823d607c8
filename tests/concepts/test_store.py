"""The feature store: what comes back is what the layers put out, whatever was interrupted or renamed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import networks
from seewhy.concepts.collected import Collecting
from seewhy.concepts.collecting import collect
from seewhy.concepts.store import Features, FeatureStore, digest_of, keep
from seewhy.errors import BadInput, Cancelled, MissingExtra
from seewhy.execution import Execution
from seewhy.models.layers import survey
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing

LAYERS = ("2", "5")


def photos(folder: Path, count: int = 7) -> list[Path]:
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(3)
    paths = [folder / f"{i}.png" for i in range(count)]
    for path in paths:
        Image.fromarray(draw.integers(0, 255, (20, 20, 3), np.uint8)).save(path)
    return paths


def model(**options: object) -> Model:
    return Model(networks.cnn(), preprocess=Preprocessing((16, 16), **options))


def true(m: Model, names: list[Path], layer: str) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([m.answer(m.prepare(n).tensor, [layer]).activations[layer] for n in names])


def holds(store: FeatureStore, m: Model, names: list[Path]) -> None:
    for layer in LAYERS:
        found = store.layer(m, layer).get([digest_of(n) for n in names])
        torch.testing.assert_close(found, true(m, names, layer), rtol=1e-3, atol=1e-6)


def test_what_was_kept_comes_back_in_the_order_asked_for(tmp_path: Path) -> None:
    names, store, m = photos(tmp_path / "photos"), FeatureStore(tmp_path / "store"), model()
    assert keep(store, m, names, LAYERS, Execution(batch_size=3)) == {}
    holds(store, m, names)
    holds(store, m, [names[5], names[0], names[5]])
    assert len(store.layer(m, "5")) == 7


def test_renamed_copied_and_twice_named_photos_need_no_pass(tmp_path: Path) -> None:
    names, store = photos(tmp_path / "photos"), FeatureStore(tmp_path / "store")
    net = networks.Recorded(networks.cnn())
    m = Model(net, preprocess=Preprocessing((16, 16)))
    survey(m, (3, 16, 16))
    net.shown.clear()
    copy = tmp_path / "copy.png"
    shutil.copy(names[2], copy)
    keep(store, m, [*names, copy], ("net.5",), Execution(batch_size=3))
    keep(store, m, [copy, *names], ("net.5",))
    assert sum(len(x) for x in net.shown) == len(names)
    keep(store, m, names[:2], ("net.5", "net.2"))
    assert sum(len(x) for x in net.shown) == len(names) + 2
    assert len(store.layer(m, "net.5")) == 7


def test_features_of_other_weights_layers_and_preprocessing_never_mix(tmp_path: Path) -> None:
    names, store = photos(tmp_path / "photos", 2), FeatureStore(tmp_path / "store")
    keep(store, model(), names, ("5",))
    other = model()
    with torch.no_grad():
        other.module[0].bias[0] += 1
    for m, layer in ((other, "5"), (model(), "2"), (model(interpolation="nearest"), "5")):
        assert len(store.layer(m, layer)) == 0
    assert len(store.layer(model(), "5")) == 2


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    names, store, m = photos(tmp_path / "photos"), FeatureStore(tmp_path / "store"), model()
    with pytest.raises(Cancelled):
        keep(store, m, names, LAYERS, Execution(batch_size=2, cancelled=lambda: True))
    assert len(store.layer(m, "5")) == 2
    keep(store, m, names, LAYERS, Execution(batch_size=2))
    holds(store, m, names)


def test_rows_without_a_whole_line_do_not_count(tmp_path: Path) -> None:
    """As a kill leaves them: rows in the array whose lines are missing or cut short."""
    names, store, m = photos(tmp_path / "photos"), FeatureStore(tmp_path / "store"), model()
    keep(store, m, names, LAYERS)
    for layer in LAYERS:
        file = store.layer(m, layer).folder / "rows.txt"
        file.write_text(file.read_text()[: 3 * 65 + 20])
        assert len(store.layer(m, layer)) == 3
    keep(store, m, names[::-1], LAYERS)
    holds(store, m, names)


def test_that_check_notices_a_torn_line_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trusting(self: Features) -> list[tuple[str, int]]:
        path = self.folder / "rows.txt"
        lines = path.read_text().split("\n") if path.is_file() else []
        return [(line, i) for i, line in enumerate(lines) if line]

    monkeypatch.setattr(Features, "_listed", trusting)
    with pytest.raises(AssertionError):
        test_rows_without_a_whole_line_do_not_count(tmp_path)


def test_galleries_keep_what_passes_by(tmp_path: Path) -> None:
    names, store, m = photos(tmp_path / "photos"), FeatureStore(tmp_path / "store"), model()
    collect(m, names, Collecting(LAYERS), features=store)
    holds(store, m, names)


def test_what_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    features = Features(tmp_path)
    with pytest.raises(BadInput, match="half precision"):
        features.add(["a"], torch.full((1, 2, 2, 2), 7e4))
    features.add(["a"], torch.ones(1, 2, 2, 2))
    with pytest.raises(BadInput, match="Prepare all photos at one size"):
        features.add(["b"], torch.ones(1, 2, 3, 3))
    with pytest.raises(BadInput, match="1 of 2 photos are not there"):
        features.get(["a", "b"])
    store, missing = FeatureStore(tmp_path / "store"), tmp_path / "gone.png"
    failures = keep(store, model(), [missing, *photos(tmp_path / "photos", 2)], ("5",))
    assert list(failures) == [str(missing)]
    assert len(store.layer(model(), "5")) == 2


def test_without_zarr_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingExtra, match=r"pip install 'seewhy\[concepts\]'"):
        FeatureStore(tmp_path)
