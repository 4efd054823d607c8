"""Attribution graphs: parts add up, and each path is what CRP's conditions give."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import networks
from seewhy.concepts.graph import AttributionGraph, Node, attribution_graph
from seewhy.errors import BadInput, DoesNotFit
from seewhy.methods import CRP, LRP
from seewhy.methods.relevance.conditions import Place
from seewhy.models.model import Model

RULES = LRP(composite="epsilon", epsilon=1e-12)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3, bias=False),
        nn.ReLU(),
        nn.Conv2d(5, 6, 3, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 100, 3, bias=False),
    ).double()


def whole(widths: tuple[int, ...] = (9, 9, 9)) -> AttributionGraph:
    x = networks.batch((3, 16, 16), n=1).double()
    return attribution_graph(Model(net()), x, ["1", "5", "3"], 1, widths=widths, rules=RULES)


def every(nodes: tuple[Node, ...]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from every(node.children)


def adds_up(graph: AttributionGraph) -> None:
    assert sum(n.relevance for n in graph.nodes) == pytest.approx(graph.score, rel=1e-6)
    for node in every(graph.nodes):
        if node.children:
            below = sum(child.relevance for child in node.children)
            assert below == pytest.approx(node.relevance, rel=1e-6, abs=1e-9)
            assert sum(abs(child.part) for child in node.children) == pytest.approx(1, abs=1e-6) or not below


def test_children_add_up_to_their_parents_and_all_to_the_score() -> None:
    graph = whole()
    assert [len(graph.nodes), len(graph.nodes[0].children), len(graph.nodes[0].children[0].children)] == [
        6,
        5,
        4,
    ]
    assert {n.path[-1][0] for n in graph.nodes} == {"5"}
    adds_up(graph)


def test_that_sum_notices_a_parent_whose_gate_was_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "gate", lambda self, condition, output: lambda gradient: gradient)
    with pytest.raises(AssertionError):
        adds_up(whole())


def test_a_path_is_the_map_of_its_conditions() -> None:
    x = networks.batch((3, 16, 16), n=1).double()
    for node in list(every(whole((2, 2, 1)).nodes))[:6]:
        map_ = CRP(node.conditions, composite="epsilon", epsilon=1e-12)(net(), x, 1)
        assert float(map_.values.sum()) == pytest.approx(node.relevance, rel=1e-4, abs=1e-7)


def test_the_leading_channels_come_first_and_are_told_in_words() -> None:
    graph = whole((2, 1))
    for nodes in (graph.nodes, *(n.children for n in every(graph.nodes) if n.children)):
        assert [abs(n.part) for n in nodes] == sorted((abs(n.part) for n in nodes), reverse=True)
    assert len(graph.nodes[0].children) == 1
    assert len(graph.nodes[0].children[0].children) == 1
    lines = str(graph).splitlines()
    assert lines[0].startswith("class 1 ")
    assert lines[1].startswith(f"├ 5 channel {graph.nodes[0].path[0][1]}: ")
    assert lines[4].startswith("└ 5 channel")
    assert graph.to_json()["nodes"][0]["children"][0]["layer"] == "3"


class Beside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.a(x), self.b(x)], 1).mean((2, 3)))


def test_what_makes_no_graph_is_refused() -> None:
    x = networks.batch((3, 16, 16))
    with pytest.raises(BadInput, match="Found 2 inputs"):
        attribution_graph(Model(networks.cnn()), x, ["2"])
    with pytest.raises(BadInput, match="at least one layer"):
        attribution_graph(Model(networks.cnn()), x[:1], [])
    with pytest.raises(DoesNotFit, match="beside each other"):
        attribution_graph(Model(Beside()), x[:1], ["a", "b"])
