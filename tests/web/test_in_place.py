"""Two maps in one place, under a divider or by turns; a run that goes on after its page was loaded again."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from web.pages import CANVASES, finished, map_of, panel, settle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def seen(page: Page) -> np.ndarray[Any, Any]:
    """Return the pixels in the place that the two pictures share, without the names written on them."""
    page.mouse.move(5, 5)
    settle(page)
    box = map_of(page, "Grad-CAM").bounding_box()
    clip = {"x": box["x"], "y": box["y"] + 30, "width": box["width"], "height": box["height"] - 30}
    with Image.open(io.BytesIO(page.screenshot(clip=clip))) as image:
        return np.asarray(image.convert("RGB"), np.int16)


def test_a_divider_shows_one_map_left_of_it_and_the_other_right(studio: Any, opened: Any) -> None:
    page, watch = opened.page, opened.watch
    page.goto(studio.at("#/saliency?m=grad_cam,gradient"))
    finished(page, "Grad-CAM", "Gradient")
    page.wait_for_timeout(1000)  # thumbnails that are still on their way
    asked = len(watch.requests)
    page.keyboard.press("d")
    divider = page.get_by_role("slider", name="Divider between Grad-CAM and Gradient")
    divider.wait_for()
    assert "swipe=0.5" in page.url
    divider.press("End")
    left = seen(page)
    divider.press("Home")
    right = seen(page)
    assert np.abs(left - right).mean() > 2

    # By the pointer: what lies left of it is the first map, what lies right of it the second.
    box = map_of(page, "Grad-CAM").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.4 * box["width"], y, steps=4)
    page.mouse.up()
    share = float(re.search(r"swipe=([\d.]+)", page.url)[1])
    assert 0.35 < share < 0.45
    both, wide = seen(page), left.shape[1]
    cut = round(share * wide)
    assert np.array_equal(both[:, : cut - 24], left[:, : cut - 24])
    assert np.array_equal(both[:, cut + 24 :], right[:, cut + 24 :])

    # By the keyboard, and by the held key all of the other.
    divider.press("ArrowRight")
    page.wait_for_function("(old) => Number(/swipe=([\\d.]+)/.exec(location.hash)[1]) > old", arg=share)
    page.evaluate("() => document.activeElement.blur()")
    page.keyboard.down("f")
    settle(page)
    assert np.array_equal(seen(page)[:, : wide - 40], left[:, : wide - 40])
    page.keyboard.up("f")
    address = page.url
    assert watch.requests[asked:] == []
    page.reload()
    divider.wait_for()
    assert page.url == address
    page.keyboard.press("d")
    divider.wait_for(state="detached")
    assert "swipe" not in page.url


def test_the_other_map_flickers_in_the_place_of_the_active_one(studio: Any, opened: Any) -> None:
    page = opened.page
    page.goto(studio.at("#/saliency?m=grad_cam,gradient"))
    finished(page, "Grad-CAM", "Gradient")
    page.mouse.move(5, 5)
    settle(page)
    first, second = page.evaluate(CANVASES)
    assert first != second
    page.keyboard.down("f")
    settle(page)
    assert page.evaluate(CANVASES) == [second, second]
    assert "Gradient" in panel(page, "Grad-CAM").inner_text()
    page.keyboard.up("f")
    settle(page)
    assert page.evaluate(CANVASES) == [first, second]


def test_a_comparison_is_there_again_after_a_reload(studio: Any, opened: Any) -> None:
    page, watch = opened.page, opened.watch
    page.goto(studio.at("#/compare?methods=grad_cam,gradient&metrics=deletion"))
    page.get_by_role("button", name="coffee").click()  # this photo alone
    compare = page.get_by_role("button", name="Compare", exact=True)
    compare.click()
    page.get_by_role("button", name="Compare again").wait_for(timeout=300_000)
    scores = page.get_by_role("table").first.inner_text()
    assert re.search(r"\d\.\d", scores)
    asked = len([r for r in watch.requests if r == "POST /api/compare"])
    page.reload()
    page.get_by_role("button", name="Compare again").wait_for()
    page.get_by_role("region", name="Maps").wait_for()
    assert page.get_by_role("table").first.inner_text() == scores
    assert len([r for r in watch.requests if r == "POST /api/compare"]) == asked + 1
    assert page.get_by_role("progressbar", name="Comparison").count() == 0


def test_a_stopped_run_goes_on_after_its_address_was_opened_again(studio: Any, opened: Any) -> None:
    page = opened.page
    bodies: list[dict[str, Any]] = []
    page.on("request", lambda r: bodies.append(json.loads(r.post_data)) if "/api/explain" in r.url else None)
    page.goto(studio.at("#/saliency?m=rise&p.rise.masks=640&seed=11"))
    rise = panel(page, "RISE")

    def steps() -> int:
        found = re.search(r"([\d,]+) of 640 steps", rise.inner_text())
        assert found
        return int(found[1])

    rise.get_by_role("button", name="Run", exact=True).click()
    rise.get_by_role("button", name="Stop", exact=True).click()
    onward = rise.get_by_role("button", name="Continue", exact=True)
    onward.wait_for()
    finished(page, "RISE")
    done = steps()
    assert 0 < done < 640
    page.reload()
    onward.wait_for()
    finished(page, "RISE")
    assert steps() == done
    bodies.clear()
    onward.click()
    page.wait_for_function("() => !location.hash.includes('n.rise')")
    rise.get_by_text(re.compile("^640 steps")).wait_for(timeout=300_000)
    finished(page, "RISE")
    (asked,) = bodies
    assert asked["parameters"] == {"masks": 640}
    assert asked["resume"]
