"""The page of concepts: self-contained, closed tag by tag, safe against names from outside."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

from seewhy.concepts import TCAV, TcavResult, VisualTCAV, VisualTcavResult
from seewhy.models.model import Model
from seewhy.report.concepts import render_concept_report

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'"
VOID = {"meta", "img", "br", "link", "hr"}


class Page(HTMLParser):
    """Parse strictly: every tag closed in order; keep tags and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stack: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def results() -> tuple[TcavResult, VisualTcavResult]:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    model = Model(net.eval(), labels=[HOSTILE, "b"], name=HOSTILE)
    concepts, random = {HOSTILE: torch.rand(8, 3, 8, 8) + 1}, torch.rand(20, 3, 8, 8)
    images = {0: torch.rand(4, 3, 8, 8)}
    settings = {"resamples": 2, "random_concepts": 3}
    return (
        TCAV(layers=("1",), runs=3, permutations=19)(model, concepts, random, images),
        VisualTCAV(layers=("1",), **settings)(model, concepts, random, images),
    )


@pytest.mark.parametrize("which", [0, 1])
def test_the_page_is_whole_and_safe(results: tuple[TcavResult, VisualTcavResult], which: int) -> None:
    text = render_concept_report(results[which], command=f"seewhy {HOSTILE}")
    page = Page(text)
    assert not [t for t, _ in page.tags if t == "script"]
    assert not [a for _, attrs in page.tags for a in attrs if a.startswith("on")]
    sources = [str(attrs["src"]) for tag, attrs in page.tags if tag == "img"]
    assert sources
    assert all(s.startswith("data:image/") for s in sources)
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    assert HOSTILE in page.text
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = [str(attrs["href"]) for tag, attrs in page.tags if tag == "a"]
    assert {link[1:] for link in links if link.startswith("#")} <= ids


def test_every_number_of_the_results_stands_with_its_interval(
    results: tuple[TcavResult, VisualTcavResult],
) -> None:
    from seewhy.show.words import number

    tested, visual = (Page(render_concept_report(r)).text for r in results)
    row = results[0].rows[0]
    assert row.separable
    assert f"{number(row.score)} [{number(row.low)}, {number(row.high)}]" in tested
    (found,) = results[1].global_rows()
    assert found.separable
    assert f"{number(found.attribution)} [{number(found.low)}, {number(found.high)}]" in visual
    assert re.search(r"excess", visual, re.IGNORECASE)
