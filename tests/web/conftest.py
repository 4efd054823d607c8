"""A real studio on the demo photos, and a real Chromium that watches what its page does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

ROOT = Path(__file__).parents[2]
ARTEFACTS = ROOT / "test-artefacts"
LONG = 60_000
"""Milliseconds to wait for what a busy machine computes. Nothing here measures time."""


def needed(what: str) -> None:
    """Fail in CI, where everything must be there; skip elsewhere."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; CI tests the studio in a browser", pytrace=False)
    pytest.skip(what)


@dataclass
class Running:
    """A studio: where it listens and what it printed."""

    process: subprocess.Popen[str]
    address: str
    said: list[str]
    reader: threading.Thread

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.netloc}"

    def at(self, place: str) -> str:
        """Return the address of a place in the page, such as "#/compare"."""
        return f"{self.address.split('#')[0]}{place}"


def start(*words: str) -> Running:
    """Start `seewhy studio` on a free port and wait until it has printed its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "seewhy", "studio", "--no-browser", "--port", "0", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "2", "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=[\w-]+", line)
        if found:
            # Somebody must go on reading, or the server blocks on a full pipe.
            reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
            reader.start()
            return Running(process, found[0], said, reader)
    raise AssertionError(f"seewhy studio ended with {process.wait()}:\n{''.join(said)}")


def stop(studio: Running) -> None:
    """End a studio that `start` started."""
    studio.process.terminate()
    try:
        studio.process.wait(20)
    except subprocess.TimeoutExpired:
        studio.process.kill()
        studio.process.wait()
    studio.reader.join()
    if studio.process.stdout:
        studio.process.stdout.close()


@pytest.fixture(scope="session")
def studio() -> Iterator[Running]:
    if not (ROOT / "src/seewhy/studio/bundle/studio/index.html").exists():
        needed("the page is not built: run `make web`")
    running = start()
    yield running
    stop(running)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        needed("no Chromium on this machine: install the package chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@dataclass
class Watch:
    """What a page asked for and complained of."""

    origin: str
    requests: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    forgiven: re.Pattern[str] | None = None
    """Complaints that a test provokes."""

    def asked(self, request: Request) -> None:
        """Note a request."""
        if request.url.startswith(("data:", "blob:")):
            return
        if not request.url.startswith(self.origin + "/"):
            self.outside.append(request.url)
        self.requests.append(f"{request.method} {urlsplit(request.url).path}")

    def heard(self, message: ConsoleMessage) -> None:
        """Note an error or warning of the console."""
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def api(self) -> list[str]:
        """Return the requests that the server had to answer from its model or files."""
        return [r for r in self.requests if "/api/" in r]

    def check(self) -> None:
        """No request may leave the machine, and the console must be silent."""
        assert self.outside == []
        assert [c for c in self.complaints if not (self.forgiven and self.forgiven.search(c))] == []


@dataclass
class Opened:
    """A page and its watch."""

    page: Page
    watch: Watch


@pytest.fixture
def opened(studio: Running, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """A fresh page, not yet on any address; parametrised with options of Playwright's contexts."""
    options: dict[str, Any] = getattr(request, "param", {})
    context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **options})
    context.set_default_timeout(LONG)
    page, watch = context.new_page(), Watch(studio.origin)
    page.on("request", watch.asked)
    page.on("console", watch.heard)
    page.on("pageerror", lambda error: watch.complaints.append(str(error)))
    yield Opened(page, watch)
    if getattr(request.node, "failed_call", False):
        ARTEFACTS.mkdir(exist_ok=True)
        name = re.sub(r"[^\w-]+", "-", request.node.name)
        page.screenshot(path=ARTEFACTS / f"failed-{name}.png")
    context.close()
    watch.check()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Remember that a test failed, so that its page is photographed."""
    report = yield
    if report.when == "call" and report.failed:
        item.failed_call = True  # type: ignore[attr-defined]
    return report


@pytest.fixture(scope="session")
def axe() -> str:
    """The text of axe-core, which finds defects of accessibility."""
    path = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        needed("axe-core is not installed: run `make web`")
    return path.read_text()


@pytest.fixture
def defects(axe: str) -> Any:
    """A function from a page to what axe-core finds wrong with it, one line each."""

    def found(page: Page) -> list[str]:
        page.evaluate(axe)
        result = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{v['id']}: {v['help']}: {node['target']} {node['html'][:160]} {node.get('failureSummary', '')}"
            for v in result["violations"]
            for node in v["nodes"]
        ]

    return found
