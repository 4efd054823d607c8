"""A pass over one unchanged input, followed: which maps it makes, by which steps, and what they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from seewhy.models.calls import map_tensors
from seewhy.perturb.incremental.steps import Step, passes_on, spoken, step
from seewhy.perturb.incremental.tracked import Session, Tracked
from seewhy.types import Size


@dataclass(frozen=True)
class Node:
    """A map of which patches can be made.

    Parameters
    ----------
    step
        How; None for the input.
    sources
        The nodes that it is made of.
    size
        Cells along each axis.
    """

    step: Step | None
    sources: tuple[int, ...]
    size: Size


@dataclass(frozen=True)
class Event:
    """A call with maps of the network.

    Parameters
    ----------
    name
        Of the function.
    sources
        Nodes among its arguments, -1 for maps of which there are no patches.
    node
        Of the result; -1 where there is none.
    """

    name: str
    sources: tuple[int, ...]
    node: int


class Recording(Session):
    """Runs a network once.

    Parameters
    ----------
    network
        In evaluation mode.
    x
        `(1, c, *size)`.

    Raises
    ------
    NoPatches
        When the network's code looks at values.
    """

    def __init__(self, network: nn.Module, x: Tensor) -> None:
        self.nodes = [Node(None, (), tuple(x.shape[2:]))]
        self.clean = [x]
        """What each node holds while the input is unchanged, `(1, c, *size)`."""
        self.events: list[Event] = []
        self.answer = self.finished(network(Tracked.of(self, 0, x, tuple(x.shape))))
        """What the network returned."""

    def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        keywords: dict[str, Any],
        maps: list[Tracked],
    ) -> Any:
        """See `Session.call`."""
        name, in_place = spoken(function, keywords)
        if passes_on(name, keywords):
            return maps[0]
        sources = tuple(t.node for t in maps)
        found = step(name, function, args, keywords, maps) if min(sources) >= 0 else None
        if found is None:
            self.events.append(Event(name, sources, -1))
            return self.followed(name, self.on_wholes(function, args, keywords, maps), maps)
        self.events.append(Event(name, sources, len(self.nodes)))
        if found.slides is None:  # its work writes into none of the maps
            held = found.work(*(t.held for t in maps))
        else:
            plain, named = map_tensors((args, keywords), lambda t: t.held if isinstance(t, Tracked) else t)
            held = function(*plain, **named)
        self.nodes.append(Node(found, sources, tuple(held.shape[2:])))
        self.clean.append(held)
        if in_place:
            maps[0].node, maps[0].held = len(self.nodes) - 1, held
            return maps[0]
        return Tracked.of(self, len(self.nodes) - 1, held, tuple(held.shape))

    def whole(self, t: Tracked) -> Tensor:
        """See `Session.whole`; a copy, since the network may write into it."""
        return t.held.clone()
