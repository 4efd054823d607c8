"""The interactive report: its numbers are the maps', one script is let in by its hash, its pictures stay."""

import base64
import hashlib
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from report.test_page import HOSTILE, Page, attribution
from seewhy import bundle
from seewhy.attribution import Attribution
from seewhy.errors import BadInput
from seewhy.report import Entry, render
from seewhy.report.live import possible
from seewhy.show.packed import unpack

CODE = 'const a = "</script><script>", b = `<!-- ${1 < 2} -->`;\n'


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A script that would end too early if it stood in the page as it is."""
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.js").write_text(CODE)
    monkeypatch.setattr(bundle, "BUNDLE", tmp_path)


def page(*entries, interactive=True):
    return render(
        entries or [Entry([attribution(), attribution("occlusion")])], title="R", interactive=interactive
    )


def blocks(text):
    return re.findall(r'<script type="application/json" data-exhibit>(.*?)</script>', text, re.S)


def test_the_policy_lets_in_the_one_script_only(built):
    text = page()
    (code,) = re.findall(r'<script type="module">(.*?)</script>', text, re.S)
    assert "</script" not in code
    assert "<!--" not in code
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    (policy,) = [a["content"] for t, a in Page(text).tags if t == "meta" and "http-equiv" in a]
    assert (
        policy
        == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    assert [t for t, _ in Page(text).tags].count("script") == 2


def test_numbers_are_those_of_the_maps(built):
    maps = [attribution(), attribution("occlusion")]
    (block,) = blocks(page(Entry(maps)))
    told = json.loads(block)
    photo = Image.open(io.BytesIO(base64.b64decode(told["photo"].partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(photo), maps[0].photo())
    assert [m["title"] for m in told["maps"]] == ["Grad-CAM", "Occlusion"]
    for shown, a in zip(told["maps"], maps, strict=True):
        packed = shown["values"]
        values = unpack(packed["factor"], base64.b64decode(packed["data"]), tuple(packed["shape"]))
        np.testing.assert_allclose(values, a.values[0].double(), rtol=2**-11, atol=1e-6)
        assert shown["signed"] is a.signed
        assert shown["text"] == a.text_twin()


def test_pictures_stay_for_pages_without_scripts(built):
    live, static = page(), page(interactive=False)
    assert "<script" not in static
    pictures = re.findall(r'<div class="maps">.*?</div></section>', static, re.S)
    figure = re.compile(r"<figure>.*?</figure>", re.S)
    assert figure.findall(live) == figure.findall(static)
    assert pictures or figure.findall(static)


def test_hostile_names_stay_text(built):
    (block,) = blocks(text := page(Entry([attribution(name=HOSTILE, label=HOSTILE)], title=HOSTILE)))
    assert "<" not in block
    assert json.loads(block)["name"] == HOSTILE
    assert [t for t, _ in Page(text).tags].count("script") == 2


def test_clips_stay_pictures(built):
    clip = attribution()
    frames = torch.zeros(1, 2, 8, 8)
    moving = Attribution(
        frames,
        frames,
        torch.zeros(1, 3, 2, 8, 8, dtype=torch.uint8),
        {**clip.provenance, "input_size": [3, 2, 8, 8]},
    )
    assert blocks(page(Entry([moving]))) == []


def test_without_a_front_end(tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "BUNDLE", tmp_path)
    assert not possible()
    with pytest.raises(BadInput, match="make web"):
        page()
