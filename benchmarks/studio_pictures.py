"""The pictures of docs/studio.md, taken of the real page: `python -m benchmarks.studio_pictures`."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from benchmarks.studio_speed import BUSY, studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

OUT = Path(__file__).parents[1] / "docs" / "images"
SIZE = {"width": 1440, "height": 1000}


def saliency(page: Page) -> None:
    """Three methods side by side, the curve pointed at after its first tenth."""
    page.evaluate(
        "() => { location.hash = '#/saliency?m=grad_cam,integrated_gradients,rise"
        "&p.rise.masks=600&p.integrated_gradients.steps=16&ran=rise,integrated_gradients&curve=deletion' }"
    )
    page.wait_for_function(
        "() => document.querySelectorAll('[aria-label=Curves] .label:not(.baseline)').length === 3"
    )
    page.wait_for_function(BUSY)


def compare(page: Page) -> None:
    """A finished comparison."""
    page.evaluate(
        "() => { location.hash = '#/compare?methods=grad_cam,gradient,eigen_cam,hires_cam"
        "&metrics=deletion,insertion' }"
    )
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_role("table").first.wait_for()
    page.wait_for_function("() => !document.querySelector('main progress, main [aria-busy=true]')")


def main() -> None:
    """Take and write them."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("No chromium on the PATH: install the package chromium")
    with studio() as (address, *_), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, scheme, show in (("studio", "light", saliency), ("studio-compare", "dark", compare)):
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            page.set_default_timeout(400_000)
            page.goto(address)
            page.get_by_role("application").first.wait_for()
            page.wait_for_function(BUSY)
            show(page)
            page.wait_for_timeout(1500)
            with Image.open(io.BytesIO(page.screenshot())) as taken:
                taken.convert("RGB").save(OUT / f"{name}.webp", quality=82, method=6)
            print(OUT / f"{name}.webp", (OUT / f"{name}.webp").stat().st_size)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
