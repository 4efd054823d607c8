"""How fast the leaderboard of 10,000 samples opens: `python -m benchmarks.leaderboard [--samples N]`.

Writes the page of a made-up study (three methods and the baselines, three metrics) and opens it in a headless
Chromium, five times: bytes, seconds to make it, milliseconds until all of it is laid out. --shots writes
pictures of it, light and dark, 1280 and 1920 pixels wide.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from seewhy.attribution import Attribution
from seewhy.metrics.table import MeanCurve, Row, Table
from seewhy.perturb.counters import normal, uniform
from seewhy.report.leaderboard import page
from seewhy.types import Json


@dataclass
class InMemory:
    """A study without a folder: what `seewhy.report.leaderboard.page` reads, given instead of opened."""

    table: Table
    plan: Any
    costs: dict[str, Any] = field(default_factory=dict)
    failures: Sequence[Any] = ()
    curves: Sequence[MeanCurve] = ()
    facts: Json = field(default_factory=dict)
    kept_maps: dict[tuple[str, str], Attribution] = field(default_factory=dict)
    folder: Path = Path("study")

    def kept(self) -> Iterator[tuple[str, str]]:
        """Yield (sample, method) of every map."""
        yield from self.kept_maps

    def maps(self, sample: str, method: str) -> Attribution:
        """Return one map."""
        return self.kept_maps[sample, method]


def plan(model: str, data: str, methods: dict[str, str], metrics: dict[str, str]) -> Any:
    """Return what the page reads of a plan; methods and metrics are labels and names."""

    def choices(named: dict[str, str]) -> list[Any]:
        return [SimpleNamespace(label=label, name=name) for label, name in named.items()]

    def to_toml() -> str:
        listed = {"model": model, "data": data, "methods": list(methods), "metrics": list(metrics)}
        return "\n".join(f"{key} = {json.dumps(value)}" for key, value in listed.items()) + "\n"

    return SimpleNamespace(
        model=model, data=data, methods=choices(methods), metrics=choices(metrics), to_toml=to_toml
    )


def made_up(samples: int) -> InMemory:
    """Return a study whose numbers are drawn: skill of the method, ease of the sample, noise."""
    skill = {"grad_cam": 1.0, "rise": 0.8, "gradient": 0.3, "random": 0.0, "centre": 0.5, "edges": 0.1}
    metrics = {"insertion": True, "deletion": False, "average_drop": False}
    ease = normal(1, torch.arange(samples), 1)[:, 0]
    rows: list[Row] = []
    columns: dict[tuple[str, str], list[float]] = {}
    for i, (method, worth) in enumerate(skill.items()):
        for j, (metric, higher) in enumerate(metrics.items()):
            noise = normal(10 * i + j, torch.arange(samples), 1)[:, 0]
            good = torch.sigmoid(0.8 * ease + 0.7 * noise + (worth if higher else 0.3 * worth))
            columns[method, metric] = (good if higher else 1 - good).tolist()
    gone = uniform(3, torch.arange(samples), 1)[:, 0] < 0.01
    for i in range(samples):
        for (method, metric), values in columns.items():
            value = float("nan") if bool(gone[i]) and method == "rise" else values[i]
            rows.append(Row(f"photo-{i:05d}.jpg", method, metric, value, method in list(skill)[3:]))
    at = tuple(k / 32 for k in range(33))
    curves = [
        MeanCurve(m, k, at, tuple((a if k == "insertion" else 1 - a) ** (1 + w) for a in at), b.baseline)
        for m, w in skill.items()
        for k in ("insertion", "deletion")
        for b in [next(r for r in rows[:18] if r.method == m)]
    ]
    costs = {
        m: SimpleNamespace(seconds=s, forward=f, backward=b)
        for m, s, f, b in (("grad_cam", 0.04, 1, 1), ("rise", 31.0, 2000, 0), ("gradient", 0.09, 1, 1))
    }
    failed = [
        SimpleNamespace(sample=f"photo-{i:05d}.jpg", method="rise", metric="", message="The map is constant")
        for i in range(samples)
        if bool(gone[i])
    ]
    names = {m: m for m in list(skill)[:3]}
    made = plan("made-up", f"{samples} numbers drawn with a seed", names, {m: m for m in metrics})
    return InMemory(Table(tuple(rows), metrics), made, costs, failed, curves)


TIMED = """<script>
addEventListener("load", () => {
  const tall = document.documentElement.getBoundingClientRect().height;  // asks for the layout of everything
  document.title = "laid out " + performance.now().toFixed(1) + ", " + tall.toFixed(0);
});
</script></body>"""


def opened(browser: str, html: str, folder: Path) -> float:
    """Return the milliseconds from navigation until the whole page was laid out."""
    file = folder / "timed.html"
    # The clock is let past the page's policy; nothing else changes.
    file.write_text(
        re.sub(r"script-src 'sha256-[^']*'", "script-src 'unsafe-inline'", html).replace("</body>", TIMED)
    )
    dumped = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu",
         "--dump-dom", file.as_uri()], capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    found = re.search(r"<title>laid out ([\d.]+)", dumped)
    if found is None:
        raise SystemExit("The page did not load.")
    return float(found[1])


def shoot(browser: str, file: Path, folder: Path) -> None:
    """Write pictures of a page, light and dark."""
    for dark in (False, True):
        for width in (1280, 1920):
            shot = folder / f"{file.stem}-{'dark' if dark else 'light'}-{width}.png"
            scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
            subprocess.run(
                [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *scheme,
                 f"--window-size={width},6000", f"--screenshot={shot}", file.resolve().as_uri()],
                capture_output=True, check=True, timeout=120,
            )  # fmt: skip
            print(shot)


def main() -> int:
    """Make the page, open it, print what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--page", type=Path, help="another page to open instead")
    parser.add_argument("--shots", type=Path, help="folder for pictures")
    arguments = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        print("A headless browser is needed: apt-get install chromium", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as temporary:
        file = arguments.page
        if file is None:
            study, started = made_up(arguments.samples), time.perf_counter()
            html = page(study)
            print(f"made in {time.perf_counter() - started:.1f} s")
            file = Path(temporary) / "leaderboard.html"
            file.write_text(html, encoding="utf-8")
        html = file.read_text(encoding="utf-8")
        times = [opened(browser, html, Path(temporary)) for _ in range(5)]
        print(f"{len(html.encode()):,} bytes; laid out after {statistics.median(times):.0f} ms "
              f"({min(times):.0f} to {max(times):.0f})")  # fmt: skip
        if arguments.shots is not None:
            arguments.shots.mkdir(parents=True, exist_ok=True)
            shoot(browser, file, arguments.shots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
