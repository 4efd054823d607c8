"""Naming: which of the user's words says best what a channel responds to, judged by an encoder of both.

An encoder of images and texts tells how near each word is to each photo. A channel's name is the word that is
near the photos that activate it most, and not just near any photos. Beside its score stands the best that any
word reaches when photos change places: among many words one always fits a little.

Formula
    p(k|x) = softmax over words of 10 cos(x, k).  x_1, ..., x_n: the `top` photos of channel j by mean
    activation, the strongest first; w_t = 0.998 - 0.028 (t - 1) / n.
    L(j, k) = sum_t log(1 + w_t (p(k|x_t) - 1) + 1e-7);  score = L(j, k) - log mean_j exp L(j, k).
Chance
    activations are handed to other photos, `shuffles` times, the same way for all channels, and names are
    given anew. lift = L of the name - log mean exp L of that word, the mean over all channels and shuffles,
    the true order among them; `chance` is the mean lift of a channel's names in the shuffles, p the share of
    them (the true order counted) that reach the true one. A channel without p < 0.05 is not named.
Needs
    photos of all that the words may mean; an encoder of images and texts; words.
Cost
    a pass of the network and one of the encoder a photo, and (shuffles + 1) x channels x top x words
    logarithms.
Paper
    Oikarinen and Weng: CLIP-Dissect: Automatic Description of Neuron Representations in Deep Vision Networks,
    2023, https://arxiv.org/abs/2204.10965.
Departures
    lift, chance and p are ours. `top` is 100, as published, but at most a quarter of the photos. Of tokens
    the mean over the patches, not the class token. The encoder sees a word in `template`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import seewhy
from seewhy.batching import default_batch_size
from seewhy.concepts.draws import permutation
from seewhy.concepts.naming_result import Name, Naming
from seewhy.concepts.significance import LEVEL
from seewhy.errors import BadInput, DoesNotFit
from seewhy.execution import Execution
from seewhy.inputs.images import read_image
from seewhy.methods.relevance.conditions import Place
from seewhy.models.dual_encoder import DualEncoder
from seewhy.models.layers import default_layer
from seewhy.models.model import Model

SHARPNESS = 10.0
FIRST, LAST = 0.998, 0.97
_NUMBERS = 16_000_000
"""Logarithms taken at once."""


@dataclass(frozen=True)
class NameSettings:
    """How to name.

    Parameters
    ----------
    layer
        A name; None is the model's default. Layers that put out vectors will do.
    top
        Photos that speak for a channel, at least 1; at most a quarter of all are taken.
    shuffles
        For chance, at least 20: the smallest p is 1 / (shuffles + 1).
    template
        What the encoder reads for a word, which stands for "{}".
    """

    layer: str | None = None
    top: int = 100
    shuffles: int = 39
    template: str = "{}"

    def __post_init__(self) -> None:
        if self.top < 1 or self.shuffles < 20 or "{}" not in self.template:
            raise BadInput(
                "Asked to name channels", f"Found {self}", 'Give 20 shuffles or more and a template with "{}"'
            )


def name_channels(
    model: Model,
    photos: Sequence[str | Path],
    encoder: DualEncoder,
    words: Sequence[str],
    settings: NameSettings | None = None,
    execution: Execution | None = None,
    *,
    directions: Tensor | None = None,
) -> Naming:
    """Name the channels of a layer, or directions in it.

    Parameters
    ----------
    model, photos
        The network, and at least 20 paths.
    encoder
        Of photos and words.
    words
        At least 2, each once.
    settings
        Layer, photos a channel, shuffles.
    execution
        Seed of the shuffles, batch size, progress, cancelling, device.
    directions
        `(concepts, channels)`: name these instead of channels (see `seewhy.concepts.discover`).

    Raises
    ------
    BadInput
        For too few photos or words, words that come twice, or directions of another width.
    DoesNotFit, UnknownName
        For a layer that has no channels, or is not there.
    """
    settings, execution = settings or NameSettings(), execution or Execution()
    words = [word.strip() for word in words]
    if len(words) < 2 or len(set(words)) < len(words) or not all(words):
        raise BadInput("Asked to name channels", f"Found {len(words)} words", "Give at least 2, each once")
    spoken = encoder.of_texts([settings.template.replace("{}", word) for word in words])
    layer, values, vectors, kept, failures = _looked(model, photos, encoder, settings.layer, execution)
    if len(kept) < 20:
        raise BadInput("Asked to name channels", f"{len(kept)} photos can be read", "Give at least 20")
    if directions is not None:
        if directions.ndim != 2 or directions.shape[1] != values.shape[1]:
            raise BadInput(
                f"Asked to name directions of {layer}",
                f"Found shape {tuple(directions.shape)} for {values.shape[1]} channels",
                "Give (concepts, channels)",
            )
        values = values @ directions.float().T
    if vectors.shape[1] != spoken.shape[1]:
        raise BadInput(
            f"Asked {encoder.name} to compare",
            f"Images have {vectors.shape[1]} numbers, texts {spoken.shape[1]}",
        )
    chances = (SHARPNESS * vectors @ spoken.T).softmax(1)
    count = min(settings.top, max(1, len(kept) // 4))
    order = values.argsort(dim=0, descending=True, stable=True)[:count].T
    logs = word_logs(chances, order)
    scores = soft_wpmi(logs)
    largest, best = scores.max(1)
    names, found, usual = [best], [logs.gather(1, best[:, None])[:, 0]], [logs.logsumexp(0)]
    for i in range(settings.shuffles):
        moved = permutation(execution.seed, i, len(kept))
        logs = word_logs(chances, moved[order])
        names.append(soft_wpmi(logs).argmax(1))
        found.append(logs.gather(1, names[-1][:, None])[:, 0])
        usual.append(logs.logsumexp(0))
        execution.step(i + 1, settings.shuffles, "shuffled photos")
    mean = torch.stack(usual).logsumexp(0) - math.log(len(usual) * len(order))
    lift, *others = torch.stack(found) - mean[torch.stack(names)]
    table = torch.stack(others)
    p = (1 + (table >= lift).sum(0)).double() / (1 + settings.shuffles)
    second = scores.scatter(1, best[:, None], -torch.inf).max(1)
    silent = values.amax(0) == values.amin(0)
    rows = tuple(
        Name(
            j,
            words[k],
            float(largest[j]),
            words[int(second.indices[j])],
            float(second.values[j]),
            float(lift[j]),
            float(table[:, j].mean()),
            float(p[j]),
            float(p[j]) < LEVEL and not bool(silent[j]),
        )
        for j, k in enumerate(best.tolist())
    )
    about = {
        "model": model.name,
        "weights_sha256": model.weights_hash,
        "encoder": encoder.name,
        "encoder_sha256": encoder.weights_hash,
        "settings": {**asdict(settings), "layer": layer, "top": count},
        "words": len(words),
        "directions": directions is not None,
        "seed": execution.seed,
        "seewhy": seewhy.__version__,
    }
    strongest = order[:, : min(count, 16)]
    return Naming(layer, rows, strongest, tuple(kept), scores, tuple(words), tuple(failures), about)


def word_logs(chances: Tensor, order: Tensor) -> Tensor:
    """Return `(channels, words)`: L of the module's head.

    Parameters
    ----------
    chances
        `(photos, words)`: p(k|x).
    order
        `(channels, top)` int64: photos, the strongest first.
    """
    top = order.shape[1]
    weights = FIRST - (FIRST - LAST) / top * torch.arange(top, dtype=chances.dtype)
    logs = torch.zeros(len(order), chances.shape[1], dtype=chances.dtype)
    size = max(1, _NUMBERS // (top * chances.shape[1]))
    for start in range(0, len(order), size):
        p = chances[order[start : start + size]]
        logs[start : start + size] = (weights[:, None] * (p - 1)).add_(1 + 1e-7).log_().sum(1)
    return logs


def soft_wpmi(logs: Tensor) -> Tensor:
    """Return `(channels, words)` scores of `word_logs`: less the log mean of their exponentials."""
    return logs - (logs.logsumexp(0) - math.log(len(logs)))


def _looked(
    model: Model,
    photos: Sequence[str | Path],
    encoder: DualEncoder,
    layer: str | None,
    execution: Execution,
) -> tuple[str, Tensor, Tensor, list[str], list[str]]:
    """Return the layer, `(n, channels)` mean activations, `(n, d)` vectors, the photos read, and why not."""
    values: list[Tensor] = []
    vectors: list[Tensor] = []
    kept: list[str] = []
    failures: list[str] = []
    waiting: list[tuple[Image.Image, Tensor]] = []

    def pass_(layer: str) -> None:
        x = torch.cat([prepared for _, prepared in waiting])
        output = model.answer(x, [layer]).activations[layer]
        if output.ndim < 2:
            raise DoesNotFit(f"Asked to name channels of {layer!r}", "It has none", "Choose another layer")
        cells = Place.of(model, layer, output, tuple(x.shape[1:])).cells(output)
        values.append(cells.flatten(2).float().mean(2).cpu())
        vectors.append(encoder.of_images([image for image, _ in waiting]))
        waiting.clear()

    with model.untouched(execution.device), torch.inference_mode():
        for done, photo in enumerate(photos):
            try:
                image = read_image(photo)
            except BadInput as error:
                failures.append(str(error))
                continue
            x = model.prepare(image).tensor
            layer = layer or default_layer(model, tuple(x.shape[1:])).name
            if waiting and waiting[0][1].shape != x.shape:
                pass_(layer)
            waiting.append((image, x))
            kept.append(str(photo))
            if len(waiting) >= (execution.batch_size or default_batch_size(x.to(model.device))):
                pass_(layer)
            execution.step(done + 1, len(photos), "photos")
        if layer is None or not kept:
            why = next(iter(failures), "There is none")
            raise BadInput("Asked to name channels", f"No photo can be read. {why}", "Check the files")
        if waiting:
            pass_(layer)
    return layer, torch.cat(values), torch.cat(vectors), kept, failures
