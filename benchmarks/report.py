"""Results of contests as a markdown table and a plot."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

Row = dict[str, Any]

HEADER = (
    "| task | who | seconds (median) | range | passes/s | x floor | peak GiB |\n|---|---|---|---|---|---|---|"
)


def table(rows: list[Row]) -> str:
    """Return the rows as markdown."""
    lines = (
        f"| {r['task']} | {r['who']} | {r['seconds']:.3f} | {r['least']:.3f} to {r['most']:.3f} "
        f"| {r['passes_per_second']:,.0f} | {r['floor']:.2f} | {r['peak_gib']:.1f} |"
        for r in rows
    )
    return "\n".join([HEADER, *lines]) + "\n"


def plot(results: dict[str, list[Row]], title: str, file: Path) -> None:
    """Draw, for each model and task, the speed of everyone as a part of the floor's."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1,
        len(results),
        figsize=(7.2 * len(results), 1.2 + 0.27 * max(map(len, results.values()))),
        squeeze=False,
        constrained_layout=True,
    )
    lowest = 0.0
    for axis, (model, rows) in zip(axes[0], results.items(), strict=True):
        places, labels, at, last = [], [], 0.0, None
        for r in rows:
            if r["task"] != last:
                at += 1.1
                axis.text(0, at - 0.85, r["task"], fontsize=8, weight="bold", va="center")
                last = r["task"]
            ours, floor = r["who"].startswith("SeeWhy"), r["who"].startswith("floor")
            colour = "#1f6feb" if ours else "#c9ced6" if floor else "#d9822b"
            axis.barh(at, 1 / r["floor"], color=colour, height=0.8)
            axis.text(1 / r["floor"], at, f" {1 / r['floor']:.2f}", fontsize=7, va="center")
            places.append(at)
            labels.append(r["who"])
            at += 1
        axis.set_yticks(places, labels, fontsize=7)
        lowest = max(lowest, at)
        axis.axvline(1, color="#8b949e", linewidth=0.8, zorder=0)
        axis.set_xlim(0, 1.15 * max(1 / r["floor"] for r in rows))
        axis.set_xlabel("speed, as a part of the bare passes in the first line of each task")
        axis.set_title(model, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[0]:
        axis.set_ylim(lowest, -0.3)  # bars of one height, from the top
    figure.suptitle(textwrap.fill(title, 70 * len(results)), fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    plt.close(figure)
