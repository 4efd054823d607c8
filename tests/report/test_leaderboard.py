"""The leaderboard: what it says, that nothing gets in or out, and that it stays small."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.leaderboard import InMemory, made_up, plan

import seewhy
from networks import batch, cnn
from seewhy.metrics.table import MeanCurve, Row, Table
from seewhy.report.leaderboard import page
from seewhy.report.leaderboard_plots import critical_differences, distributions, interval

HOSTILE = '<img src=x onerror=alert(1)> "&'
VOID = {"meta", "img", "br", "path", "circle", "polyline", "polygon"}


class Parsed(HTMLParser):
    """Checks that tags nest, and collects what the tests ask for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def ids(self) -> set[str | None]:
        return {attrs["id"] for _, attrs in self.tags if "id" in attrs}


def rows(values: np.ndarray, methods: list[str], metric: str) -> list[Row]:
    return [
        Row(f"photo {i}", m, metric, float(v), m in ("random", "centre", "edges"))
        for i, line in enumerate(values)
        for m, v in zip(methods, line, strict=True)
    ]


METHODS = ["grad_cam", "rise", "random", "centre"]


def study(samples: int = 30, **more: object) -> InMemory:
    """Return a study in which insertion is good, deletion prefers noise and road throws dice."""
    draw = np.random.default_rng(0).normal
    good = draw(size=(samples, 4)) * 0.02 + [0.6, 0.5, 0.2, 0.4]
    noisy = draw(size=(samples, 4)) * 0.02 + [0.5, 0.4, 0.1, 0.45]
    dice = draw(size=(samples, 4)) * 0.1
    table = Table(
        tuple(
            rows(good, METHODS, "insertion") + rows(noisy, METHODS, "deletion") + rows(dice, METHODS, "road")
        ),
        {"insertion": True, "deletion": False, "road": True},
    )
    named = plan(
        "a model",
        "a folder",
        {"grad_cam": "grad_cam", "rise": "rise"},
        {m: m for m in table.higher_is_better},
    )
    costs = {
        "grad_cam": SimpleNamespace(seconds=0.04, forward=1.0, backward=1.0),
        "rise": SimpleNamespace(seconds=31.0, forward=2000.0, backward=0.0),
    }
    return InMemory(table, named, costs, **more)  # type: ignore[arg-type]


def cell(html: str, method: str, column: int) -> str:
    """Return the text of one cell of the standings."""
    body = html.split('<table class="standings">')[1].split("<tbody>")[1].split("</tbody>")[0]
    line = next(r for r in body.split("<tr")[1:] if f'data-v="{method}"' in r)
    return re.sub(r"<[^>]*>", " ", re.split(r"<td", line)[column])


def test_what_it_says_of_metrics_and_methods() -> None:
    html = page(study())
    text = Parsed(html).text
    assert "Insertion tells methods apart on these 30 samples. Grad-CAM comes first." in text
    assert "Deletion prefers noise on these 30 samples." in text
    assert "Road tells nothing apart on these 30 samples." in text
    assert "Worse than the random map: Grad-CAM, RISE." in text
    assert re.search(r"\b0\.(59|60)\d\b", cell(html, "Grad-CAM", 1))
    assert "place 1 " in cell(html, "Grad-CAM", 1) + " "
    assert "place 2" in cell(html, "RISE", 1)
    assert "worse than random" in cell(html, "Grad-CAM", 2)
    assert "not told from random" in cell(html, "Grad-CAM", 3)
    assert "place 1 to 4" in cell(html, "RISE", 3)
    assert ["0.04 s" in cell(html, "Grad-CAM", 4), "2,000 / 0" in cell(html, "RISE", 5)] == [True, True]


def test_baselines_stand_among_the_methods() -> None:
    html = page(study())
    order = re.findall(r'<th scope="row" data-v="([^"]*)">', html)
    assert order == ["Grad-CAM", "RISE", "Centre", "Random map"]
    assert html.count('<tr class="baseline">') == 2
    # Its line is on everybody's axis: three metrics, four maps.
    assert html.count('class="mark"') == 12


def test_it_loads_nothing_and_runs_one_script() -> None:
    html = page(study())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    script = re.search(r"<script>(.*)</script>", html, re.S)
    assert policy is not None
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert policy[1] == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    tags = Parsed(html).tags
    assert [t for t, a in tags if "src" in a and not str(a["src"]).startswith("data:")] == []
    assert [a for t, a in tags if t == "link" or any(k.startswith("on") for k in a)] == []


def test_what_comes_from_outside_is_escaped() -> None:
    hostile = study(
        failures=[SimpleNamespace(sample=HOSTILE, method="rise", metric="deletion", message=HOSTILE)],
        facts={"note": HOSTILE, "versions": {"seewhy": HOSTILE}},
    )
    hostile.plan.model = hostile.plan.data = HOSTILE
    old = hostile.table
    other = {"rise": HOSTILE, "road": HOSTILE}
    renamed = tuple(
        Row(
            HOSTILE + r.sample,
            other.get(r.method, r.method),
            other.get(r.metric, r.metric),
            r.value,
            r.baseline,
        )
        for r in old.rows
    )
    hostile.table = Table(renamed, {"insertion": True, "deletion": False, HOSTILE: True})
    html = page(hostile, HOSTILE)
    assert "<img src=x" not in html
    assert HOSTILE in Parsed(html).text


def test_links_headings_and_tables_are_whole() -> None:
    found = Parsed(page(study()))
    links = [a["href"] for t, a in found.tags if t == "a"]
    assert {link[1:] for link in links if link and link.startswith("#")} <= found.ids()
    assert sum(t == "h1" for t, _ in found.tags) == 1
    assert sum(t == "caption" for t, _ in found.tags) == sum(t == "table" for t, _ in found.tags) == 2
    pictures = [a for t, a in found.tags if t == "svg"]
    assert all(a.get("aria-hidden") == "true" or a.get("aria-label") for a in pictures)


def test_curves_of_labelled_metrics() -> None:
    at = (0.0, 0.5, 1.0)
    made = study(curves=[MeanCurve(m, "insertion", at, (0.0, 0.5, 1.0), m in METHODS[2:]) for m in METHODS])
    text = Parsed(page(made)).text
    assert "Curves" in text
    assert "Grad-CAM (area 0." in text
    assert 'id="curves"' not in page(study())


def test_worst_samples_with_their_maps() -> None:
    model, x = seewhy.Model(cnn()), batch((3, 16, 16), n=1)
    made = study()
    names = [f"photo {i}" for i in range(30)]
    result = seewhy.explain(model, x, "gradient", target=1)
    made.kept_maps = {(s, m): result for s in names[:3] for m in ("grad_cam", "rise")}
    html = page(made)
    section = html.split('id="worst"')[1]
    assert section.count("data:image/webp") == 3 * 6
    shown = re.findall(r'<b>([^<]*)</b><br><span title="([^"]*)">', section.split("<h3>Deletion</h3>")[1])
    value = {(r.method, r.sample): r.value for r in made.table.rows if r.metric == "deletion"}
    worst = {m: sorted(names[:3], key=lambda s, m=m: -value[m, s]) for m in ("rise", "grad_cam")}
    expected = [
        pair for i in range(3) for pair in (("RISE", worst["rise"][i]), ("Grad-CAM", worst["grad_cam"][i]))
    ]
    assert shown[:6] == expected


def test_a_map_that_cannot_be_read_does_not_cost_the_page() -> None:
    made = study()

    def gone(sample: str, method: str) -> object:
        raise FileNotFoundError("maps/3.safetensors is gone")

    made.kept_maps = {("photo 1", "rise"): None}  # type: ignore[dict-item]
    made.maps = gone  # type: ignore[assignment]
    assert "Its map cannot be shown: maps/3.safetensors is gone" in Parsed(page(made)).text


def test_failures_are_counted_and_grouped() -> None:
    failed = [
        SimpleNamespace(sample=f"p{i}", method="rise", metric="", message="too dark") for i in range(300)
    ]
    failed += [SimpleNamespace(sample="q", method="", metric="", message="no image")]
    text = Parsed(page(study(failures=failed))).text
    assert "Failures (301)" in text
    assert "300 × too dark" in text
    assert "and 100 more" in text
    assert "Failures" not in Parsed(page(study())).text


def test_how_to_get_it_again() -> None:
    text = Parsed(page(study(folder=Path("runs/mine")))).text
    assert "seewhy benchmark runs/mine/plan.toml" in text
    assert 'model = "a model"' in text
    assert "mine again" in Parsed(page(study(), "mine again")).text


def test_labels_are_told_from_names() -> None:
    named = plan(
        "m",
        "d",
        {"grad_cam": "grad_cam", "rise (2)": "rise", "rise_fast": "rise"},
        {"insertion": "insertion"},
    )
    values = np.arange(12.0).reshape(3, 4)
    table = Table(
        tuple(rows(values, ["grad_cam", "rise (2)", "rise_fast", "random"], "insertion")), {"insertion": True}
    )
    found = re.findall(r'<th scope="row" data-v="([^"]*)">', page(InMemory(table, named)))
    assert sorted(found) == ["Grad-CAM", "RISE (2)", "Random map", "rise fast"]


def test_nothing_measured_is_still_a_page() -> None:
    html = page(InMemory(Table((), {}), plan("m", "d", {"grad_cam": "grad_cam"}, {})))
    assert "Too few samples" in Parsed(html).text


def test_two_samples_and_one() -> None:
    assert "tells nothing apart on these 2 samples" in Parsed(page(study(2))).text
    assert "Too few samples" in Parsed(page(study(1))).text


def test_a_metric_that_ties_everything_has_no_numbers() -> None:
    made = study()
    made.table = Table(
        tuple(Row(r.sample, r.method, r.metric, 1.0, r.baseline) for r in made.table.rows),
        made.table.higher_is_better,
    )
    text = Parsed(page(made)).text
    assert "nan" not in text
    assert "Fewer than two samples put the methods in any order." in text


def test_undefined_values() -> None:
    made = study()
    gone = tuple(
        Row(r.sample, r.method, r.metric, float("nan"), r.baseline)
        if r.metric == "road" and (r.method == "rise" or r.sample == "photo 3")
        else r
        for r in made.table.rows
    )
    made.table = Table(gone, made.table.higher_is_better)
    html = page(made)
    assert "undefined" in cell(html, "RISE", 3)
    assert "1 undefined" in cell(html, "Grad-CAM", 3)


def test_many_samples_are_few_bytes() -> None:
    small, large = (page(made_up(n)) for n in (100, 800))
    assert len(large) < 1.1 * len(small) < 200_000
    assert "photo-00123.jpg" not in large.split('id="failures"')[0]


def test_an_interval_lies_where_it_is() -> None:
    svg = interval(0.5, 0.25, 0.75, (0.0, 1.0), 0.0)
    assert 'M35.5 7H96.5" class="span"' in svg
    assert 'cx="66.0"' in svg
    assert 'M5.0 0V14" class="mark"' in svg
    assert "nan" not in interval(1.0, None, None, (1.0, 1.0), None)


@pytest.mark.parametrize("samples", [20, 200])
def test_distributions_hold_the_quartiles_and_no_more_than_a_histogram(samples: int) -> None:
    values = np.linspace(0, 1, samples)
    svg = distributions([("a", values, False), ("b", values[:0], True)], "t", "score", True)
    assert "a median 0.5, quartiles 0.25 to 0.75" in svg
    assert ('class="each"' in svg) == (samples == 20)
    assert len(svg) < 4000
    assert distributions([("b", values[:0], True)], "t", "score", True) == ""
    assert "nan" not in distributions([("a", np.ones(3), False)], "t", "score", False)


def test_critical_differences_in_words_and_lines() -> None:
    from seewhy.metrics.meta import friedman, outcomes

    found = friedman(outcomes(study().table, "insertion"))
    svg = critical_differences(found, {"grad_cam": "Grad-CAM"}, "Insertion")
    assert "Grad-CAM 1.00, rise 2.00, random 3.00" in svg
    assert svg.count('class="join"') == 0
    dice = friedman(outcomes(study().table, "road"))
    assert critical_differences(dice, {}, "Road").count('class="join"') == 1
