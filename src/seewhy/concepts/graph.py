"""Attribution graphs: of which channels a decision is made up, and of which channels those are.

The score's relevance is split among the channels of a layer; that of each leading channel is propagated on
alone and split among the channels of the next layer towards the input, and so on.

Formula
    relevance of a path (l1, c1), (l2, c2), ...: the sum over cells of the relevance of channel c2 in l2 that
    came through channel c1 of l1, and so on. Paths that share their beginning add up to it, what rules leak
    aside (see LRP).
Needs
    what LRP needs; layers that read each other, one after the other.
Cost
    one forward pass, checked by another, and one backward pass from layer to layer a node that is split.
Paper
    Achtibat et al.: From attribution maps to human-understandable explanations through Concept Relevance
    Propagation, 2023, https://doi.org/10.1038/s42256-023-00711-8.
Departures
    a tree of paths rather than a graph of channels, so that parts add up: a channel that serves two others
    stands below both. Leading channels are those with the largest magnitudes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from seewhy.concepts.tracing import Traced, traced
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.methods.relevance.conditions import Units
from seewhy.methods.relevance.lrp import LRP
from seewhy.models.model import Model
from seewhy.show.words import number, percent
from seewhy.targets import TargetLike
from seewhy.types import Json


@dataclass(frozen=True)
class Node:
    """A channel on a path from the score.

    Parameters
    ----------
    path
        (layer, channel) from the answer to this one.
    relevance
        What of the score goes through the path.
    part
        Of what arrives at its layer along the path, the sum of magnitudes over all channels; -1 to 1.
    children
        Leading channels of the next layer, largest magnitude first.
    """

    path: tuple[tuple[str, int], ...]
    relevance: float
    part: float
    children: tuple[Node, ...] = ()

    @property
    def conditions(self) -> str:
        """The path as conditions of the method `crp`, which draws where it lies."""
        return "; ".join(f"{layer}: {channel}" for layer, channel in self.path)

    def to_json(self) -> Json:
        """Return the node and those below it as plain JSON."""
        layer, channel = self.path[-1]
        return {
            "layer": layer,
            "channel": channel,
            "relevance": self.relevance,
            "part": self.part,
            "children": [child.to_json() for child in self.children],
        }


@dataclass(frozen=True)
class AttributionGraph:
    """What one decision is made up of.

    Parameters
    ----------
    label, score
        The target and its score.
    nodes
        Leading channels of the layer nearest the answer.
    """

    label: str
    score: float
    nodes: tuple[Node, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.label} {number(self.score)}", *_lines(self.nodes, "")])

    def to_json(self) -> Json:
        """Return it as plain JSON."""
        return {"label": self.label, "score": self.score, "nodes": [node.to_json() for node in self.nodes]}


def attribution_graph(
    model: Model,
    source: Any,
    layers: Sequence[str],
    target: TargetLike = None,
    *,
    widths: Sequence[int] = (4, 2),
    rules: LRP | None = None,
    execution: Execution | None = None,
) -> AttributionGraph:
    """Split one input's score into channels, and those into channels of layers before them.

    Parameters
    ----------
    model, target
        As everywhere; the model's own answer by default.
    source
        One photo, or a normalised tensor of one sample.
    layers
        Names, in any order.
    widths
        Channels kept a node, from the answer to the input; the last one counts for all layers beyond.
    rules
        How relevance is propagated; LRP's choice for the model by default.

    Raises
    ------
    BadInput
        For several inputs, or no layers or widths.
    DoesNotFit
        For layers beside each other.
    """
    execution = execution or Execution()
    batch = model.prepare(source)
    asked = "Asked for an attribution graph"
    if len(batch) != 1:
        raise BadInput(asked, f"Found {len(batch)} inputs", "Give one")
    if not layers or not widths or min(widths) < 1:
        found = f"Found layers {tuple(layers)} and widths {tuple(widths)}"
        raise BadInput(asked, found, "Name at least one layer, and keep at least one channel")
    with model.untouched(execution.device):
        x = batch.tensor.to(model.device, model.dtype)
        seen = traced(model, x, target, list(dict.fromkeys(layers)), rules or LRP())
        order = seen.layers[::-1]
        kept = [widths[min(i, len(widths) - 1)] for i in range(len(order))]
        score = float(seen.trace.scores.detach())
        nodes = _split(seen, order, kept, seen.trace.slope(order[0]), (), execution)
    return AttributionGraph(str(seen.target.descriptions[0]["label"]), score, nodes)


def _split(
    seen: Traced,
    order: Sequence[str],
    widths: Sequence[int],
    gradient: Tensor,
    above: tuple[tuple[str, int], ...],
    execution: Execution,
) -> tuple[Node, ...]:
    layer, place = order[0], seen.places[order[0]]
    output = seen.trace.layers[layer]
    totals = place.totals(output.detach() * gradient)[0]
    whole = float(totals.abs().sum())
    leading = totals.abs().argsort(dim=0, descending=True, stable=True)[: widths[0]].tolist()
    nodes = []
    for done, channel in enumerate(leading):
        relevance, path = float(totals[channel]), (*above, (layer, channel))
        children: tuple[Node, ...] = ()
        if order[1:]:
            alone = place.gate(Units((channel,)), output)(gradient)
            further = seen.trace.onward(layer, alone, order[1])
            children = _split(seen, order[1:], widths[1:], further, path, execution)
        nodes.append(Node(path, relevance, relevance / whole if whole else 0.0, children))
        if not above:
            execution.step(done + 1, len(leading), "attribution graph")
    return tuple(nodes)


def _lines(nodes: Sequence[Node], indent: str) -> Iterator[str]:
    for i, node in enumerate(nodes):
        last = i == len(nodes) - 1
        layer, channel = node.path[-1]
        part = f"{'-' if node.part < 0 else ''}{percent(abs(node.part))}"
        yield f"{indent}{'└' if last else '├'} {layer} channel {channel}: {part}, {number(node.relevance)}"
        yield from _lines(node.children, indent + ("  " if last else "│ "))
