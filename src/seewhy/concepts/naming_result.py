"""Names of channels: a row each, with the next best word and what chance would have found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from seewhy.errors import BadInput
from seewhy.inputs.images import read_image
from seewhy.show.gallery import Chapter, Strip, Tile, gallery
from seewhy.show.words import number
from seewhy.types import Json

if TYPE_CHECKING:
    from PIL.Image import Image

    from seewhy.models.model import Model

READING = (
    "The score chooses the name: how much better it fits the photos that activate this channel most than "
    "those of the others, in nats over these photos. The lift says how much better than photos at random. "
    "Chance is the lift of names that are given when photos change places, p how often that is as large; "
    "names with p of 0.05 or more are no better than chance. A name is what an encoder makes of the photos: "
    "it knows neither where in them the channel looks, nor words that were not given."
)


@dataclass(frozen=True)
class Name:
    """One channel or direction.

    Parameters
    ----------
    channel
        Its number.
    word, score
        The best word and its score, in nats.
    second, second_score
        The next best.
    lift
        How much better the word fits than with photos at random, in nats.
    chance
        The lift of names that are given when photos change places, the mean over shuffles.
    p
        Share of the shuffles, the true order counted, whose lift reaches `lift`.
    named
        Whether p is below 0.05 and the channel varies.
    """

    channel: int
    word: str
    score: float
    second: str
    second_score: float
    lift: float
    chance: float
    p: float
    named: bool

    def words(self) -> str:
        """Return "lift 21, chance 4, p = 0.025; score 6, next dog (5)", after "no better than chance:"."""
        told = (
            f"lift {number(self.lift)}, chance {number(self.chance)}, p = {number(self.p)}; "
            f"score {number(self.score)}, next {self.second} ({number(self.second_score)})"
        )
        return told if self.named else f"no better than chance: {told}"


@dataclass(frozen=True, eq=False)
class Naming:
    """All names of a layer.

    Parameters
    ----------
    layer
        Its name.
    names
        In order of channel.
    strongest
        `(channels, at most 16)` int64: photos that activate each most, best first.
    photos
        Paths of those that could be read.
    scores
        `(channels, words)` float32.
    vocabulary
        The words.
    failures
        Why photos were left out.
    about
        JSON-serialisable: model, encoder, settings, seed.
    """

    layer: str
    names: tuple[Name, ...]
    strongest: Tensor
    photos: tuple[str, ...]
    scores: Tensor
    vocabulary: tuple[str, ...]
    failures: tuple[str, ...]
    about: Json

    def __repr__(self) -> str:
        return f"Naming({self.summary()})"

    def ranking(self) -> list[Name]:
        """Return the names: those better than chance first, by how far they are above it."""
        return sorted(self.names, key=lambda n: (not n.named, n.chance - n.lift))

    def summary(self) -> str:
        """Return one sentence."""
        unit = "directions" if self.about["directions"] else "channels"
        found = sum(n.named for n in self.names)
        return (
            f"{found} of {len(self.names)} {unit} of {self.layer} have a name that is better than chance; "
            f"{0.05 * len(self.names):.0f} would by chance alone"
        )

    def to_rows(self) -> list[Json]:
        """Return the names as plain dictionaries, for tables and parquet."""
        return [asdict(name) for name in self.names]

    def to_json(self) -> Json:
        """Return everything but scores as plain JSON."""
        return {
            **self.about,
            "photos": len(self.photos),
            "failures": list(self.failures),
            "names": [
                {**row, "strongest": [self.photos[i] for i in some]}
                for row, some in zip(self.to_rows(), self.strongest.tolist(), strict=True)
            ],
        }

    def chapters(self, model: Model, names: Sequence[Name], count: int = 8, cell: int = 128) -> list[Chapter]:
        """Return some names with the photos that activate the channel most, as the model sees them.

        Parameters
        ----------
        model
            Whose channels they are.
        names
            Of this naming.
        count, cell
            Photos a channel, and pixels of their longer side.

        Raises
        ------
        BadInput
            For a model without preprocessing.
        """
        if model.preprocess is None:
            raise BadInput("Asked to show photos", f"{model.name} has no preprocessing")
        unit = "direction" if self.about["directions"] else "channel"
        chapters = []
        for name in names:
            tiles = []
            for i in self.strongest[name.channel, :count].tolist():
                frame = model.preprocess.frame(read_image(self.photos[i])).convert("RGB")
                frame.thumbnail((cell, cell))
                tiles.append(Tile(frame))
            said = name.words()
            title = f"{name.word if name.named else f'({name.word})'}: {unit} {name.channel}"
            chapters.append(Chapter(title, f"{said[0].upper()}{said[1:]}.", [Strip("strongest", tiles)]))
        return chapters

    def picture(self, model: Model, names: Sequence[Name], count: int = 8) -> Image:
        """Return some names as one picture; parameters as in `chapters`."""
        return gallery(
            self.chapters(model, names, count),
            title=f"Names for {self.layer} of {self.about['model']} by {self.about['encoder']}: "
            f"{self.summary()} ({len(self.photos)} photos)",
            caption=READING,
        )
