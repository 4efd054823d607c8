"""The leaderboard of a benchmark: one HTML page that needs no network and no other file."""

from __future__ import annotations

from html import escape
from typing import Any


def page(study: Any) -> str:
    """Return the page of a study: the table with intervals, costs, failures, and the plan that repeats it.

    Parameters
    ----------
    study
        A `seewhy.runs.study.Study`.
    """
    costs = "".join(
        f"<tr><td>{escape(method)}</td><td>{c.seconds:.3f}</td><td>{c.forward:g}</td><td>{c.backward:g}</td></tr>"
        for method, c in study.costs.items()
    )
    failures = "".join(
        f"<tr><td>{escape(f.sample)}</td><td>{escape(f.method)}</td><td>{escape(f.metric)}</td>"
        f"<td>{escape(f.message)}</td></tr>"
        for f in study.failures[:1000]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Benchmark</title>'
        "<meta name='viewport' content='width=device-width'><style>body{font:16px/1.5 system-ui;margin:2rem}"
        "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:left;border-bottom:1px solid}"
        f"</style></head><body><h1>{escape(str(study.facts['model']))} on {escape(study.plan.data)}</h1>"
        f"{study.table._repr_html_()}<h2>Cost of one sample</h2><table><tr><th>method</th><th>seconds</th>"
        f"<th>forward</th><th>backward</th></tr>{costs}</table><h2>Failures</h2><table><tr><th>sample</th>"
        f"<th>method</th><th>metric</th><th>why</th></tr>{failures}</table><h2>Plan</h2>"
        f"<pre>{escape(study.plan.to_toml())}</pre></body></html>"
    )
