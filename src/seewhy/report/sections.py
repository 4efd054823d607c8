"""The parts of a report as HTML text. Whatever comes from outside is escaped here."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from seewhy import captions
from seewhy.agreement import Agreement
from seewhy.attribution import Attribution
from seewhy.methods.base import METHODS
from seewhy.report.entry import Entry, title_of
from seewhy.report.numbers import Mean, Plot
from seewhy.resize import resize
from seewhy.show.colour import DIVERGING, Scale, colourise, table
from seewhy.show.curves import plot
from seewhy.show.drawing import Look, painted, photo_alone, strip
from seewhy.show.lettering import ink_on
from seewhy.show.words import number, percent


def predictions(entries: Sequence[Entry]) -> str:
    """Return the table of what the model answered."""
    most = max((len(e.facts.get("predictions", ())) for e in entries), default=0)
    if not most:
        return "<p>The model has no classes to predict.</p>"
    head = "".join(f'<th scope="col">{i + 1}.</th>' for i in range(most))
    lines = []
    for i, entry in enumerate(entries):
        cells = ""
        for p in entry.facts.get("predictions", ()):
            share = f'<span class="share" style="width:{100 * p["probability"]:.1f}%"></span>'
            cells += (
                f"<td>{escape(str(p['label']))}<small>{_words(percent(p['probability']))}</small>{share}</td>"
            )
        cells += "<td></td>" * (most - len(entry.facts.get("predictions", ())))
        aim = escape(captions.target(entry.attributions[0].provenance))
        lines.append(
            f'<tr><th scope="row"><a href="#input-{i}">{escape(entry.name)}</a></th>'
            f"<td>{aim}</td>{cells}</tr>"
        )
    return (
        '<div class="scroll" tabindex="0"><table class="answers"><caption>The most probable classes, best '
        "first, with their probabilities; and the score that the maps explain.</caption>"
        '<thead><tr><th scope="col">Input</th>'
        f'<th scope="col">Explained</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def maps(entry: Entry) -> str:
    """Return one input and its maps beside each other."""
    first = entry.attributions[0]
    clip = first.values.ndim == 4
    pixels = first.photo()
    if clip:
        blank = np.zeros(pixels.shape[:-1])
        alone = strip(pixels, blank, Scale.of(blank, False), Look())
    else:
        alone = photo_alone(pixels)
    figures = [
        f'<figure><p class="name">Input</p>{picture(alone, f"{entry.name}, as the model saw it")}'
        f"<figcaption><p>{_sides(first)}, as the model saw it.</p></figcaption></figure>"
    ]
    figures += [_map(entry.name, a) for a in entry.attributions]
    return f'<div class="maps{" clip" if clip else ""}">{"".join(figures)}</div>'


def _map(name: str, attribution: Attribution) -> str:
    notes, values = attribution.provenance, attribution.values[0].numpy()
    scale = Scale.of(values, attribution.signed)
    look = Look().settled(values, scale)
    draw = strip if values.ndim == 3 else painted
    twin, title = attribution.text_twin(), title_of(notes["method"])
    layer = f"<p>Layer {escape(str(notes['layer']))}</p>" if notes.get("layer") else ""
    own = f"<p>{_words(known)}</p>" if (known := captions.reliability(notes)) else ""
    words = "; ".join(w for w in (captions.unit(notes), *scale.remarks()) if w)
    return (
        f'<figure><p class="name">{escape(title)}</p>'
        f"{picture(draw(attribution.photo(), values, scale, look), f'{title} of {name}. {twin}')}"
        f"<figcaption>{_bar(scale, look)}<p>{_words(words)}</p><p>{_words(twin)}</p>"
        f"{layer}<p>{_words(captions.cost(notes))}</p>{own}</figcaption></figure>"
    )


def _words(text: str) -> str:
    """Return text escaped, with units and separators kept on the line of what they follow."""
    return re.sub(r" (?=%|·|s\b)", "\u00a0", escape(text))


def _sides(attribution: Attribution) -> str:
    return " × ".join(str(s) for s in attribution.values.shape[1:])


def _bar(scale: Scale, look: Look, stops: int = 17) -> str:
    """Return a colour bar whose ends are as transparent as the map is there, over white like paper."""
    ramp = np.linspace(scale.low, scale.high, stops)
    colours = 255 + (colourise(ramp, scale).astype(float) - 255) * look.alpha(ramp, scale)[:, None]
    gradient = ",".join("#{:02x}{:02x}{:02x}".format(*(int(v) for v in c)) for c in np.rint(colours))
    ticks = "".join(f"<span>{label}</span>" for _, label in scale.ticks())
    style = f"background:linear-gradient(90deg,{gradient})"
    return f'<div class="bar" style="{style}"></div><div class="ticks">{ticks}</div>'


def picture(drawn: Image.Image, alt: str, quality: int = 82) -> str:
    """Return a picture as an `<img>` element that holds its data."""
    buffer = io.BytesIO()
    drawn.save(buffer, "WEBP", quality=quality, method=4)
    data = base64.b64encode(buffer.getvalue()).decode()
    w, h = drawn.size
    return f'<img alt="{escape(alt)}" width="{w}" height="{h}" src="data:image/webp;base64,{data}">'


def agreement(entry: Entry) -> str:
    """Return the rank correlations of one input's maps, as a heat table; nothing for a single map."""
    k = len(entry.attributions)
    if k < 2:
        return ""
    names = [escape(title_of(a.provenance["method"])) for a in entry.attributions]
    size = entry.attributions[0].values.shape[1:]
    values = [resize(a.values, size) for a in entry.attributions]
    scale, colours = Scale(-1.0, 1.0, 0.0), table(DIVERGING)
    lines = []
    for i in range(k):
        cells = ""
        for j in range(k):
            rho = float(Agreement.of(values[i], values[j]).spearman)
            if np.isfinite(rho):
                r, g, b = colours[int(scale.positions(np.array([rho]))[0])].tolist()
                ink = "#000" if ink_on((r, g, b)) == (0, 0, 0) else "#fff"
                style = f"background:#{r:02x}{g:02x}{b:02x};color:{ink}"
                cells += f'<td style="{style}">{round(rho, 2) + 0.0:.2f}</td>'
            else:
                cells += '<td class="none">n/a</td>'
        lines.append(f'<tr><th scope="row">{names[i]}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{n}</th>' for n in names)
    return (
        '<details><summary>How much the methods agree</summary><div class="scroll" tabindex="0">'
        '<table class="heat">'
        "<caption>Spearman correlation of the maps: 1 means the same ranking of places, 0 none in common."
        "</caption>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div></details>"
    )


def faithfulness(lines: Sequence[Mean]) -> str:
    """Return methods against metrics: means, intervals, baselines, directions, and who is best."""
    metrics = list(dict.fromkeys(m.metric for m in lines))
    methods = list(dict.fromkeys(m.method for m in sorted(lines, key=lambda m: m.baseline)))
    cells = {(m.method, m.metric): m for m in lines}
    head = "".join(
        f'<th scope="col" class="num">{escape(m.replace("_", " "))}<small>{_arrow(lines, m)}</small></th>'
        for m in metrics
    )
    body = []
    for method in methods:
        row = [cells.get((method, metric)) for metric in metrics]
        baseline = any(m is not None and m.baseline for m in row)
        kind = ' class="baseline"' if baseline else ""
        name = escape(title_of(method)) + (" (baseline)" if baseline else "")
        body.append(f'<tr{kind}><th scope="row">{name}</th>{"".join(_cell(m, lines) for m in row)}</tr>')
    counts = sorted({m.n for m in lines if m.n})
    inputs = f" Over {counts[0]} inputs." if len(counts) == 1 and counts[0] > 1 else ""
    return (
        '<div class="scroll" tabindex="0"><table><caption>Mean and 95 % interval over the inputs.'
        f"{inputs} A method whose interval overlaps that of a baseline has not been shown to be better than "
        "it."
        "</caption><thead><tr>"
        f'<th scope="col">Method</th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def _arrow(lines: Sequence[Mean], metric: str) -> str:
    direction = next(
        (m.higher_is_better for m in lines if m.metric == metric and m.higher_is_better is not None), None
    )
    return "" if direction is None else "↑ higher is better" if direction else "↓ lower is better"


def _cell(mean: Mean | None, lines: Sequence[Mean]) -> str:
    if mean is None:
        return '<td class="num">n/a</td>'
    same = [m for m in lines if m.metric == mean.metric and m is not mean]
    best = (
        not mean.baseline
        and mean.higher_is_better is not None
        and not any(m.better(mean) for m in same if not m.baseline)
    )
    close = [
        m for m in same if m.baseline and mean.low is not None and m.low is not None and not mean.apart(m)
    ]
    shown = f'<span class="best">{score(mean.mean)} best</span>' if best else score(mean.mean)
    interval = (
        f"<small>{score(mean.low)} to {score(mean.high)}</small>"
        if mean.low is not None and mean.high is not None
        else ""
    )
    remark = ""
    if close and not mean.baseline:
        remark = (
            f'<small class="within">overlaps {escape(", ".join(title_of(m.method) for m in close))}</small>'
        )
    return f'<td class="num">{shown}{interval}{remark}</td>'


def score(value: float) -> str:
    """Return a measured value in three decimals, or in three digits where these say too little."""
    return f"{value:.3f}" if 0.001 <= abs(value) < 100 or value == 0 else number(value)


def plots(given: Sequence[Plot]) -> str:
    """Return the curves of each metric."""
    drawn = (
        plot(
            [replace(c, name=title_of(c.name)) for c in p.curves],
            title=p.metric.replace("_", " ").capitalize(),
            across=p.across,
            up=p.up,
        )
        for p in given
    )
    return f'<div class="plots">{"".join(f"<figure>{svg}</figure>" for svg in drawn)}</div>'


def methods(entries: Sequence[Entry]) -> str:
    """Return what each method does, with its parameters and its paper."""
    used = {a.provenance["method"]: a.provenance for e in entries for a in e.attributions}
    return "".join(_method(name, notes) for name, notes in used.items())


def _method(name: str, notes: dict[str, Any]) -> str:
    facts = "".join(
        f"<dt>{escape(str(k))}</dt><dd>{escape(_plain(v))}</dd>"
        for k, v in notes.get("parameters", {}).items()
    )
    told = f"<h3>{escape(title_of(name))}</h3>"
    if name in METHODS:
        _, _, about = METHODS[name].page().partition("\n\n")  # the first line is the title again
        first, *rest = about.split("\n\n")
        told += f"<p>{escape(first)}</p>"
        if rest:
            text = escape("\n\n".join(rest))
            told += (
                f"<details><summary>More about {escape(title_of(name))}</summary><pre>{text}</pre></details>"
            )
        paper = METHODS[name].paper
        words = escape(f"{paper.authors}: {paper.title} ({paper.year})")
        safe = paper.url.startswith(("https://", "http://"))
        told += (
            f'<p>Paper: <a href="{escape(paper.url)}" rel="noreferrer">{words}</a></p>'
            if safe
            else f"<p>Paper: {words}</p>"
        )
    kind = (
        "signed: red speaks for the score, blue against"
        if notes.get("signed")
        else "unsigned: how much a place matters"
    )
    return f"{told}<dl><dt>map</dt><dd>{kind}</dd>{facts}</dl>"


def environment(entries: Sequence[Entry]) -> str:
    """Return model, preprocessing, seeds and versions."""
    notes = entries[0].attributions[0].provenance
    facts = {
        "model": notes["model"],
        "weights (SHA-256)": notes.get("weights_sha256"),
        "input size": notes.get("input_size"),
        "preprocessing": notes.get("preprocessing"),
        **notes.get("execution", {}),
        **notes.get("versions", {}),
    }
    lines = "".join(
        f"<dt>{escape(str(k).replace('_', ' '))}</dt><dd>{escape(_plain(v))}</dd>" for k, v in facts.items()
    )
    return f"<dl>{lines}</dl>"


def _plain(value: Any) -> str:
    if value is None:
        return "default"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
