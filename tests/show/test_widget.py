"""The notebook's widget: its traits carry numbers as buffers, and what cannot be shown is said plainly."""

import importlib.util

import numpy as np
import pytest
import torch
from ipywidgets.widgets.widget import _remove_buffers

from seewhy import bundle
from seewhy.attribution import Attribution
from seewhy.errors import BadInput, MissingExtra, UnknownName
from seewhy.show.packed import unpack


def attribution(n=2, channels=3, size=(12, 10), cells=(4, 5), signed=True):
    g = torch.Generator().manual_seed(1)
    notes = {
        "model": "tiny", "method": "grad_cam", "signed": signed, "seconds": 0.5, "passes": {"forward": 1},
        "inputs": [{"path": f"p{i}.png", "target": {"label": "cat", "score": "logit"}} for i in range(n)],
    }  # fmt: skip
    native = torch.randn(n, *cells, generator=g)
    pixels = torch.randint(0, 256, (n, channels, *size), generator=g, dtype=torch.uint8)
    return Attribution(None, native, pixels, notes)


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A front end of one line."""
    (tmp_path / "widget").mkdir()
    (tmp_path / "widget" / "widget.js").write_text("export default { render() {} }")
    monkeypatch.setattr(bundle, "BUNDLE", tmp_path)


def read(packed):
    return unpack(packed["factor"], bytes(packed["data"]), tuple(packed["shape"]))


def test_samples_carry_photo_map_and_cells(built):
    shown = attribution()
    view = shown.widget()
    assert view._esm == "export default { render() {} }"
    assert [s["name"] for s in view.samples] == ["p0.png", "p1.png"]
    for i, sample in enumerate(view.samples):
        values = shown.values[i].double().numpy()
        np.testing.assert_allclose(read(sample["values"]), values, rtol=2**-11, atol=1e-6)
        np.testing.assert_allclose(read(sample["native"]), shown.native[i].double(), rtol=2**-11, atol=1e-6)
        photo = np.frombuffer(sample["photo"], np.uint8).reshape(12, 10, 3)
        np.testing.assert_array_equal(photo, shown.photo(i))
        assert (sample["signed"], sample["unit"]) == (True, "score: logit")
        assert sample["text"] == shown.text_twin(i)


def test_arrays_travel_as_buffers(built):
    state, paths, buffers = _remove_buffers(attribution().widget().get_state())
    expected = {
        ("samples", i, *rest) for i in (0, 1) for rest in (("photo",), ("values", "data"), ("native", "data"))
    }
    assert {tuple(p) for p in paths} == expected
    assert sum(len(b) for b in buffers) == 2 * (12 * 10 * 3 + 2 * 12 * 10 + 2 * 4 * 5)
    assert "data" not in state["samples"][0]["values"]


def test_a_map_without_coarser_cells_has_none(built):
    (sample,) = attribution(1, cells=(12, 10)).widget().samples
    assert sample["native"] is None


def test_other_channels_are_grey(built):
    (sample,) = attribution(1, channels=2).widget().samples
    photo = np.frombuffer(sample["photo"], np.uint8).reshape(12, 10, 3)
    assert (photo == photo[..., :1]).all()
    two = attribution(1, channels=2).photo(0).astype(float).mean(-1)
    assert np.abs(photo[..., 0] - two).max() <= 0.5


def test_look_goes_along(built):
    assert attribution().widget(opacity=0.5, mode="contour").look == {"opacity": 0.5, "mode": "contour"}


@pytest.mark.parametrize("look", [{"opaque": 1}, {"mode": "maps"}, {"sign": "plus"}, {"cmap": "jet"}])
def test_a_look_that_does_not_exist(built, look):
    with pytest.raises(UnknownName):
        attribution().widget(**look)


@pytest.mark.parametrize("look", [{"opacity": 2}, {"clip": 0.2}, {"fade": 0}])
def test_a_look_out_of_range(built, look):
    with pytest.raises(BadInput, match="Give a number"):
        attribution().widget(**look)


def test_a_clip_is_refused(built):
    clip = Attribution(
        torch.zeros(1, 3, 8, 8),
        torch.zeros(1, 3, 8, 8),
        torch.zeros(1, 3, 3, 8, 8, dtype=torch.uint8),
        attribution(1).provenance,
    )
    with pytest.raises(BadInput, match="one frame at a time"):
        clip.widget()


def test_a_front_end_that_was_not_built(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "BUNDLE", tmp_path)
    with pytest.raises(BadInput, match="make web"):
        attribution().widget()


def test_without_anywidget(built, monkeypatch):
    from seewhy.show import widget

    widget._class.cache_clear()
    known = importlib.util.find_spec
    monkeypatch.setattr("seewhy.extras.find_spec", lambda name: None if name == "anywidget" else known(name))
    with pytest.raises(MissingExtra, match=r"seewhy\[notebook\]"):
        attribution().widget()
