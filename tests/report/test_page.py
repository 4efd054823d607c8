"""The report: complete, self-contained, safe against what comes from outside, legible."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from seewhy import report
from seewhy.attribution import Attribution
from seewhy.errors import BadInput
from seewhy.report import Entry, Mean, Plot, render, write_report
from seewhy.report.numbers import means
from seewhy.show import Curve
from seewhy.show.lettering import contrast

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'</style>"
VOID = {"meta", "img", "br", "link", "input", "hr"}
SVG_VOID = {"path", "polyline", "polygon", "line"}


class Page(HTMLParser):
    """Parse strictly: every tag closed in order; keep tags, text and ids."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.stack, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"{tag} names an attribute twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SVG_VOID
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if "style" not in self.stack:
            self.text += data


def attribution(method="grad_cam", name="photos/cat.png", label="Egyptian cat", size=(24, 24), **changed):
    g = torch.Generator().manual_seed(len(method))
    notes = {
        "model": "tiny",
        "weights_sha256": "abc",
        "input_size": [3, *size],
        "preprocessing": {"size": [24, 24]},
        "inputs": [
            {
                "path": name,
                "score": 8.3,
                "target": {"label": label, "index": 285, "score": "logit"},
                "predictions": [
                    {"label": label, "index": 285, "probability": 0.38},
                    {"label": "tabby", "index": 281, "probability": 0.26},
                ],
            }
        ],
        "method": method,
        "signed": method != "grad_cam",
        "parameters": {"layer": None},
        "layer": "blocks.3",
        "seconds": 0.25,
        "passes": {"forward": 1, "backward": 1},
        "execution": {"seed": 7},
        "versions": {"seewhy": "0.1.0", "torch": "2"},
        **changed,
    }
    values = torch.randn(1, *size, generator=g)
    return Attribution(values, values, torch.full((1, 3, *size), 90, dtype=torch.uint8), notes)


TABLE = [
    Mean("grad_cam", "deletion", 0.12, 0.10, 0.14, 4, False, False),
    Mean("occlusion", "deletion", 0.20, 0.17, 0.23, 4, False, False),
    Mean("random", "deletion", 0.22, 0.20, 0.24, 4, True, False),
]
CURVES = [
    Plot(
        "deletion",
        [Curve("grad_cam", [0, 1], [0.9, 0.1]), Curve("random", [0, 1], [0.9, 0.4], baseline=True)],
    )
]


def entries():
    return [
        Entry([attribution(), attribution("occlusion")]),
        Entry([attribution(name="b.png")], title="Second"),
    ]


def page(**options):
    return Page(
        render(
            entries(),
            **{"title": "Report", "table": TABLE, "curves": CURVES, "command": "seewhy demo", **options},
        )
    )


def test_report_holds_every_part():
    p = page()
    for words in (
        "Predictions",
        "cat.png",
        "Second",
        "Can the maps be believed?",
        "Methods",
        "To reproduce",
        "seewhy demo",
        "Egyptian cat",
        "38 %",
        "logit 8.3",
        "blocks.3",
        "Peak at x",
        "0.120 best",
        "0.100 to 0.140",
        "overlaps random",
        "↓ lower is better",
        "random (baseline)",
        "seed",
        "How much the methods agree",
    ):
        assert words in p.text, words
    assert sum(t == "svg" for t, _ in p.tags) == 1
    assert sum(t == "img" for t, _ in p.tags) == 3 + 2


def test_contents_lead_to_places():
    p = page()
    ids = [a["id"] for _, a in p.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    targets = [a["href"][1:] for t, a in p.tags if t == "a" and a["href"].startswith("#")]
    assert len(targets) >= 7
    assert set(targets) <= set(ids)


def _loads(text) -> list[str]:
    """Return what a browser would fetch or run for the page."""
    found = []
    for tag, attrs in Page(text).tags:
        found += [
            v
            for k, v in attrs.items()
            if k in {"src", "srcset", "data", "poster"} and not v.startswith("data:")
        ]
        found += [v for k, v in attrs.items() if k == "href" and tag != "a" and not v.startswith("#")]
        found += [k for k in attrs if k.startswith("on")]
        found += [tag] if tag in {"script", "iframe", "object", "embed", "link", "base", "form"} else []
        found += [v for k, v in attrs.items() if k == "href" and not re.match(r"https?://|#", v)]
    return found + re.findall(r"@import|url\([^)]*\)", text)


def test_report_loads_nothing():
    assert _loads(render(entries(), title="Report", table=TABLE, curves=CURVES)) == []


@pytest.mark.parametrize(
    "bug",
    [
        "<script>1</script>",
        '<img src="https://example.org/a.png">',
        '<link rel="stylesheet" href="a.css">',
        '<p onclick="1"></p>',
        '<style>@import "a.css";</style>',
        '<a href="javascript:1"></a>',
    ],
)
def test_planted_bugs_would_be_seen(bug):
    text = render(entries(), title="Report")
    assert _loads(text.replace("</main>", f"{bug}</main>"))


def test_policy_forbids_loading():
    (policy,) = [a["content"] for t, a in page().tags if t == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy


def test_hostile_names_stay_text():
    bad = attribution(
        HOSTILE,
        name=f"x/{HOSTILE}",
        label=HOSTILE,
        layer=HOSTILE,
        model=HOSTILE,
        parameters={HOSTILE: HOSTILE},
        execution={HOSTILE: HOSTILE},
        versions={"seewhy": HOSTILE},
    )
    table = [
        {"method": HOSTILE, "metric": HOSTILE, "mean": 1.0, "low": 0.5, "high": 1.5, "baseline": b}
        for b in (0, 1)
    ]
    curves = [Plot(HOSTILE, [Curve(HOSTILE, [0, 1], [0, 1], note=HOSTILE)], across=HOSTILE, up=HOSTILE)]
    options = {"title": HOSTILE, "table": table[:1], "curves": curves, "command": HOSTILE}
    text = render([Entry([bad, bad], title=HOSTILE)], **options)
    calm = render(
        [Entry([attribution(), attribution()], title="a")],
        title="a",
        table=[TABLE[0]],
        curves=[Plot("a", CURVES[0].curves[:1])],
        command="a",
    )
    assert _loads(text) == []
    assert "<script" not in text
    kinds = {t for t, _ in Page(text).tags}
    assert kinds <= {t for t, _ in Page(calm).tags} | {"small"}
    assert HOSTILE in Page(text).text


def test_every_image_and_plot_has_words():
    for tag, attrs in page().tags:
        if tag == "img":
            assert len(attrs["alt"]) > 10
        if tag == "svg":
            assert attrs["role"] == "img"
            assert "Grad-CAM from 0.9 to 0.1" in attrs["aria-label"]


def test_tables_have_captions_and_scopes():
    p = page()
    count = {t: sum(x == t for x, _ in p.tags) for t in ("table", "caption")}
    assert count["table"] == count["caption"] >= 3
    assert all(a.get("scope") in {"row", "col"} for t, a in p.tags if t == "th")
    assert ("html", {"lang": "en"}) in p.tags


def _palettes() -> list[dict[str, tuple[int, ...]]]:
    css = Path(report.__file__).with_name("style.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, re.S)
    return [
        {k: tuple(int(v[i : i + 2], 16) for i in (0, 2, 4)) for k, v in re.findall(r"--(\w+): #(\w{6})", b)}
        for b in blocks
    ]


def test_text_is_legible_in_light_dark_and_print():
    palettes = _palettes()
    assert len(palettes) == 3
    for colours in palettes:
        for text in ("ink", "muted", "link", "good", "mid"):
            for ground in ("paper", "panel"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(palettes[0]["rule"], palettes[0]["paper"]) < 4.5  # the check can fail


def test_agreement_table_is_legible():
    pairs = re.findall(r"background:#(\w{6});color:#(\w{3})", render(entries(), title="Report"))
    assert len(pairs) == 4
    for ground, ink in pairs:
        rgb = tuple(int(ground[i : i + 2], 16) for i in (0, 2, 4))
        assert contrast(rgb, (0, 0, 0) if ink == "000" else (255, 255, 255)) >= 4.5


def test_dark_and_print_are_there():
    css = Path(report.__file__).with_name("style.css").read_text()
    assert "prefers-color-scheme: dark" in css
    assert "@media print" in css
    assert "prefers-reduced-motion" in css


def test_clips_and_models_without_classes_have_a_report():
    clip = attribution(size=(5, 16, 16))
    clip.provenance["inputs"][0]["predictions"] = []
    text = Page(render([Entry([clip])], title="Report")).text
    assert "no classes" in text
    assert "5 × 16 × 16" in text


def test_write_report_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = write_report(tmp_path / "deep" / "report.html", entries(), title="Ünï")
    assert Page(path.read_text(encoding="utf-8")).text
    before = path.read_bytes()

    def broken(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(BadInput, match="No space left"):
        write_report(path, entries(), title="new")
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_same_results_give_the_same_bytes():
    assert render(entries(), title="a", table=TABLE) == render(entries(), title="a", table=TABLE)


def test_a_large_report_warns(tmp_path, monkeypatch):
    monkeypatch.setattr("seewhy.report.page.LARGE", 1000)
    with pytest.warns(UserWarning, match="fewer inputs"):
        write_report(tmp_path / "r.html", entries())


def test_refuses_nothing_to_report(tmp_path):
    two = attribution()
    values, pixels = two.values.repeat(2, 1, 1), two.pixels.repeat(2, 1, 1, 1)
    two = Attribution(values, values, pixels, {**two.provenance, "inputs": two.provenance["inputs"] * 2})
    for bad in ([], [Entry([])], [Entry([two])]):
        with pytest.raises(BadInput, match="Entry for each input"):
            write_report(tmp_path / "r.html", bad)
    with pytest.raises(BadInput, match="cannot be written"):
        write_report(tmp_path, entries())
    assert list(tmp_path.iterdir()) == []


# -- numbers ------------------------------------------------------------------------------------------------


@dataclass
class Line:
    sample: int
    method: str
    metric: str
    value: float


@dataclass
class Table:
    rows: list


def test_tables_of_many_forms_are_read():
    rows = [Line(0, "a", "deletion", 0.2), Line(1, "a", "deletion", 0.4), Line(0, "b", "deletion", 0.1)]
    averaged = means(Table(rows))
    assert [(m.method, round(m.mean, 9), m.n) for m in averaged] == [("a", 0.3, 2), ("b", 0.1, 1)]
    assert means([vars(r) for r in rows]) == means({"rows": rows}) == averaged
    assert means(None) == []
    assert means({"means": TABLE}) == TABLE
    for bad in (object(), [{"method": "a"}]):
        with pytest.raises(BadInput, match="table"):
            means(bad)


class Evaluated:
    """What `seewhy.evaluate` returns, in short: a function of means, and directions of their own."""

    def __init__(self):
        self.rows, self.higher_is_better = (), {"mine": True}

    def mean(self):
        line = {
            "method": "a",
            "metric": "mine",
            "mean": 0.5,
            "low": 0.4,
            "high": 0.6,
            "samples": 3,
            "baseline": False,
        }
        return [
            line,
            line | {"method": "b", "mean": None},
            line | {"method": "c", "metric": "mine", "low": None},
        ]


def test_an_evaluation_is_read_with_its_directions():
    first, last = means(Evaluated())
    assert first == Mean("a", "mine", 0.5, 0.4, 0.6, 3, False, True)
    assert (last.method, last.low) == ("c", None)
    assert means({"means": Evaluated().mean(), "higher_is_better": {"mine": True}}) == [first, last]


def test_measurements_without_a_number_are_left_out():
    rows = [Line(0, "a", "x", 0.2), Line(1, "a", "x", float("nan"))]
    assert [(m.mean, m.n) for m in means(rows)] == [(0.2, 1)]


def test_direction_decides_what_is_best():
    text = Page(
        render(
            entries(),
            title="Report",
            table=[
                Mean("grad_cam", "insertion", 0.6, 0.5, 0.7, 4, False, True),
                Mean("occlusion", "insertion", 0.4, 0.3, 0.45, 4, False, True),
                Mean("random", "insertion", 0.9, 0.8, 0.95, 4, True, True),
            ],
        )
    ).text
    assert "0.600 best" in text
    assert "0.400 best" not in text
    assert "0.900 best" not in text
    assert "↑ higher is better" in text
    assert "overlaps" not in text.replace("interval overlaps", "")
