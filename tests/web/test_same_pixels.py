"""Studio, report and widget show the pixels that Python draws: read from their canvases in a Chromium."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from seewhy.attribution import Attribution
from seewhy.bundle import built
from seewhy.report import Entry, write_report
from seewhy.show import Look, Scale
from seewhy.show.colour import Array
from seewhy.show.drawing import painted
from seewhy.show.packed import pack, unpack
from web.conftest import Opened, Running, needed

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
SIZE = (96, 80)
LOOKS: list[dict[str, Any]] = [
    {},
    {"mode": "map", "cmap": "viridis"},
    {"mode": "contour"},
    {"mode": "mask", "grey": True},
    {"opacity": 0.4, "fade": 0.6},
]
CANVAS = """async ([index, width]) => {
  const stage = document.querySelectorAll('.stage')[index]
  stage.style.width = `${width}px`
  const canvas = stage.querySelector('canvas')
  const frame = () => new Promise(requestAnimationFrame)
  for (let i = 0; i < 200 && canvas.width !== width; i++) await frame()
  await frame(); await frame()
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
  return [canvas.height, canvas.width, btoa(Array.from(data, (b) => String.fromCharCode(b)).join(''))]
}"""
EXPLAINED = """async (image) => {
  const token = new URLSearchParams(location.search).get('token')
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }
  const body = JSON.stringify({ panel: 'same pixels', model: '0', image, method: 'grad_cam' })
  const told = await fetch('/api/explain', { method: 'POST', headers, body })
  const lines = (await told.text()).split('\\n').filter((line) => line.startsWith('data:'))
  const events = lines.map((line) => JSON.parse(line.slice(5)))
  const seen = await fetch(`/api/models/0/predictions/${image}`, { headers })
  return [events.filter((e) => e.event === 'map').at(-1), (await seen.json()).seen]
}"""
RENDER = """async ([code, state, buffers]) => {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0))
  for (const [path, text] of buffers) {
    let at = state
    for (const key of path.slice(0, -1)) at = at[key]
    at[path.at(-1)] = new DataView(bytes(text).buffer)
  }
  const heard = {}
  window.told = []
  window.model = {
    get: (name) => state[name],
    set: (name, value) => { state[name] = value; window.told.push([name, value]) },
    save_changes: () => {},
    on: (name, f) => { (heard[name] ??= []).push(f) },
    off: (name, f) => { heard[name] = (heard[name] ?? []).filter((g) => g !== f) },
    change: (name, value) => { state[name] = value; for (const f of heard['change:' + name] ?? []) f() },
  }
  const module = await import(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })))
  const el = document.body.appendChild(document.createElement('div'))
  window.forget = await module.default.render({ model: window.model, el })
  return el.querySelectorAll('canvas').length
}"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    if built("widget/widget.js") is None or built("report/report.js") is None:
        needed("the front end is not built: run `make web`")
    context = browser.new_context(viewport={"width": 1300, "height": 900}, device_scale_factor=1)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda m: complaints.append(m.text) if m.type in {"error", "warning"} else None)
    opened.on("pageerror", lambda e: complaints.append(str(e)))
    asked: list[str] = []
    opened.on("request", lambda r: asked.append(r.url))
    yield opened
    context.close()
    assert [c for c in complaints if "willReadFrequently" not in c] == []  # this file reads canvases
    assert [url for url in asked if not url.startswith(("data:", "blob:", "file:"))] == []


def attribution(signed: bool, name: str = "cat.png") -> Attribution:
    """Return a smooth map with a hole in it over a photo of noise."""
    g = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(torch.linspace(0, 1, SIZE[0]), torch.linspace(0, 1, SIZE[1]), indexing="ij")
    values = torch.sin(7 * x + 2) * torch.cos(5 * y) + 0.05 * torch.randn(SIZE, generator=g)
    values = values if signed else values.clamp(min=0)
    values[10:14, 20:30] = float("nan")
    pixels = torch.randint(0, 256, (1, 3, *SIZE), generator=g, dtype=torch.uint8)
    notes = {
        "model": "tiny", "method": "gradient" if signed else "grad_cam", "signed": signed, "seconds": 0.5,
        "passes": {"forward": 1}, "parameters": {}, "input_size": [3, *SIZE],
        "inputs": [{"path": name, "target": {"label": "cat", "score": "logit"}, "score": 1.0}],
    }  # fmt: skip
    return Attribution(values[None], values[None, ::8, ::8].contiguous(), pixels, notes)


def expected(a: Attribution, look: dict[str, Any]) -> Array:
    """Return what Python draws of the numbers that a page gets."""
    values = a.values[0].numpy()
    values = unpack(*pack(values), values.shape)
    scale = Scale.of(values, a.signed)
    return np.asarray(painted(a.photo(), values, scale, Look(**look, upscale=1).settled(values, scale)))


def canvas(page: Page, index: int, across: int = SIZE[1]) -> Array:
    """Return the pixels of the index-th panel at the photo's own width."""
    height, width, data = page.evaluate(CANVAS, [index, across])
    rgba = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


def render(page: Page, a: Attribution, **look: Any) -> None:
    """Show the widget of an attribution, with a stand-in for what anywidget gives to a page."""
    from ipywidgets.widgets.widget import _remove_buffers

    view = a.widget(**look)
    traits = {name: getattr(view, name) for name in ("samples", "sample", "look", "threshold", "pinned")}
    state, paths, buffers = _remove_buffers(traits)
    sent = [[p, base64.b64encode(bytes(b)).decode()] for p, b in zip(paths, buffers, strict=True)]
    page.set_content("<!doctype html><meta charset=utf-8><body>")
    assert page.evaluate(RENDER, [view._esm, state, sent]) == 2


@pytest.fixture
def report(page: Page, tmp_path: Path) -> Callable[..., None]:
    """A function that opens the report of some maps of one photo."""

    def show(*maps: Attribution) -> None:
        write_report(tmp_path / "r.html", [Entry(maps)], interactive=True)
        page.goto((tmp_path / "r.html").as_uri())
        page.locator("#input-0").scroll_into_view_if_needed()
        page.locator("script[data-state=live]").wait_for(state="attached")

    return show


def test_report(page: Page, report: Callable[..., None]) -> None:
    unsigned, signed = attribution(False), attribution(True)
    report(unsigned, signed)
    for i, a in ((1, unsigned), (2, signed)):
        np.testing.assert_array_equal(canvas(page, i), expected(a, {}))
    assert not page.locator(".maps").is_visible()
    np.testing.assert_array_equal(canvas(page, 0), unsigned.photo())


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_widget(page: Page, look: dict[str, Any], signed: bool) -> None:
    a = attribution(signed)
    render(page, a, **look)
    np.testing.assert_array_equal(canvas(page, 1), expected(a, look))


def test_studio(opened: Opened, studio: Running) -> None:
    page = opened.page
    page.goto(studio.address)
    page.locator(".stage[aria-label*='Grad-CAM'][aria-busy=false] canvas").wait_for()
    image = page.evaluate("new URLSearchParams(location.hash.split('?')[1]).get('img')")
    told, seen = page.evaluate(EXPLAINED, image)
    photo = np.asarray(Image.open(io.BytesIO(base64.b64decode(seen.partition(",")[2]))).convert("RGB"))
    packed = told["values"]
    values = unpack(packed["factor"], base64.b64decode(packed["data"]), tuple(packed["shape"]))
    scale = Scale.of(values, told["signed"])
    drawn = painted(photo, values, scale, Look(upscale=1).settled(values, scale))
    np.testing.assert_array_equal(canvas(page, 0, photo.shape[1]), np.asarray(drawn))


def test_another_look_is_another_picture(page: Page) -> None:
    a = attribution(True)
    render(page, a)
    before = canvas(page, 1)
    page.evaluate("model.change('look', {opacity: 0.2})")
    after = canvas(page, 1)
    assert (after != before).any()
    np.testing.assert_array_equal(after, expected(a, {"opacity": 0.2}))


def test_what_is_pinned_and_chosen_reaches_python(page: Page) -> None:
    render(page, attribution(True))
    box = page.locator(".stage").nth(1).bounding_box()
    assert box
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    page.get_by_text("Adjust the maps").click()
    page.get_by_role("radio", name="Mask").check(force=True)
    page.wait_for_function("told.some(([name]) => name === 'look')")
    told = dict(page.evaluate("told"))
    assert told["look"] == {"mode": "mask"}
    assert abs(told["pinned"]["x"] - SIZE[1] / 4) <= 1
    assert abs(told["pinned"]["y"] - SIZE[0] / 2) <= 1
    page.evaluate("forget()")
    assert page.locator("canvas").count() == 0


def test_probe_by_keyboard(page: Page, report: Callable[..., None]) -> None:
    a = attribution(True)
    report(a)
    panel = page.get_by_role("application").nth(1)
    panel.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    x, y = SIZE[1] // 2 + 1, SIZE[0] // 2 + 10
    assert f"x {x}, y {y}: " in panel.locator("[aria-live]").inner_text()
    page.keyboard.press("Enter")
    assert page.get_by_role("button", name="Unpin").is_visible()
    page.keyboard.press("Escape")
    assert page.get_by_role("button", name="Unpin").count() == 0


def test_the_wheel_scrolls_the_page_unless_shift_is_held(page: Page, report: Callable[..., None]) -> None:
    report(attribution(True))
    panel = page.get_by_role("application").nth(1)
    panel.hover()
    start = page.evaluate("scrollY")
    page.mouse.wheel(0, 60)
    page.wait_for_timeout(500)  # scrolling may be smooth
    assert page.evaluate("scrollY") > start
    there, before = page.evaluate("scrollY"), canvas(page, 1)
    panel.hover()
    page.keyboard.down("Shift")
    page.mouse.wheel(0, -200)
    page.get_by_role("button", name="Fit").wait_for()
    page.keyboard.up("Shift")
    assert page.evaluate("scrollY") == there
    assert (canvas(page, 1) != before).any()


def test_the_report_without_scripts(browser: Browser, tmp_path: Path) -> None:
    if built("report/report.js") is None:
        needed("the front end is not built: run `make web`")
    write_report(tmp_path / "r.html", [Entry([attribution(True)])], interactive=True)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "r.html").as_uri())
    assert page.locator(".maps img").count() == 2
    assert page.locator(".maps").is_visible()
    context.close()


def test_every_look_is_compared() -> None:
    assert {f.name for f in fields(Look)} - {key for look in LOOKS for key in look} == {"upscale", "smooth"}
    assert json.loads(json.dumps(LOOKS)) == LOOKS
