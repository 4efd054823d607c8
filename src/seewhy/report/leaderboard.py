"""The leaderboard of a study: one HTML file that needs no network and no other file.

Everything is drawn from the table's numbers and written into the page; of many samples only histograms and
quantiles go there. The one script sorts the table of standings and is let in by its hash alone.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path

from seewhy.report import leaderboard_parts as parts
from seewhy.report.leaderboard_data import Board, Study


def page(study: Study, command: str = "") -> str:
    """Return the leaderboard as HTML text.

    Parameters
    ----------
    study
        A finished benchmark: see `seewhy.runs.open_study`.
    command
        What to type to get it again; by default the benchmark of the plan in the study's folder.

    Raises
    ------
    BadInput
        When a kept map is damaged beyond reading.
    """
    board = Board(study)
    sections = [
        ("standings", "Standings", parts.standings(board)),
        ("reliability", "Can the metrics be believed?", parts.reliability(board)),
    ]
    if shown := parts.curves(board):
        sections.append(("curves", "Curves", shown))
    sections.append(("distributions", "Distributions", parts.spread(board)))
    sections.append(("worst", "Worst samples", parts.worst(board)))
    if study.failures:
        sections.append(("failures", f"Failures ({len(study.failures):,})", parts.failures(board)))
    again = command or f"seewhy benchmark {study.folder / 'plan.toml'}"
    sections.append(("reproduce", "To reproduce", parts.reproduce(board, again)))
    contents = "".join(f'<li><a href="#{key}">{escape(name)}</a></li>' for key, name, _ in sections)
    body = "".join(
        f'<section aria-labelledby="{key}"><h2 id="{key}">{escape(name)}</h2>{html}</section>'
        for key, name, html in sections
    )
    real = [m for m, baseline in board.methods.items() if not baseline]
    lead = " · ".join(
        (
            str(study.plan.model),
            _count(len(board.samples), "sample"),
            _count(len(real), "method"),
            _count(len(board.metrics), "metric"),
        )
    )
    script = _beside("leaderboard.js")
    version = study.facts.get("versions", {}).get("seewhy", "") if isinstance(study.facts, dict) else ""
    made = f"Made with SeeWhy {version}".strip()
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Leaderboard: {escape(str(study.plan.model))} on {escape(str(study.plan.data))}</title>
<style>
{_beside("style.css")}{_beside("leaderboard.css")}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<div class="page">
<header>
<h1>Which explanation to believe</h1>
<p class="lead">{escape(lead)} · data {escape(str(study.plan.data))}</p>
{parts.findings(board)}
</header>
<nav aria-label="Contents"><ul>{contents}</ul></nav>
<main id="content">
{body}
<p id="sorted" class="sr" role="status"></p>
</main>
<footer>{escape(made)}. This page is one file and loads nothing.</footer>
</div>
<script>{script}</script>
</body>
</html>
"""


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
