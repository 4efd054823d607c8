"""How the studio feels, measured on the real page in a real browser: `python -m benchmarks.studio_speed`.

    python -m benchmarks.studio_speed                # three runs on the demo's first photo, medians
    python -m benchmarks.studio_speed --masks 4000   # a longer RISE

Starts `seewhy studio`, opens it in the system's Chromium through Playwright, and prints a markdown table:
from the printed address to the first page and the first Grad-CAM, from asking for RISE to its first map and
on to its last, and how often the page asked its server while every control of the look was used. Times are
read inside the page: a map counts when it has been painted.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# Notes when a map has arrived, and when the first picture after it is on the screen.
NOTES = """
window.__maps = []; window.__paints = []
const {fetch} = window, {putImageData} = CanvasRenderingContext2D.prototype
window.fetch = async (...words) => {
  const asked = performance.now(), answer = await fetch(...words)
  if (!String(words[0]).endsWith('/api/explain') || !answer.body) return answer
  const [mine, theirs] = answer.body.tee()
  const method = JSON.parse(words[1].body).method
  ;(async () => {
    const reader = mine.pipeThrough(new TextDecoderStream()).getReader()
    let rest = ''
    for (;;) {
      const {done, value} = await reader.read()
      if (done) return
      const blocks = (rest + value).split(/\\r?\\n\\r?\\n/)
      rest = blocks.pop()
      for (const block of blocks)
        if (block.includes('event: map')) window.__maps.push({method, asked, at: performance.now()})
    }
  })()
  return new Response(theirs, {status: answer.status, headers: answer.headers})
}
CanvasRenderingContext2D.prototype.putImageData = function (...words) {
  putImageData.apply(this, words)
  requestAnimationFrame(() => window.__paints.push(performance.now()))
}
"""
PAINTED = """(method) => {
  const one = window.__maps.find((m) => m.method === method)
  const at = one && window.__paints.find((p) => p >= one.at)
  return at ? {painted: at, asked: one.asked} : null
}"""
BUSY = "() => document.querySelectorAll('[role=application][aria-busy=true]').length === 0"


@contextmanager
def studio() -> Iterator[tuple[str, float, float]]:
    """Yield the address of a fresh studio, seconds until it was printed, and that moment."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "seewhy", "studio", "--no-browser"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+/\?token=[\w-]+", line):
                now = time.perf_counter()
                yield found[0], now - began, now
                break
        else:
            raise SystemExit("seewhy studio did not start: run it by hand to see why")
    finally:
        process.terminate()
        process.wait()


def measure(browser: Browser, masks: int) -> dict[str, float]:
    """Return the numbers of one studio."""
    with studio() as (address, starting, up):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(300_000)
        page.add_init_script(NOTES)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
        launched = time.perf_counter()
        page.goto(address, wait_until="domcontentloaded")
        page.wait_for_function("() => performance.getEntriesByName('first-contentful-paint').length > 0")
        first = (
            page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1e3
        )
        cam = page.wait_for_function(PAINTED, arg="grad_cam").json_value()["painted"] / 1e3
        page.wait_for_function(BUSY)
        opened = {
            "command to address": starting,
            "address to first page": launched - up + first,
            "first page to first Grad-CAM": cam - first,
        }
        page.evaluate(
            "(masks) => { location.hash = location.hash.replace(/[?].*/, '') "
            "+ `?m=rise&ran=rise&p.rise.masks=${masks}` }",
            masks,
        )
        rise = page.wait_for_function(PAINTED, arg="rise").json_value()
        page.wait_for_function(BUSY)
        times = page.evaluate("() => window.__maps.filter((m) => m.method === 'rise').map((m) => m.at)")
        lasted = (times[-1] - times[0]) / 1e3
        page.get_by_role("tab", name="Look").click()
        page.wait_for_timeout(1000)
        before = len(asked)
        looks = use_every_look(page)
        page.wait_for_timeout(500)
        page.close()
        return opened | {
            "RISE asked for to its first map": (rise["painted"] - rise["asked"]) / 1e3,
            "RISE asked for to its last map": (times[-1] - rise["asked"]) / 1e3,
            "refinements a second": (len(times) - 1) / lasted if lasted else float("nan"),
            "looks changed": looks,
            "requests for them": len(asked) - before,
        }


def use_every_look(page: Page) -> int:
    """Move every slider of the look and probe the map; return how many changes that were."""
    count = 0
    for slider in page.get_by_role("slider").all():
        if slider.is_visible() and slider.evaluate("e => e.matches('input[type=range]') && !e.disabled"):
            for key in ("ArrowRight", "ArrowRight", "PageDown"):
                slider.press(key)
                count += 1
    box = page.get_by_role("application").first.bounding_box()
    if box:
        for step in range(1, 20):
            page.mouse.move(box["x"] + box["width"] * step / 20, box["y"] + box["height"] / 2)
            count += 1
    return count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--masks", type=int, default=1000)
    options = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("No chromium on the PATH: install the package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        runs = [measure(browser, options.masks) for _ in range(options.repeats)]
        version = browser.version
        browser.close()
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"efficientnet-lite0, {options.masks} masks of RISE, {os.cpu_count()} cores, {load}, "
        f"Chromium {version}, Python {platform.python_version()}; median (range) of {options.repeats} runs.\n"
    )
    print("| | |\n|---|---|")
    for name in runs[0]:
        values = [run[name] for run in runs]
        whole = name in {"looks changed", "requests for them"}
        unit = "" if whole or "a second" in name else " s"
        digits = 0 if whole else 2
        spread = (
            f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if max(values) > min(values) else ""
        )
        print(f"| {name} | {statistics.median(values):.{digits}f}{unit}{spread} |")


if __name__ == "__main__":
    main()
