"""What tests do on the studio's page, and how they know that it has settled."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

QUIET = """() => document.querySelectorAll('[role=application]').length > 0
  && document.querySelectorAll('[role=application][aria-busy=true], [aria-busy=true]').length === 0"""
CANVASES = "() => [...document.querySelectorAll('[role=application] canvas')].map((c) => c.toDataURL())"


def panel(page: Page, title: str) -> Locator:
    """Return the panel of a method."""
    return page.get_by_role("region", name=re.compile(f"^{re.escape(title)},"))


def map_of(page: Page, title: str) -> Locator:
    """Return the picture in the panel of a method."""
    return panel(page, title).get_by_role("application")


def finished(page: Page, *titles: str) -> None:
    """Wait until the maps of these methods are done: each says what it shows, and nothing is busy."""
    for title in titles:
        said = map_of(page, title).locator("p").first
        page.wait_for_function("e => /\\d %/.test(e.textContent)", arg=said.element_handle())
    page.wait_for_function(QUIET)


def drop(page: Page, path: Path) -> None:
    """Drop a file on the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    page.evaluate(
        """([name, data]) => {
          const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), moved = new DataTransfer()
          moved.items.add(new File([bytes], name, {type: 'image/png'}))
          for (const kind of ['dragover', 'drop'])
            window.dispatchEvent(new DragEvent(kind, {dataTransfer: moved, bubbles: true, cancelable: true}))
        }""",
        [path.name, data],
    )


def add_panel(page: Page, title: str) -> None:
    """Put a method into a new panel."""
    page.get_by_role("button", name="Add a panel").click()
    sheet = page.get_by_role("dialog", name="Add a panel")
    sheet.get_by_role("searchbox").fill(title)
    sheet.get_by_role("button", name=re.compile(f"^{re.escape(title)}")).first.click()
    panel(page, title).wait_for()


def settle(page: Page) -> None:
    """Let the page paint what it has."""
    page.evaluate("() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
