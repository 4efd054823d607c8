"""What a panel looks like can be taken away: over the photo in all its detail, and as SVG with its words."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from web.pages import finished

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("opened", [{"accept_downloads": True}], indirect=True)
def test_a_panel_is_saved_as_it_looks(studio: Any, opened: Any) -> None:
    page = opened.page
    page.goto(studio.at("#/saliency?m=grad_cam&region=0.1"))
    finished(page, "Grad-CAM")
    page.get_by_role("tab", name="Export").click()

    def saved(name: str) -> bytes:
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        return Path(download.value.path()).read_bytes()

    with Image.open(io.BytesIO(saved("PNG at photo size"))) as picture:
        picture.load()
    assert picture.size == (448, 448), "the demo's cat has 300 rows: twice what the model sees"
    root = ElementTree.fromstring(saved("SVG"))
    said = [text.text for text in root.iter(f"{SVG}text")]
    assert said[0] == "Grad-CAM, cat"
    assert any("logit of Egyptian cat" in str(line) for line in said)
    (image,) = root.iter(f"{SVG}image")
    with Image.open(io.BytesIO(base64.b64decode(image.attrib["href"].partition(",")[2]))) as inside:
        assert inside.convert("RGB").tobytes() == picture.convert("RGB").tobytes()
    assert len(list(root.iter(f"{SVG}path"))) == 2, "the region, dark and light"
