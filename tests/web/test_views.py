"""Every view, light and dark, at several widths: photographed, and without a defect that axe-core knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from web.conftest import ARTEFACTS, start, stop
from web.material import make

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SCHEMES = ("light", "dark")
WIDTHS = {1280: 800, 1600: 1000, 2560: 1440}
IDLE = "() => !document.querySelector('[aria-busy=true], .skeleton') && !!document.querySelector('main *')"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("material") / "data")


@pytest.fixture(scope="module")
def studio(material: Path) -> Iterator[Any]:
    """A studio that may read the material; it stands in for the one without roots."""
    running = start("--root", str(material), "--run", str(material / "run"))
    yield running
    stop(running)


def places(material: Path) -> dict[str, str]:
    """Return the views and states to look at, by name."""
    run, found = material / "run", material / "found" / "visual-tcav.json"
    return {
        "saliency": "#/saliency?m=grad_cam,gradient",
        "saliency-six": "#/saliency?m=grad_cam,gradient,eigen_cam,hires_cam,input_x_gradient,rise",
        "saliency-swipe": "#/saliency?m=grad_cam,gradient&swipe=0.45",
        "saliency-twin": "#/saliency?m=grad_cam&twin=grad_cam",
        "saliency-curve": "#/saliency?m=grad_cam&curve=deletion",
        "saliency-signed": "#/saliency?m=input_x_gradient&show=map&region=0.1&pin=100,80",
        "saliency-unfit": "#/saliency?m=attention_rollout,no_such_method",
        "compare": "#/compare",
        "runs": "#/run",
        "run": f"#/run?v.run={run}",
        "run-cell": f"#/run?v.run={run}&v.runMethod=grad_cam&v.runMetric=deletion",
        "run-missing": f"#/run?v.run={material / 'nowhere'}",
        "concepts": "#/concepts",
        "concepts-found": f"#/concepts?v.concepts={found}",
    }


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_view_is_photographed_and_has_no_defect(
    studio: Any, browser: Browser, material: Path, defects: Any, scheme: str
) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    found: dict[str, list[str]] = {}
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce")
    context.set_default_timeout(120_000)
    for name, place in places(material).items():
        page = context.new_page()
        page.set_viewport_size({"width": 1600, "height": 1000})
        page.goto(studio.at(place))
        page.wait_for_function(IDLE)
        page.wait_for_timeout(400)
        found |= {name: lines} if (lines := defects(page)) else {}
        for width, height in WIDTHS.items() if scheme == "light" else [(1600, 1000)]:
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(200)
            page.screenshot(path=ARTEFACTS / f"{name}-{scheme}-{width}.png")
            if spilled := overflow(page):
                found.setdefault(name, []).append(f"at {width} pixels the page is {spilled} wide")
        page.close()
    context.close()
    assert found == {}, report(found)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_opens_has_no_defect(studio: Any, browser: Browser, defects: Any, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(60_000)
    page, found = context.new_page(), {}
    page.goto(studio.address)
    page.wait_for_function(IDLE)

    def look(name: str) -> None:
        page.wait_for_timeout(200)
        page.screenshot(path=ARTEFACTS / f"{name}-{scheme}.png")
        if lines := defects(page):
            found[name] = lines

    for tab in ("Look", "Export", "Method"):
        page.get_by_role("tab", name=tab).click()
        look(f"inspector-{tab.lower()}")
    page.keyboard.press("m")
    look("method-picker")
    page.keyboard.press("Escape")
    page.keyboard.press("l")
    look("layer-picker")
    page.keyboard.press("Escape")
    page.get_by_role("combobox", name=re.compile("another class")).fill("cat")
    look("class-search")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    look("keys")
    context.close()
    assert found == {}, report(found)


def overflow(page: Page) -> int:
    """Return the width of a page that is wider than its window, or 0."""
    wide, room = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    return wide if wide > room else 0


def report(found: dict[str, list[str]]) -> str:
    """Return the defects, one a line."""
    return "\n".join(f"{name}: {line}" for name, lines in found.items() for line in lines)
