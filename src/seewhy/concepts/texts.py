"""Concepts from texts: a word instead of a folder of examples, by way of an encoder of images and texts.

The encoder and the network look at the same photos, which need no labels. A linear map, fitted to these
pairs, carries the text's direction from the encoder's space into a layer: its concept vector. It is the
difference of means between photos whose vectors differ by the text, so that everything behind the vector is
as for examples. Where the map does not hold on photos that it was not fitted to, the layer is refused.

Formula
    t = vector of the text - mean vector of other texts (what all texts share, and photos do not, goes away);
    v = H' Z (Z' Z + r)^-1 t, Z and H the photos' vectors and pooled features, less their means.
Emblems
    (Visual-TCAV) examples are the `top` photos with the largest z . t, all other photos are the random ones.
Chance
    random concepts are the same texts after photos have changed places: every photo keeps its features and
    gets the vector of another. `p` of TCAV: whether photos with larger z . t lie further along the mean
    gradient of the class, by permutation. Accuracy: of photos held out, the share of pairs of a `top` one and
    another in which the first lies further along the vector.
Needs
    an encoder of images and texts; unlabelled photos, some of which show what the texts say, a few hundred;
    other texts.
Cost
    a pass of the network and one of the encoder a photo.
Paper
    Moayeri et al.: Text-To-Concept (and Back) via Cross-Model Alignment, 2023,
    https://arxiv.org/abs/2305.06386.
Departures
    the paper maps the network's features to the encoder's space and compares there. What is needed here is
    a pattern, what the layer does when the text applies, not a filter, what to look at to notice it; so the
    map runs from the encoder to the layer. The ridge, the held-out gate, the emblems and chance are ours.
    The vector is what the encoder makes of the words: it can be wrong about them, and what the photos do not
    show cannot be carried. Intervals are over photos, not over encoders or wordings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from seewhy import provenance
from seewhy.concepts.alignment import Fit, fit_held_out
from seewhy.concepts.draws import key
from seewhy.concepts.sets import ImageSet
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.inputs.images import read_image
from seewhy.models.dual_encoder import DualEncoder
from seewhy.models.model import Model
from seewhy.types import Json

FEWEST_PHOTOS = 60
LEAST = 0.1
"""Held-out R^2 that the interval must lie above for a layer to be answered for."""
_AT_ONCE = 16
"""Photos a pass of the encoder."""


@dataclass(frozen=True, eq=False)
class TextConcepts:
    """Concepts given by texts; made by `text_concepts`, taken by `VisualTCAV` and `TCAV` instead of examples.

    Parameters
    ----------
    names
        Of the concepts.
    photos
        Those that could be read.
    vectors
        `(n, d)` float64: the encoder's vectors of them, of length 1.
    directions
        `(q, d)` float64: of the texts, less the mean of other texts.
    top
        Photos that stand for a text's examples.
    gate
        R^2 below which a layer is refused.
    about
        JSON-serialisable: encoder, texts, template, counts, photos left out.
    """

    names: tuple[str, ...]
    photos: ImageSet
    vectors: Tensor
    directions: Tensor
    top: int
    gate: float = LEAST
    about: Json = field(default_factory=dict)

    def scores(self) -> Tensor:
        """Return `(n, q)`: how much more the encoder sees the text in each photo than other texts."""
        return self.vectors @ self.directions.T

    def nearest(self) -> list[list[int]]:
        """Return, for each text, the rows of the `top` photos with the largest scores, best first."""
        order = self.scores().argsort(dim=0, descending=True, stable=True)
        found: list[list[int]] = order[: self.top].T.tolist()
        return found

    def fit(self, layer: str, features: Tensor, seed: int) -> Fit:
        """Return how well a layer's `(n, c)` features follow from the vectors.

        Raises
        ------
        BadInput
            Where they do not: the interval of R^2 reaches down to `gate`.
        """
        found = fit_held_out(self.vectors, features, key(seed, "alignment"))
        if not found.low > self.gate:
            raise BadInput(
                f"Asked {layer!r} for concepts from texts",
                f"Its features follow from the encoder's vectors with R² = {found.r2:.2f} on photos held out "
                f"[{found.low:.2f}, {found.high:.2f}]; the interval must lie above {self.gate:g}",
                "Give more and more varied photos, a later layer, another encoder, or example images",
            )
        return found

    @property
    def sets(self) -> list[ImageSet]:
        """What the network has to look at."""
        return [self.photos]

    def notes(self, fits: Mapping[str, Fit]) -> Json:
        """Return what results say of the texts, with the fit in each layer and the nearest photos."""
        scores, best = self.scores(), self.nearest()
        texts = {
            **self.about,
            "top": self.top,
            "gate": self.gate,
            "fits": {layer: f.to_json() for layer, f in fits.items()},
            "nearest": {
                name: [[self._called(i), float(scores[i, q])] for i in best[q]]
                for q, name in enumerate(self.names)
            },
        }
        others = len(self.photos) - self.top
        return {"concepts": dict.fromkeys(self.names, self.top), "random": others, "texts": texts}

    def pictures(self, model: Model, most: int = 8) -> Tensor:
        """Return `(q, m, c, *size)` uint8: the nearest photos as the model sees them, best first."""
        shown = [self.photos.take(rows[:most]) for rows in self.nearest()]
        return torch.stack(
            [provenance.display_pixels(model, s.prepared(model, 0, len(s))).cpu() for s in shown]
        )

    def _called(self, row: int) -> str:
        photo = self.photos.source[row]
        return str(photo) if isinstance(photo, str | Path) else f"photo {row}"


def text_concepts(
    texts: Mapping[str, str] | Sequence[str],
    photos: Any,
    encoder: DualEncoder,
    others: Sequence[str],
    *,
    template: str = "{}",
    top: int = 20,
    gate: float = LEAST,
    execution: Execution | None = None,
) -> TextConcepts:
    """Return concepts for `VisualTCAV` and `TCAV`.

    Parameters
    ----------
    texts
        Words or phrases, or name to phrase.
    photos
        A folder, paths or PIL images, at least 60, without labels; several hundred are better.
    encoder
        Of photos and texts (see `load_dual_encoder`).
    others
        At least 2 texts of anything else, whose mean is taken off: the labels of a classifier will do.
    template
        What the encoder reads, with "{}" for a text, other texts too.
    top
        Photos that stand for the examples of each text, at least 6; at most a quarter of all are taken.
    gate
        R^2 below which a layer is refused, at least 0.
    execution
        Batch size of the encoder, progress, cancelling.

    Raises
    ------
    BadInput
        For too few photos or texts, or a text that the encoder does not tell from the others' mean.
    """
    execution = execution or Execution()
    named = dict(texts) if isinstance(texts, Mapping) else {text: text for text in texts}
    phrases = [phrase.strip() for phrase in named.values()]
    asked = "Asked for concepts from texts"
    if isinstance(texts, str) or not phrases or not all(phrases) or len(named) < len(texts):
        raise BadInput(asked, f"Found {texts!r}", "Give a list of texts, each once, or {name: text}")
    contrasts = list(dict.fromkeys(o.strip() for o in others if o.strip()))
    if isinstance(others, str) or len(contrasts) < 2:
        raise BadInput(asked, f"Found {len(contrasts)} other texts to compare with", "Give 2 or more")
    if "{}" not in template or top < 6 or gate < 0:
        found = f"Found template {template!r}, top {top}, gate {gate}"
        raise BadInput(asked, found, 'Give a template with "{}", a top of 6 or more and a gate of 0 or more')
    spoken, rest = (
        encoder.of_texts([template.replace("{}", t) for t in some]).double() for some in (phrases, contrasts)
    )
    directions = spoken - rest.mean(0)
    for phrase, direction in zip(phrases, directions, strict=True):
        if float(direction.norm()) < 1e-6:
            raise BadInput(asked, f"{encoder.name} takes {phrase!r} for what other texts are on the mean")
    kept, vectors, failures = _encoded(photos, encoder, execution)
    if len(vectors) < FEWEST_PHOTOS:
        raise BadInput(asked, f"{len(vectors)} photos can be read", f"Give at least {FEWEST_PHOTOS}")
    if vectors.shape[1] != directions.shape[1]:
        numbers = f"Images have {vectors.shape[1]} numbers, texts {directions.shape[1]}"
        raise BadInput(f"Asked {encoder.name} to compare", numbers)
    about = {
        "encoder": encoder.name,
        "encoder_sha256": encoder.weights_hash,
        "texts": dict(zip(named, phrases, strict=True)),
        "template": template,
        "others": len(contrasts),
        "photos": len(vectors),
        "failures": failures,
    }
    count = min(top, len(vectors) // 4)
    photo_set = ImageSet("photos", tuple(kept))
    return TextConcepts(tuple(named), photo_set, vectors.double(), directions, count, gate, about)


def _encoded(photos: Any, encoder: DualEncoder, execution: Execution) -> tuple[list[Any], Tensor, list[str]]:
    """Return the photos that can be read, `(n, d)` vectors of them, and why others cannot."""
    source = ImageSet.of("photos", photos).source
    if isinstance(source, Tensor):
        raise BadInput("Asked for concepts from texts", "The photos are a tensor", "Give files or PIL images")
    kept: list[Any] = []
    failures: list[str] = []
    vectors: list[Tensor] = []
    waiting: list[Image.Image] = []
    size = execution.batch_size or _AT_ONCE
    for done, photo in enumerate(source):
        try:
            waiting.append(read_image(photo) if isinstance(photo, str | Path) else photo)
            kept.append(photo)
        except BadInput as error:
            failures.append(str(error))
        if waiting and (len(waiting) >= size or done + 1 == len(source)):
            vectors.append(encoder.of_images(waiting))
            waiting = []
        execution.step(done + 1, len(source), "photos for the encoder")
    return kept, torch.cat(vectors) if vectors else torch.zeros(0, 0), failures
