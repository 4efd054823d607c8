"""Galleries: what chosen channels of a network stand for, told by the photos in which they mattered most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from seewhy.concepts.collected import KINDS, NO_CLASS, Collected, Kind
from seewhy.concepts.exemplar import VISIBLE, WINDOWS, Exemplar, Window, exemplars
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.inputs.images import read_image
from seewhy.models.model import Model
from seewhy.show.gallery import Chapter, Strip, Tile, focused, gallery
from seewhy.targets import TargetLike
from seewhy.types import Json

_CLASSES = 3
READING = (
    "Rows named relevance: the photos in which the channel has the largest part of what speaks for the "
    "explained class (its label below); the seen part carries that relevance. Rows named activation: the "
    "photos that activate it most, whatever for; the seen part activates it."
)
_TITLES: dict[Kind, str] = {"relevance": "relevance", "activation": "activation"}


@dataclass(frozen=True)
class Share:
    """A channel's mean part of the relevance over some inputs.

    Parameters
    ----------
    label
        Of the class, or "all".
    mean
        Signed part of the sum of magnitudes over the layer's channels, -1 to 1.
    margin
        Half of its 95 % interval; NaN for a single input.
    inputs
        How many.
    """

    label: str
    mean: float
    margin: float
    inputs: int

    def words(self) -> str:
        """Return "3.14 % ± 0.22 (150 photos)"."""
        spread = f" ± {100 * self.margin:.2g}" if self.margin == self.margin else ""
        return f"{100 * self.mean:.3g} %{spread} ({self.inputs} photo{'s' * (self.inputs != 1)})"


@dataclass(frozen=True, eq=False)
class Card:
    """One channel.

    Parameters
    ----------
    layer, channel
        Which.
    share
        Over all inputs.
    classes
        Those in whose explanations it has the largest mean part, largest first.
    exemplars
        Reference samples by kind.
    tiles
        The same as pictures.
    """

    layer: str
    channel: int
    share: Share
    classes: tuple[Share, ...]
    exemplars: Mapping[Kind, Sequence[Exemplar]]
    tiles: Mapping[Kind, Sequence[Tile]]

    @property
    def title(self) -> str:
        """Layer and channel in words."""
        return f"{self.layer}, channel {self.channel}"

    def note(self) -> str:
        """Return its shares in words."""
        each = "; ".join(f"{s.label} {s.words()}" for s in self.classes)
        return f"Mean part of the relevance {self.share.words()}." + (
            f" Largest for: {each}." if each else ""
        )

    def to_json(self) -> Json:
        """Return it without pictures and maps."""
        return {
            "layer": self.layer,
            "channel": self.channel,
            "share": _plain(self.share),
            "classes": [_plain(s) for s in self.classes],
            **{
                kind: [
                    {
                        "photo": e.name,
                        "value": e.value,
                        "target": e.label,
                        "window": [list(w) for w in e.window],
                    }
                    for e in self.exemplars[kind]
                ]
                for kind in KINDS
            },
        }


@dataclass(frozen=True, eq=False)
class Gallery:
    """Cards of channels, and what they were made from."""

    cards: tuple[Card, ...]
    about: Json
    inputs: int
    failures: tuple[str, ...]

    def picture(self, cell: int = 128) -> Image.Image:
        """Return all cards as one picture."""
        chapters = [
            Chapter(
                card.title,
                card.note(),
                [Strip(_TITLES[kind], card.tiles[kind], "no photo above 0") for kind in KINDS],
            )
            for card in self.cards
        ]
        counted = f"{self.inputs} photos"
        return gallery(
            chapters,
            title=f"What channels of {self.about['model']} respond to · {counted}",
            caption=READING,
            cell=cell,
        )

    def to_json(self) -> Json:
        """Return the numbers as plain JSON."""
        return {
            "about": self.about,
            "photos": self.inputs,
            "failures": list(self.failures),
            "channels": [card.to_json() for card in self.cards],
        }


def make_gallery(
    model: Model,
    collected: Collected,
    channels: Mapping[str, Sequence[int]],
    target: TargetLike = None,
    execution: Execution | None = None,
    *,
    count: int = 8,
    window: Window = "map",
    of: int | None = None,
    cell: int = 128,
) -> Gallery:
    """Make the cards of some channels.

    Parameters
    ----------
    model, collected, target
        What was collected, and with what.
    channels
        By layer.
    execution
        Batch size, progress, cancelling, device.
    count
        Photos a row, at most as many as were collected.
    window
        What of each photo is shown: around the "map", the "receptive_field", or the "whole".
    of
        Only relevance samples of this class (needs tables by class).
    cell
        Pixels of a picture's side.

    Raises
    ------
    BadInput
        For layers, channels or classes that were not collected.
    """
    execution = execution or Execution()
    _check(collected, channels, of, window)
    jobs = [(layer, c) for layer, chosen in channels.items() for c in chosen]
    cards = []
    for done, (layer, channel) in enumerate(jobs):
        found = {
            kind: exemplars(
                model, collected, kind, layer, channel, target, execution,
                count=count, window=window, of=of if kind == "relevance" else None,
            )
            for kind in KINDS
        }  # fmt: skip
        tiles = {kind: [_tile(model, e, cell) for e in some] for kind, some in found.items()}
        share, classes = _shares(model, collected, layer, channel)
        cards.append(Card(layer, channel, share, classes, found, tiles))
        execution.step(done + 1, len(jobs), "gallery")
    read = collected.profiles[NO_CLASS, jobs[0][0]].count if jobs else 0
    return Gallery(tuple(cards), collected.about, read, tuple(collected.failures.values()))


def _check(
    collected: Collected, channels: Mapping[str, Sequence[int]], of: int | None, window: Window
) -> None:
    if window not in WINDOWS:
        raise BadInput(
            "Asked for a gallery", f"Found the window {window!r}", f"Choose one of {', '.join(WINDOWS)}"
        )
    if not any(channels.values()):
        raise BadInput("Asked for a gallery", "No channel is named", "Name at least one")
    for layer, chosen in channels.items():
        table = collected.tables.get(("relevance", layer))
        if table is None:
            raise BadInput(
                f"Asked for a gallery of {layer!r}",
                "It was not collected",
                f"Choose among {', '.join(collected.settings.layers)}",
            )
        last = table.values.shape[1] - 1
        if wrong := [c for c in chosen if not 0 <= c <= last]:
            raise BadInput(
                f"Asked for channel {wrong[0]} of {layer!r}",
                f"It has channels 0 to {last}",
                "Choose one of them",
            )
        if of is not None and (of, layer) not in collected.by_class:
            raise BadInput(
                f"Asked for the photos of class {of}",
                "None was collected",
                "Collect with per_class above 0, from photos that are explained for it",
            )


def _shares(model: Model, collected: Collected, layer: str, channel: int) -> tuple[Share, tuple[Share, ...]]:
    def share(c: int) -> Share:
        profile = collected.profiles[c, layer]
        label = "all" if c == NO_CLASS else model.label(c)
        return Share(label, float(profile.means[channel]), float(profile.margins[channel]), profile.count)

    classes = [share(c) for c in collected.classes() if (c, layer) in collected.profiles]
    best = sorted((s for s in classes if s.mean > 0), key=lambda s: -s.mean)
    return share(NO_CLASS), tuple(best[:_CLASSES])


def _tile(model: Model, exemplar: Exemplar, cell: int) -> Tile:
    photo = read_image(exemplar.name)
    preprocess = model.preprocess
    assert preprocess is not None
    if preprocess.fit != "none":  # more pixels than the model saw, of the same part of the photo
        h, w = exemplar.map.shape
        sides = [b - a for a, b in exemplar.window]
        factor = min(6, max(1, -(-cell // max(1, min(sides)))))
        preprocess = preprocess.at((h * factor, w * factor))
    picture = focused(
        preprocess.frame(photo), exemplar.strength.numpy(), exemplar.window, visible=VISIBLE, cell=cell
    )
    return Tile(picture, exemplar.label or Path(exemplar.name).stem)


def _facts(e: Exemplar) -> Json:
    return {"photo": e.name, "value": e.value, "target": e.label, "window": [list(w) for w in e.window]}


def _plain(share: Share) -> Json:
    margin = share.margin if share.margin == share.margin else None
    return {"label": share.label, "mean": share.mean, "margin": margin, "inputs": share.inputs}
