"""The sections of the leaderboard as HTML text. Whatever comes from outside is escaped here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from html import escape
from itertools import groupby

import numpy as np

from seewhy import captions
from seewhy.attribution import Attribution
from seewhy.metrics.meta.outcomes import RANDOM
from seewhy.metrics.meta.reliability import Estimate, Reliability
from seewhy.metrics.table import Summary
from seewhy.report.entry import title_of
from seewhy.report.leaderboard_data import Board, plain
from seewhy.report.leaderboard_plots import critical_differences, distributions, interval
from seewhy.report.sections import picture, score
from seewhy.show.colour import Scale
from seewhy.show.curves import Curve, plot
from seewhy.show.drawing import Look, painted, strip
from seewhy.show.words import number

WORST, THUMB, LISTED, LITTLE = 6, 176, 200, 0.3
"""Pictures a metric; their longer side in pixels; failures listed one by one; agreement of two samples below
which one alone says little."""
SYMBOL = {
    "tells methods apart": "✓",
    "tells methods from noise": "✓",
    "tells some apart": "≈",
    "prefers noise": "✕",
    "tells nothing apart": "?",
}


def called(board: Board, method: str) -> str:
    """Return how the page calls a method: its title, with what tells it from others of the same name."""
    if board.methods.get(method):
        return {"random": "Random map", "centre": "Centre", "edges": "Edges"}.get(method, plain(method))
    name = board.names.get(method, method)
    rest = method.removeprefix(name)
    known = method.startswith(name) and (not rest or rest.startswith(" "))
    return title_of(name) + rest if known else plain(method)


def findings(board: Board) -> str:
    """Return the verdicts in sentences: which metrics to believe, and which method they put first."""
    lines = []
    for metric, found in board.reliability.items():
        first = [
            m for m in board.ordered(metric) if not board.methods[m] and found.places.get(m, (2, 2))[0] == 1
        ]
        who = f" {found.shortage}" if found.shortage else ""
        if found.verdict.startswith("tells") and found.verdict != "tells nothing apart" and first:
            names = [escape(called(board, m)) for m in first]
            who = f" {names[0]} comes first." if len(names) == 1 else f" May be first: {', '.join(names)}."
        if found.verdict.startswith("tells") and found.verdict != "tells nothing apart":
            who += " A single sample says little about the order." if found.agreement.value < LITTLE else ""
        lines.append(
            f"<li>{_chip(found)} <b>{escape(plain(metric).capitalize())}</b> {found.verdict} on these "
            f"{found.samples:,} samples.{who}</li>"
        )
    if not lines:
        return "<p>Too few samples or maps to say which metric can be believed here.</p>"
    return f'<ul class="findings">{"".join(lines)}</ul>'


def _chip(found: Reliability) -> str:
    kind = found.verdict.replace(" ", "-")
    return f'<span class="chip {kind}" aria-hidden="true">{SYMBOL[found.verdict]}</span>'


def standings(board: Board) -> str:
    """Return the table of methods and metrics, sortable by every column."""
    metrics = board.metrics
    heads = [_head("Method", "", "text")]
    for i, metric in enumerate(metrics):
        arrow = "↑ higher is better" if board.higher(metric) else "↓ lower is better"
        found = board.reliability.get(metric)
        chip = f'{_chip(found)}<span class="sr">{found.verdict}</span>' if found else ""
        order = "up" if board.higher(metric) else "down"
        heads.append(_head(plain(metric), f"{arrow} {chip}", order, first=i == 0))
    heads += [_head("seconds", "↓ a sample", "down"), _head("passes", "forward / backward", "down")]
    reach = {metric: _reach(board, metric) for metric in metrics}
    body = []
    for method, baseline in board.methods.items():
        kind = ' class="baseline"' if baseline else ""
        name = escape(called(board, method)) + ("<small>baseline</small>" if baseline else "")
        cells = "".join(_cell(board, method, metric, reach[metric]) for metric in metrics)
        body.append(
            f'<tr{kind}><th scope="row" data-v="{escape(called(board, method))}">{name}</th>{cells}'
            f"{_cost(board, method)}</tr>"
        )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Standings">'
        '<table class="standings"><caption>Mean over the samples, its 95 % bootstrap interval, '
        "and the places that paired tests leave open (Wilcoxon signed rank, Holm over all pairs of a metric, "
        "5 %). A dashed line marks the random map. Sorted by the first metric; choose a column to sort by "
        f"it.</caption><thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _head(name: str, below: str, order: str, *, first: bool = False) -> str:
    sorted_by = f' aria-sort="{"descending" if order == "up" else "ascending"}"' if first else ""
    small = f"<small>{below}</small>" if below else ""
    kind = "" if order == "text" else ' class="num"'
    return (
        f'<th scope="col"{kind}{sorted_by}><button type="button" data-order="{order}">{escape(name)}'
        f'<span class="way" aria-hidden="true"></span></button>{small}</th>'
    )


def _reach(board: Board, metric: str) -> tuple[float, float]:
    cells = [c for (_, m), c in board.cells.items() if m == metric and c.mean is not None]
    ends = [v for c in cells for v in (c.mean, c.low, c.high) if v is not None and np.isfinite(v)]
    return (min(ends), max(ends)) if ends else (0.0, 1.0)


def _cell(board: Board, method: str, metric: str, reach: tuple[float, float]) -> str:
    cell = board.cells.get((method, metric))
    if cell is None or cell.mean is None:
        return '<td class="num" data-v="">undefined</td>'
    random = board.cells.get((RANDOM, metric))
    line = ""
    if np.isfinite(cell.mean):
        line = interval(cell.mean, cell.low, cell.high, reach, random.mean if random else None)
    found = board.reliability.get(metric)
    return (
        f'<td class="num" data-v="{cell.mean:.9g}"><span class="top">{_place(found, method)}'
        f'<span class="mean">{score(cell.mean)}</span></span>{line}'
        f"<small>{'<br>'.join(_remarks(cell, found, method))}</small></td>"
    )


def _place(found: Reliability | None, method: str) -> str:
    if found is None or method not in found.places:
        return ""
    best, worst = found.places[method]
    shown = f"place {best}" if best == worst else f"place {best} to {worst}"
    first = best == 1 and found.verdict != "tells nothing apart"
    return f'<small class="place{" first" if first else ""}">{shown}</small>'


def _remarks(cell: Summary, found: Reliability | None, method: str) -> list[str]:
    told = []
    if cell.low is not None and cell.high is not None:
        told.append(f"{score(cell.low)} to {score(cell.high)}")
    if found is not None and not cell.baseline and RANDOM in found.places and method in found.places:
        if method in found.below_random:
            told.append('<span class="bad">worse than random</span>')
        elif method not in found.above_random:
            told.append('<span class="within">not told from random</span>')
    if cell.undefined:
        told.append(f"{cell.undefined:,} undefined")
    return told


def _cost(board: Board, method: str) -> str:
    cost = board.study.costs.get(method)
    if cost is None:
        nothing = "–" if board.methods[method] else "n/a"
        value = 0 if board.methods[method] else ""
        return f'<td class="num" data-v="{value}">{nothing}</td>' * 2
    return (
        f'<td class="num" data-v="{cost.seconds:.6g}">{number(cost.seconds)} s</td>'
        f'<td class="num" data-v="{cost.forward + 2 * cost.backward:.6g}">{cost.forward:,.0f} / '
        f"{cost.backward:,.0f}</td>"
    )


def reliability(board: Board) -> str:
    """Return how far each metric can be believed: numbers, words and critical differences."""
    lines = []
    for metric, found in board.reliability.items():
        place = (
            "n/a" if found.random_place is None else f"{found.random_place.value:.1f} of {len(found.methods)}"
        )
        last = "n/a" if found.random_last is None else f"{100 * found.random_last:.0f} %"
        krippendorff = "n/a" if math.isnan(found.krippendorff) else f"{found.krippendorff:.2f}"
        lines.append(
            f'<tr><th scope="row">{escape(plain(metric))}</th><td>{_chip(found)} {found.verdict}</td>'
            f'<td class="num">{_estimate(found.alpha)}</td><td class="num">{_estimate(found.agreement)}</td>'
            f'<td class="num">{krippendorff}</td><td class="num">{found.repeatable:.2f}</td>'
            f'<td class="num">{place}<small>last on {last}</small></td>'
            f'<td class="why">{escape(" ".join(found.reasons(lambda m: called(board, m))))}</td></tr>'
        )
    missing = [m for m in board.metrics if m not in board.reliability]
    if not lines:
        return "<p>Too few samples or maps to say.</p>"
    note = f"<p>Too little to say about {escape(', '.join(map(plain, missing)))}.</p>" if missing else ""
    heads = ("Metric", "Verdict", "α", "agreement", "Krippendorff", "repeatable", "random's place", "Why")
    kinds = ("", "", "num", "num", "num", "num", "num", "")
    head = "".join(
        f'<th scope="col"{f" class={k}" if k else ""}>{h}</th>' for h, k in zip(heads, kinds, strict=True)
    )
    diagrams = "".join(
        f"<figure>{_titled(plain(metric))}{_diagram(board, found)}</figure>"
        for metric, found in board.reliability.items()
    )
    return (
        "<p>A metric that ranks methods by chance, or prefers noise, says nothing about explanations. Each "
        "sample is a judge: do the judges agree, and do they put the random map last?</p>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Reliability of the metrics">'
        '<table class="reliability"><caption><b>α</b> is 1 where all samples agree on the order and put the '
        "random map last, below 0 where they contradict each other. <b>Agreement</b> is the mean rank "
        "correlation of two samples' orders. <b>Repeatable</b> is how well the mean order would come out "
        "again on as many other samples.</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>{note}"
        "<h3>Mean places</h3><p>Place 1 is the best. A bar joins methods whose mean places differ by less "
        "than Nemenyi's critical difference: the metric does not tell them apart here.</p>"
        f'<div class="plots wide">{diagrams}</div>'
    )


def _diagram(board: Board, found: Reliability) -> str:
    names = {m: called(board, m) for m in found.methods}
    return critical_differences(found.order, names, f"Places by {plain(found.metric)}")


def _titled(text: str) -> str:
    return f'<p class="name">{escape(text.capitalize())}</p>'


def _estimate(found: Estimate | None) -> str:
    if found is None or math.isnan(found.value):
        return "n/a"
    return f"{found.value:.2f}<small>{found.low:.2f} to {found.high:.2f}</small>"


def curves(board: Board) -> str:
    """Return the mean curves of each metric that follows one."""
    drawn, order = [], list(board.methods)
    for metric, group in groupby(sorted(board.study.curves, key=lambda c: board.metrics.index(c.metric)),
                                 key=lambda c: c.metric):  # fmt: skip
        kind = board.kinds.get(metric)
        lines = []
        for c in sorted(group, key=lambda c: order.index(c.method)):  # a method has one colour throughout
            mean = board.cells[c.method, metric].mean
            note = f"{kind.summary if kind else 'mean'} {mean:.3f}" if mean is not None else ""
            lines.append(Curve(called(board, c.method), c.at, c.scores, baseline=c.baseline, note=note))
        across, up = (kind.along, kind.up) if kind else ("along the way", "score")
        svg = plot(lines, title=plain(metric).capitalize(), across=across, up=up)
        drawn.append(f"<figure>{svg}</figure>")
    return f'<div class="plots">{"".join(drawn)}</div>' if drawn else ""


def spread(board: Board) -> str:
    """Return the distribution of the samples' values for each metric."""
    figures = []
    for metric in board.metrics:
        columns = []
        for method in board.ordered(metric):
            values = board.values.get((metric, method))
            if values is not None:
                known = values[np.isfinite(values)]
                columns.append((called(board, method), known, board.methods[method]))
        title = plain(metric)
        svg = distributions(columns, f"Distribution of {title}", title, board.higher(metric))
        figures.append(f"<figure>{_titled(title)}{svg}</figure>")
    return (
        "<p>One line a method: every sample's value, or how often each value occurs where there are many "
        "samples. The thick line spans the middle half, the dot is the median.</p>"
        f'<div class="plots wide">{"".join(figures)}</div>'
    )


def worst(board: Board) -> str:
    """Return a handful of samples for each metric on which methods did worst, with their maps."""
    kept = set(board.study.kept())
    if not kept:
        return "<p>No maps were kept.</p>"
    place = {name: i for i, name in enumerate(board.samples)}
    parts = []
    for metric in board.metrics:
        sign = 1 if board.higher(metric) else -1
        queues = []
        for method in board.ordered(metric):
            values = board.values.get((metric, method))
            if values is None or board.methods[method]:
                continue
            mine = [s for s, m in kept if m == method and np.isfinite(values[place[s]])] if place else []
            queues.append([(method, s, values) for s in sorted(mine, key=lambda s: sign * values[place[s]])])
        picked = [q[depth] for depth in range(WORST) for q in queues if depth < len(q)][:WORST]
        if not picked:
            continue
        figures = "".join(
            _thumb(board, metric, method, sample, float(values[place[sample]]), place[sample])
            for method, sample, values in picked
        )
        parts.append(f'<h3>{escape(plain(metric).capitalize())}</h3><div class="thumbs">{figures}</div>')
    return (
        "<p>For each metric the samples on which methods did worst, among the maps that were kept. Look here "
        "first for what goes wrong: the method, the metric, or the model.</p>" + "".join(parts)
    )


def _thumb(board: Board, metric: str, method: str, sample: str, value: float, at: int) -> str:
    name = called(board, method)
    beside = board.values.get((metric, RANDOM))
    random = (
        f"<br>random map {score(float(beside[at]))}" if beside is not None and np.isfinite(beside[at]) else ""
    )
    short = sample.replace("\\", "/").rstrip("/").rpartition("/")[2] or sample
    aim = ""
    try:
        attribution = board.study.maps(sample, method)
        shown = _small(attribution, f"{name} of {short}")
        aim = f"<br>{escape(captions.target(attribution.provenance))}"
    except (OSError, LookupError, ValueError) as error:  # a map that cannot be read is no reason for no page
        shown = f'<p class="muted">Its map cannot be shown: {escape(str(error))}</p>'
    return (
        f'<figure>{shown}<figcaption><b>{escape(name)}</b><br><span title="{escape(sample)}">{escape(short)}'
        f"</span>{aim}<br>{escape(plain(metric))} {score(value)}{random}</figcaption></figure>"
    )


def _small(attribution: Attribution, alt: str) -> str:
    values = attribution.values[0].numpy()
    scale = Scale.of(values, attribution.signed)
    draw = strip if values.ndim == 3 else painted
    drawn = draw(attribution.photo(), values, scale, Look().settled(values, scale))
    drawn.thumbnail((THUMB * (4 if values.ndim == 3 else 1), THUMB))
    return picture(drawn, f"{alt}. {attribution.text_twin()}", quality=70)


def failures(board: Board) -> str:
    """Return what could not be done, grouped by its message."""
    found = sorted(board.study.failures, key=lambda f: f.message)
    groups = [(message, list(each)) for message, each in groupby(found, key=lambda f: f.message)]
    groups.sort(key=lambda g: -len(g[1]))
    lines, left = [], LISTED
    for message, each in groups:
        told = [f for f in each[: max(left, 0)]]
        left -= len(told)
        where = "".join(
            f"<li>{escape(' · '.join(w for w in (f.sample, f.method, plain(f.metric)) if w))}</li>"
            for f in told
        )
        more = f"<li>and {len(each) - len(told):,} more</li>" if len(told) < len(each) else ""
        lines.append(
            f"<details><summary>{len(each):,} × {escape(message)}</summary><ul>{where}{more}</ul></details>"
        )
    return "".join(lines)


def reproduce(board: Board, command: str) -> str:
    """Return the command, the plan and what it ran on."""
    facts = "".join(
        f"<dt>{escape(plain(str(key)))}</dt><dd>{escape(_text(value))}</dd>"
        for key, value in _flat(board.study.facts.items())
    )
    return (
        f'<h3>Command</h3><pre tabindex="0"><code>{escape(command)}</code></pre>'
        f'<h3>Plan</h3><pre tabindex="0"><code>{escape(board.study.plan.to_toml())}</code></pre>'
        f"<h3>Made with</h3><dl>{facts}</dl>"
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _flat(items: Iterable[tuple[str, object]]) -> Iterable[tuple[str, object]]:
    for key, value in items:
        if isinstance(value, dict):
            yield from _flat(value.items())
        else:
            yield key, value
