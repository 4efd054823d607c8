"""What TCAV found: a row for each concept, layer and class; it saves, opens and draws itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from seewhy.concepts.record import open_record
from seewhy.concepts.record import save as save_record
from seewhy.concepts.significance import LEVEL
from seewhy.concepts.text_picture import NEAREST, text_note
from seewhy.show.bars import Bar, bars
from seewhy.show.words import number
from seewhy.types import Json

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class TcavRow:
    """One concept in one layer for one class.

    Parameters
    ----------
    concept, layer, target, index
        Which; `target` is the class's label, `index` its number.
    score, low, high
        TCAV score, 0 to 1, mean over the runs; 95 % interval over runs and images.
    random
        Mean score of random images taken as a concept.
    sensitivity, sensitivity_low, sensitivity_high
        Mean slope of the logit along the vector of length 1, in logits per unit of activation; interval.
    cliffs_delta
        How much more often a run's score is above a random one's than below, -1 to 1.
    t, p_t
        The paper's t-test of `scores` against `random_scores`; NaN where neither varies.
    p, p_corrected
        Two-sided permutation test, and corrected for the number of rows.
    accuracy
        Mean held-out accuracy of the vectors, 0 to 1; 0.5 is chance.
    separable
        Whether that reaches the gate.
    images
        Of the class.
    scores, random_scores
        One a run.
    """

    concept: str
    layer: str
    target: str
    index: int
    score: float
    low: float
    high: float
    random: float
    sensitivity: float
    sensitivity_low: float
    sensitivity_high: float
    cliffs_delta: float
    t: float
    p_t: float
    p: float
    p_corrected: float
    accuracy: float
    separable: bool
    images: int
    scores: tuple[float, ...]
    random_scores: tuple[float, ...]

    def with_p(self, corrected: float) -> TcavRow:
        """Return the row with its corrected p."""
        return replace(self, p_corrected=corrected)

    @property
    def significant(self) -> bool:
        """Whether the concept is separable and its corrected p is below 0.05."""
        return self.separable and self.p_corrected < LEVEL

    @property
    def verdict(self) -> str:
        """In words, for tables and pictures."""
        if not self.separable:
            return f"not separable here (accuracy {self.accuracy:.2f})"
        told = "significant" if self.significant else "not significant"
        return f"p = {number(self.p_corrected)}, {told}; accuracy {self.accuracy:.2f}"


@dataclass(frozen=True, eq=False)
class TcavResult:
    """All rows, and what made them.

    Parameters
    ----------
    rows
        Layers outermost, then concepts in the order given, then classes.
    vectors
        Layer to `(concepts, d)` float32: each concept's vector from all of its images.
    provenance
        JSON-serialisable: model, weights' hash, parameters, counts of images, passes; for concepts from texts
        also "texts": encoder, fit of each layer, nearest photos.
    nearest
        `(concepts, m, c, *size)` uint8: the photos nearest to each text; None for concepts from examples.
    """

    rows: tuple[TcavRow, ...]
    vectors: dict[str, Tensor]
    provenance: Json
    nearest: Tensor | None = None

    def __repr__(self) -> str:
        return f"TcavResult({len(self.rows)} rows of {self.provenance['model']})"

    def ranking(self, target: int | str | None = None, layer: str | None = None) -> list[TcavRow]:
        """Return the separable rows, the largest sensitivity first, of one class and layer where named."""
        rows = [
            r
            for r in self.rows
            if r.separable and target in (None, r.index, r.target) and layer in (None, r.layer)
        ]
        return sorted(rows, key=lambda r: -r.sensitivity)

    def to_rows(self) -> list[Json]:
        """Return the rows as plain dictionaries, for tables and parquet."""
        return [{**asdict(r), "significant": r.significant} for r in self.rows]

    def save(self, path: str | Path) -> tuple[Path, Path]:
        """Write `path.safetensors` (vectors) and `path.json` (all else); return both paths."""
        tensors = self.vectors if self.nearest is None else {**self.vectors, NEAREST: self.nearest}
        return save_record(path, "tcav", tensors, {"rows": [asdict(r) for r in self.rows], **self.provenance})

    @classmethod
    def open(cls, path: str | Path) -> TcavResult:
        """Read what `save` wrote.

        Raises
        ------
        UnreadableInput
            For missing or damaged files.
        """
        tensors, notes = open_record(path, "tcav")
        rows = tuple(
            TcavRow(**{**r, "scores": tuple(r["scores"]), "random_scores": tuple(r["random_scores"])})
            for r in notes.pop("rows")
        )
        nearest = tensors.pop(NEAREST, None)
        return cls(rows, tensors, {"kind": "tcav", **notes}, nearest)

    def picture(self) -> Image:
        """Return bars of the scores with intervals, grouped by class and layer, random scores marked."""
        groups = {(r.target, r.layer): [] for r in self.rows}  # type: dict[tuple[str, str], list[Bar]]
        for r in self.rows:
            groups[r.target, r.layer].append(
                Bar(r.concept, r.score, r.low, r.high, r.verdict, r.random_scores, faint=not r.significant)
                if r.separable
                else Bar(r.concept, note=r.verdict, faint=True)
            )
        return bars(
            [(f"{target} at {layer}", group) for (target, layer), group in groups.items()],
            title=f"TCAV of {self.provenance['model']}",
            across="share of the class's images whose score the concept raises",
            most=1.0,
            caption="Whiskers: 95 % intervals over runs and images. Dots: random images taken as a concept, "
            "one a run. p: permutation test, corrected for the number of tests. Pale: not significant."
            + text_note(self.provenance),
        )
