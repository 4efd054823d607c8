"""Naming where the right names are known: the outputs of a classifier.

    python -m benchmarks.naming --stamps FOLDER --count 600

Each output of EfficientNet-Lite0 stands for a class. An encoder that knows nothing of that network is asked
to name all 1,000 from photos of 60 or so classes (cut-outs on real photos): MobileNetV2, whose probabilities
are the vectors of photos, and the classes' names those of texts. Outputs whose class is in the photos should
get its name; the other names cannot be right, and should be no better than chance.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

import seewhy
from benchmarks.ground_truth.composites import backgrounds, scene
from benchmarks.ground_truth.stamps import DEFAULT, read_stamps
from seewhy.concepts import NameSettings, name_channels
from seewhy.models.dual_encoder import DualEncoder


def encoder_of(model: seewhy.Model, words: Sequence[str]) -> DualEncoder:
    """Return a classifier as an encoder: images by their probabilities, texts by the class of that name."""
    place = {word: i for i, word in enumerate(words)}

    def images(photos: Sequence[Image.Image]) -> torch.Tensor:
        with torch.inference_mode():
            return model.probabilities(model.answer(model.prepare(list(photos)).tensor).output)

    def texts(lines: Sequence[str]) -> torch.Tensor:
        return torch.eye(len(words))[[place[line] for line in lines]]

    return DualEncoder("mobilenet-v2 and class names", images, texts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--stamps", type=Path, default=DEFAULT)
    parser.add_argument("--out", type=Path, default=Path("naming-data"))
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--top", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    cut_outs, photos, paths, classes = read_stamps(args.stamps), backgrounds(), [], set()
    for i in range(args.count):
        made = scene(11, i, 1, cut_outs, photos)
        if made is not None:
            paths.append(args.out / f"{i:04d}.png")
            made.picture.save(paths[-1])
            classes |= set(made.classes)
    model, other = seewhy.load("efficientnet-lite0"), seewhy.load("mobilenet-v2")
    words = [f"{i} {model.label(i)}" for i in range(1000)]  # some labels come twice
    found = name_channels(model, paths, encoder_of(other, words), words, NameSettings("_fc", top=args.top))
    print(
        f"`python -m benchmarks.naming --count {args.count} --top {args.top}`: {len(found.photos)} photos\n"
    )
    for title, group in (
        ("in the photos", [n for n in found.names if n.channel in classes]),
        ("not in them", [n for n in found.names if n.channel not in classes]),
    ):
        right = sum(n.word == words[n.channel] for n in group)
        five = sum(
            words[n.channel] in [words[k] for k in found.scores[n.channel].topk(5).indices.tolist()]
            for n in group
        )
        print(
            f"- classes {title}: {len(group)} outputs, {right} named right, {five} among the best five, "
            f"{sum(n.named for n in group)} better than chance"
        )


if __name__ == "__main__":
    main()
