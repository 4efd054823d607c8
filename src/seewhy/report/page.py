"""The report: one HTML file that needs no network and no other file.

Its maps are pictures. An interactive report also holds their numbers and one script that paints them, let in
by its hash alone; where scripts do not run the pictures stay.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from seewhy import captions
from seewhy.errors import BadInput
from seewhy.files import write_atomically
from seewhy.report import live, sections
from seewhy.report.entry import Entry
from seewhy.report.numbers import Plot, means, plots

LARGE = 30_000_000
"""Bytes above which a report is slow to open and to send."""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
READING = (
    "A map says which places of the input moved the score that is named with it, by the method's own "
    "definition. It does not say why, and a plausible map can be wrong: compare methods, and "
)
MEASURED, UNMEASURED = "compare each with the baselines below.", "measure them before you trust one."


def write_report(
    path: str | Path,
    entries: Sequence[Entry],
    *,
    table: Any = None,
    curves: Sequence[Plot] = (),
    title: str = "Where the model looked",
    command: str = "",
    interactive: bool = False,
) -> Path:
    """Write the report.

    Parameters
    ----------
    path
        Of the HTML file; its folder is made where it is missing.
    entries
        The inputs with their explanations, at least one.
    table
        Results of metrics: see `seewhy.report.numbers.means`.
    curves
        One `Plot` a metric; by default those of `table`, where it has curves.
    title
        Heading of the page.
    command
        What to type to get the same results.
    interactive
        Whether the maps can be probed and their look changed; needs the front end, which wheels contain, and
        about 130 kB more for a map of 224 x 224.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    BadInput
        When there is nothing to report, the file cannot be written, or the front end was not built.
    """
    path = Path(path)
    text = render(
        entries, table=table, curves=curves, title=title, command=command, interactive=interactive
    ).encode()
    if len(text) > LARGE:
        warnings.warn(
            f"{path.name} has {len(text) / 1e6:.0f} MB; report fewer inputs at a time", stacklevel=2
        )
    try:
        write_atomically(path, text)
    except OSError as error:
        raise BadInput(
            f"Asked to write the report {path}",
            f"It cannot be written: {error.strerror or error}",
            "Choose another file",
        ) from error
    return path


def render(
    entries: Sequence[Entry],
    *,
    table: Any = None,
    curves: Sequence[Plot] = (),
    title: str,
    command: str = "",
    interactive: bool = False,
) -> str:
    """Return the report as HTML text; parameters as in `write_report`."""
    single = [e.attributions and all(len(a) == 1 for a in e.attributions) for e in entries]
    if not entries or not all(single):
        raise BadInput(
            "Asked for a report",
            "Found no input, or one without attributions of one sample each",
            "Give an Entry for each input, with `attribution[i]` of each method",
        )
    lines, curves = means(table), curves or plots(table)
    parts: list[tuple[str, str, str]] = [("predictions", "Predictions", sections.predictions(entries))]
    for i, entry in enumerate(entries):
        aim = escape(captions.target(entry.attributions[0].provenance))
        about = f'<p class="lead">Explained: {aim}</p>'
        maps = sections.maps(entry) + (live.numbers(entry) if interactive else "")
        parts.append((f"input-{i}", entry.name, about + maps + sections.agreement(entry)))
    if lines or curves:
        shown = (sections.faithfulness(lines) if lines else "") + (sections.plots(curves) if curves else "")
        parts.append(("faithfulness", "Can the maps be believed?", shown))
    parts.append(("methods", "Methods", sections.methods(entries)))
    again = f'<h3>Command</h3><pre tabindex="0"><code>{escape(command)}</code></pre>' if command else ""
    parts.append(
        ("reproduce", "To reproduce", again + "<h3>Environment</h3>" + sections.environment(entries))
    )
    contents = "".join(f'<li><a href="#{key}">{escape(name)}</a></li>' for key, name, _ in parts)
    body = "".join(
        f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(name)}</h2>{html}</section>'
        for key, name, html in parts
    )
    code, source = live.script() if interactive else ("", "")
    policy = f"{POLICY}; script-src {source}" if source else POLICY
    notes = entries[0].attributions[0].provenance
    count = f"{len(entries)} input{'s' if len(entries) > 1 else ''}"
    made = f"Made with SeeWhy {notes.get('versions', {}).get('seewhy', '')}".strip()
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{_style()}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<div class="page">
<header>
<h1>{escape(title)}</h1>
<p class="lead">{escape(str(notes["model"]))} · {count}</p>
<p>{escape(READING + (MEASURED if lines or curves else UNMEASURED))}</p>
</header>
<nav aria-label="Contents"><ul>{contents}</ul></nav>
<main id="content">
{body}
</main>
<footer>{escape(made)}. This page is one file and loads nothing.</footer>
</div>
{code}</body>
</html>
"""


def _style() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")
