"""A person at the studio: the whole story, looks that ask nobody, the keyboard alone."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load as load_safetensors

from seewhy.inputs.photos import demo_photos
from web.pages import CANVASES, add_panel, drop, finished, map_of, panel, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo that the studio has not seen: a portrait of the demo's cat."""
    with Image.open(demo_photos()["cat"]) as cat:
        cut = cat.convert("RGB").crop((90, 0, 330, 300))
    cut.save(tmp_path / "my cat.png")
    return tmp_path / "my cat.png"


@pytest.mark.parametrize(
    "opened",
    [{"permissions": ["clipboard-read", "clipboard-write"], "accept_downloads": True}],
    indirect=True,
)
def test_the_whole_story(studio: Any, opened: Any, photo: Path, tmp_path: Path) -> None:
    page, watch = opened.page, opened.watch
    page.goto(studio.address)
    finished(page, "Grad-CAM")

    # A photo is dropped; its second class is asked for.
    drop(page, photo)
    page.get_by_role("button", name="my cat").wait_for()
    finished(page, "Grad-CAM")
    classes = page.get_by_role("group", name=re.compile("five highest classes")).get_by_role("button")
    second = classes.nth(1)
    second.click()
    finished(page, "Grad-CAM")
    assert second.get_attribute("aria-pressed") == "true"

    # Three methods stand side by side; the dear one waits with its price.
    add_panel(page, "Gradient")
    add_panel(page, "RISE")
    rise = panel(page, "RISE")
    run = rise.get_by_role("button", name="Run", exact=True)
    run.wait_for()
    assert "pass" in rise.inner_text()
    finished(page, "Grad-CAM")
    for waiting in panel(page, "Gradient").get_by_role("button", name="Run", exact=True).all():
        waiting.click()
    finished(page, "Grad-CAM", "Gradient")
    boxes = [map_of(page, t).bounding_box() for t in ("Grad-CAM", "Gradient", "RISE")]
    assert len({round(b["y"]) for b in boxes}) == 1
    assert len({round(b["width"]) for b in boxes}) == 1

    # Pointing at the curve takes exactly the pixels of that step from the photo, and asks nobody.
    page.get_by_role("radio", name="Deletion").check(force=True)
    curve = page.get_by_role("slider", name="Deletion: step of the curve")
    curve.wait_for()
    page.wait_for_function(
        "() => document.querySelectorAll('[aria-label=Curves] .label:not(.baseline)').length === 2"
    )
    page.wait_for_timeout(500)
    asked, before = len(watch.api()), page.evaluate(CANVASES)
    box = curve.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
    panel(page, "Grad-CAM").get_by_text(re.compile(r"\d+ %.* removed")).wait_for()
    settle(page)
    assert page.evaluate(CANVASES)[0] != before[0]
    page.mouse.move(5, 5)
    settle(page)
    assert page.evaluate(CANVASES)[0] == before[0]
    assert len(watch.api()) == asked

    # Why this class rather than the first.
    first = re.match(r"[^,\d]+", classes.nth(0).inner_text())[0].strip()
    search = page.get_by_role("combobox", name=re.compile("^Contrast"))
    search.fill(first)
    page.get_by_role("option").first.click()
    page.get_by_text("rather than").first.wait_for()
    finished(page, "Grad-CAM")

    # RISE is stopped on its way.
    panel(page, "RISE").get_by_role("button", name="Run", exact=True).click()
    stop = panel(page, "RISE").get_by_role("button", name="Stop", exact=True)
    stop.click()
    panel(page, "RISE").get_by_role("button", name="Continue", exact=True).wait_for()
    finished(page, "RISE")
    steps = re.search(r"([\d,]+) of ([\d,]+) steps", panel(page, "RISE").inner_text())
    assert steps
    done, total = (int(s.replace(",", "")) for s in steps.groups())
    assert 0 < done < total

    # Its command, copied and run in a shell, makes the same map, bit for bit.
    panel(page, "RISE").get_by_role("button", name=re.compile("^Panel 3")).click()
    page.get_by_role("tab", name="Export").click()
    page.get_by_role("button", name="Copy Command").click()
    command = page.evaluate("() => navigator.clipboard.readText()")
    with page.expect_download() as download:
        page.get_by_role("button", name=".safetensors").click()
    shown = load_safetensors(Path(download.value.path()).read_bytes())
    made = made_by(command, tmp_path / "out")
    assert shown["values"].dtype == np.float32
    assert np.array_equal(shown["values"], made["values"])

    # The address shows the same again.
    page.mouse.move(5, 5)
    settle(page)
    address, seen = page.url, page.evaluate(CANVASES)
    page.reload()
    finished(page, "Grad-CAM", "RISE")
    for waiting in page.get_by_role("button", name="Run", exact=True).all():
        assert not waiting.is_visible()
    assert page.url == address
    page.wait_for_function(f"(seen) => JSON.stringify(({CANVASES})()) === JSON.stringify(seen)", arg=seen)


def made_by(command: str, out: Path) -> dict[str, np.ndarray]:
    """Run a copied command and return the tensors of the map that it wrote."""
    words = shlex.split(command)
    assert words[0] == "seewhy"
    told = subprocess.run(
        [sys.executable, "-m", *words, "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    found = list(out.rglob("*.safetensors"))
    assert len(found) == 1
    return load_safetensors(found[0].read_bytes())


def test_looks_ask_nobody(studio: Any, opened: Any) -> None:
    page, watch = opened.page, opened.watch
    page.goto(studio.at("#/saliency?m=grad_cam,gradient"))
    finished(page, "Grad-CAM", "Gradient")
    page.wait_for_timeout(1000)  # thumbnails and lists that are still on their way
    page.get_by_role("tab", name="Look").click()
    settle(page)
    asked = len(watch.requests)
    look = page.locator("#inspector")

    def changes(what: Callable[[], object]) -> None:
        before = page.evaluate(CANVASES)
        what()
        settle(page)
        assert page.evaluate(CANVASES) != before

    changes(lambda: look.get_by_role("slider", name=re.compile("Opacity")).press("PageDown"))
    changes(lambda: look.get_by_role("slider", name=re.compile("Scale ends")).press("Home"))
    changes(lambda: look.get_by_role("slider", name=re.compile("Outline")).press("PageUp"))
    changes(lambda: look.get_by_role("checkbox", name=re.compile("grey")).check())
    for name in ("Mask", "Contour", "Map", "Overlay"):
        changes(lambda name=name: look.get_by_text(name, exact=True).click())
    changes(lambda: look.get_by_text("Cells", exact=True).click())
    box = map_of(page, "Grad-CAM").bounding_box()
    x, y = box["x"] + box["width"] / 3, box["y"] + box["height"] / 3
    changes(lambda: page.mouse.move(x, y))  # the probe, in both panels
    changes(lambda: page.mouse.click(x, y))
    assert "pin=" in page.url
    changes(lambda: page.keyboard.press("z"))
    assert watch.requests[asked:] == []


def test_keyboard_alone(studio: Any, opened: Any) -> None:
    page = opened.page
    page.goto(studio.address)
    finished(page, "Grad-CAM")
    image = re.search(r"img=(\w+)", page.url)[1]
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    keys.wait_for()
    page.keyboard.press("Escape")
    keys.wait_for(state="hidden")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("(old) => !location.hash.includes(old)", arg=image)
    finished(page, "Grad-CAM")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => /[?&]y=\\d+/.test(location.hash)")
    finished(page, "Grad-CAM")
    page.keyboard.press("m")
    page.get_by_role("dialog", name=re.compile("^Method of panel 1")).wait_for()
    page.keyboard.type("hires")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    finished(page, "HiResCAM")
    page.keyboard.press("/")
    page.keyboard.type("teapot")
    page.keyboard.press("Enter")
    page.wait_for_function("() => /[?&]y=849/.test(location.hash)")
    finished(page, "HiResCAM")
    page.keyboard.press("Escape")
    opacity = page.url
    page.keyboard.press(",")
    page.wait_for_function("(old) => location.href !== old && /opacity=/.test(location.hash)", arg=opacity)
    page.keyboard.press("Control+z")
    page.wait_for_function("(old) => location.href === old", arg=opacity)
    for view, tab in (("compare", "Compare"), ("run", "Runs"), ("concepts", "Concepts")):
        page.get_by_role("tab", selected=True).first.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"() => location.hash.startsWith('#/{view}')")
        assert page.get_by_role("tab", name=tab).get_attribute("aria-selected") == "true"
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement !== document.body")


def test_a_wrong_token_opens_nothing(studio: Any, opened: Any) -> None:
    page, watch = opened.page, opened.watch
    watch.forgiven = re.compile("403|favicon")
    answer = page.goto(f"{studio.origin}/?token=wrong")
    assert answer.status == 403
    assert "no valid token" in page.inner_text("body")


def test_what_is_no_photo_is_refused_in_words(studio: Any, opened: Any, tmp_path: Path) -> None:
    page, watch = opened.page, opened.watch
    watch.forgiven = re.compile("status of 4")
    page.goto(studio.address)
    finished(page, "Grad-CAM")
    (tmp_path / "fake.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    drop(page, tmp_path / "fake.png")
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "fake.png" in alert.inner_text()
    finished(page, "Grad-CAM")
