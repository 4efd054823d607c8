"""The result: files bit for bit and whole or not at all, other sizes, comparison, notebook display."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image

from seewhy import captions
from seewhy.agreement import Agreement
from seewhy.attribution import Attribution
from seewhy.errors import BadInput, UnknownName, UnreadableInput


def provenance(n=2, **changed):
    inputs = [
        {
            "path": f"photos/cat {i}.png",
            "score": 8.31,
            "target": {"label": "Egyptian cat", "index": 285, "score": "logit"},
            "predictions": [{"label": "Egyptian cat", "index": 285, "probability": 0.38}],
        }
        for i in range(n)
    ]
    return {
        "model": "tiny",
        "weights_sha256": "0" * 16,
        "inputs": inputs,
        "method": "grad_cam",
        "signed": True,
        "parameters": {"layer": None},
        "layer": "blocks.3",
        "native": "layer grid",
        "seconds": 0.25,
        "passes": {"forward": 1, "backward": 1},
        "execution": {"seed": 0},
        "versions": {"seewhy": "0.1.0"},
        **changed,
    }


def attribution(n=2, size=(20, 30), channels=3, **changed):
    g = torch.Generator().manual_seed(0)
    values = torch.randn(n, *size, generator=g)
    native = torch.randn(n, *(max(1, s // 4) for s in size), generator=g)
    pixels = torch.randint(0, 256, (n, channels, *size), generator=g, dtype=torch.uint8)
    return Attribution(values, native, pixels, provenance(n, **changed))


def bits(t):
    return t.contiguous().flatten().view(torch.uint8).tolist()


def same(a, b):
    return (
        all(
            bits(x) == bits(y) and x.shape == y.shape
            for x, y in ((a.values, b.values), (a.native, b.native), (a.pixels, b.pixels))
        )
        and a.provenance == b.provenance
    )


ODD = {
    "plain": lambda a: a,
    "nan_payloads": lambda a: _with(a, values=_payloads(a.values)),
    "not_contiguous": lambda a: _with(a, values=a.values.transpose(1, 2), pixels=a.pixels.transpose(2, 3)),
    "one_tensor_twice": lambda a: _with(a, native=a.values),
    "one_tensor_twice_with_nan": lambda a: _with(a, values=(v := _payloads(a.values)), native=v),
    "overlapping_views": lambda a: _with(a, native=a.values[:, :5]),
    "expanded": lambda a: _with(a, values=torch.ones(1, 1, 30).expand(2, 20, 30)),
    "minus_zero": lambda a: _with(
        a,
        values=torch.zeros(2, 3, 3),
        native=-torch.zeros(2, 3, 3),
        pixels=torch.zeros(2, 3, 3, 3, dtype=torch.uint8),
    ),
}


def _with(a, **changed):
    return Attribution(
        **{"values": a.values, "native": a.native, "pixels": a.pixels, "provenance": a.provenance, **changed}
    )


def _payloads(values):
    odd = values.clone()
    odd.view(torch.int32)[0, 0, :4] = torch.tensor(
        [0x7FC00001, 0x7F800123, -0x3FFFED, 0x7F800000], dtype=torch.int32
    )
    assert odd.isnan().sum() == 3
    return odd


@pytest.mark.parametrize("kind", ODD)
def test_open_gives_back_every_bit(kind, tmp_path):
    a = ODD[kind](attribution())
    written = a.save(tmp_path / "deep" / "cat.v2")
    assert [p.name for p in written] == ["cat.v2.safetensors", "cat.v2.json"]
    for name in ("cat.v2", *(p.name for p in written)):
        assert same(Attribution.open(tmp_path / "deep" / name), a)


def test_planted_bug_equality_of_numbers_misses_a_sign():
    a = ODD["minus_zero"](attribution())
    assert torch.equal(a.values, a.native)  # what a comparison of numbers would store once
    assert not same(a, _with(a, native=a.values))


def test_save_takes_the_place_of_an_older_one(tmp_path):
    attribution(1).save(tmp_path / "cat")
    a = attribution(2)
    a.save(tmp_path / "cat")
    assert same(Attribution.open(tmp_path / "cat"), a)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cat.json", "cat.safetensors"]


@pytest.mark.parametrize("failing", ["cat.safetensors", "cat.json"])
@pytest.mark.parametrize("reason", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_save_that_breaks_off_leaves_nothing(failing, reason, tmp_path, monkeypatch):
    real = Path.replace

    def broken(self, target):
        if Path(target).name == failing:
            raise reason
        return real(self, target)

    monkeypatch.setattr(Path, "replace", broken)
    expected = BadInput if isinstance(reason, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        attribution().save(tmp_path / "cat")
    assert list(tmp_path.iterdir()) == []


def test_provenance_that_is_no_json_writes_nothing(tmp_path):
    with pytest.raises(TypeError):
        attribution(oops=object()).save(tmp_path / "cat")
    assert list(tmp_path.iterdir()) == []


def test_half_of_an_older_save_is_refused(tmp_path):
    attribution().save(tmp_path / "cat")
    attribution(size=(8, 8)).save(tmp_path / "dog")
    (tmp_path / "dog.safetensors").replace(tmp_path / "cat.safetensors")
    with pytest.raises(UnreadableInput, match="do not belong together"):
        Attribution.open(tmp_path / "cat")


def test_unwritable_places_are_bad_input(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "cat.json").mkdir()
    for path in (tmp_path / "file" / "cat", tmp_path / "cat", "", ".."):
        with pytest.raises(BadInput) as caught:
            attribution().save(path)
        assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cat.json", "file"]


@pytest.mark.parametrize(
    ("ending", "content", "says"),
    [
        ("json", None, "does not exist"),
        ("safetensors", None, "does not exist"),
        ("json", b"{", "damaged"),
        ("json", b"[]", "damaged"),
        ("json", b"{}", "damaged"),
        ("json", b"\xff\xfe", "damaged"),
        ("json", b'{"format": 99}', "another version"),
        ("safetensors", b"", "do not belong together"),
    ],
)
def test_damaged_files_are_unreadable(ending, content, says, tmp_path):
    attribution().save(tmp_path / "cat")
    file = tmp_path / f"cat.{ending}"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(UnreadableInput, match=says):
        Attribution.open(tmp_path / "cat")


def test_notes_are_json_that_others_can_read(tmp_path):
    _, notes = attribution().save(tmp_path / "cat")
    assert json.loads(notes.read_text())["inputs"][0]["target"]["label"] == "Egyptian cat"


def test_samples_are_attributions_of_one():
    a = attribution(3)
    assert [len(one) for one in a] == [1, 1, 1]
    assert a[-1].provenance["inputs"] == a.provenance["inputs"][2:]
    with pytest.raises(IndexError):
        a[3]


# -- other forms --------------------------------------------------------------------------------------------


def test_resize_keeps_a_ramp_a_ramp():
    a = attribution(1, (8, 8))
    ramp = torch.arange(8.0).expand(1, 8, 8)
    larger = _with(a, values=ramp).resize((16, 16))
    np.testing.assert_allclose(larger.values[0, 0, 1:-1], np.arange(0.25, 7.25, 0.5), atol=1e-6)
    assert larger.pixels.shape == (1, 3, 16, 16)
    assert larger.pixels.dtype == torch.uint8
    assert larger.provenance["resized_from"] == [8, 8]
    assert same(_with(a.resize((8, 8)), provenance=a.provenance), a)
    larger.overlay()


def test_resize_of_a_clip_and_refusals():
    assert attribution(1, (4, 8, 8)).resize((2, 4, 5)).pixels.shape == (1, 3, 2, 4, 5)
    for size in ((4, 4, 4), (0, 3), (5,)):
        with pytest.raises(BadInput, match="resize"):
            attribution(1, (8, 8)).resize(size)


def test_compare_is_scipys():
    g = torch.Generator().manual_seed(3)
    a, b = torch.randn(4, 9, 11, generator=g), torch.randn(4, 9, 11, generator=g).round(decimals=1)
    b[1] = a[1].exp()
    b[2] = -2 * a[2]
    found = Agreement.of(a, b)
    for i in range(4):
        x, y = a[i].flatten().double().numpy(), b[i].flatten().double().numpy()
        assert found.spearman[i] == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-6)
        assert found.pearson[i] == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-6)
    assert found.spearman[1:3].tolist() == pytest.approx([1, -1])
    assert found.pearson[1] < 0.9


def test_planted_bug_ranks_without_ties_are_not_scipys():
    a, b = torch.tensor([[1.0, 1, 1, 2, 3, 3]]), torch.tensor([[3.0, 2, 1, 1, 5, 4]])
    careless = Agreement.of(a.argsort(1).argsort(1).float(), b.argsort(1).argsort(1).float()).pearson
    right = scipy.stats.spearmanr(a[0].numpy(), b[0].numpy()).statistic
    assert Agreement.of(a, b).spearman.item() == pytest.approx(right, abs=1e-6)
    assert abs(careless.item() - right) > 0.01


def test_correlation_of_what_has_none_is_nan():
    ramp = torch.arange(6.0)[None]
    for other in (
        torch.ones(1, 6),
        torch.zeros(1, 6),
        torch.full((1, 6), torch.nan),
        torch.full((1, 6), 1e38),
    ):
        assert Agreement.of(ramp, other).spearman.isnan().all()
        assert Agreement.of(other, ramp).pearson.isnan().all()
    assert Agreement.of(ramp * 1e37, ramp * 1e-40).pearson.item() == pytest.approx(1, abs=1e-5)


def test_compare_resizes_and_refuses():
    a = attribution(2, (16, 16))
    assert a.compare(a).spearman.tolist() == pytest.approx([1, 1])
    assert a.compare(a.resize((8, 8))).spearman.min() > 0.3
    with pytest.raises(BadInput, match="same inputs"):
        a.compare(attribution(1, (16, 16)))


# -- pictures -----------------------------------------------------------------------------------------------


def test_overlay_of_each_sample():
    a = attribution(2)
    first, second, last = a.overlay(), a.overlay(1), a.overlay(-1)
    assert isinstance(first, Image.Image)
    assert np.asarray(second).tolist() == np.asarray(last).tolist() != np.asarray(first).tolist()
    assert a.overlay(bar=False, upscale=1).size == (30, 20)
    assert a.overlay(caption=True).height > a.overlay().height
    with pytest.raises(BadInput, match="There are 2"):
        a.overlay(2)
    with pytest.raises(UnknownName, match="opacity"):
        a.overlay(opacty=0.3)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (20, 30), (5, 12, 12)])
@pytest.mark.parametrize("signed", [True, False])
def test_everything_has_a_display(channels, size, signed):
    a = attribution(1, size, channels, signed=signed)
    assert a._repr_png_().startswith(b"\x89PNG")
    assert "<img" in a._repr_html_()


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"img", "br", "meta"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_notebook_display_is_static_and_says_what_it_is():
    page = Page(attribution(2)._repr_html_())
    assert page.open == []
    assert {t for t, _ in page.tags} <= {"div", "figure", "img", "figcaption", "b", "br"}
    assert (
        page.text.count(
            "tiny · grad_cam · Egyptian cat (logit 8.31, p 38 %) · layer blocks.3 · "
            "1 forward + 1 backward passes · 0.2 s for 2 inputs"
        )
        == 2
    )
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert all(
        re.match(
            r"photos/cat \d\.png: Peak at x \d+, y \d+ \(.* quarter\); \d+ % of the mass in 10 %", i["alt"]
        )
        for i in images
    )
    assert base64.b64decode(images[0]["src"].partition(",")[2]).startswith(b"\x89PNG")


def test_notebook_display_shows_at_most_eight():
    page = Page(attribution(10)._repr_html_())
    assert sum(tag == "img" for tag, _ in page.tags) == 8
    assert "and 2 more" in page.text


def test_notebook_display_escapes():
    a = attribution(1)
    hostile = '"><script>alert(1)</script>'
    a.provenance["inputs"][0] |= {"path": hostile, "target": {"label": hostile, "index": 1, "score": hostile}}
    page = Page(_with(a, provenance={**a.provenance, "model": hostile, "layer": hostile})._repr_html_())
    assert "script" not in {t for t, _ in page.tags}
    assert page.text.count("<script>alert(1)</script>") >= 3


def test_the_caption_says_what_the_method_knows_of_its_own_error() -> None:
    notes = {
        "model": "net",
        "method": "rise",
        "seconds": 1.0,
        "inputs": [
            {"target": {"label": "cat"}, "reliability": {"split_half_spearman": 0.784, "other": None}}
        ],
    }
    assert captions.caption(notes).endswith("1.0 s · split half spearman 0.784")
    assert captions.reliability({"inputs": [{}]}) == ""
