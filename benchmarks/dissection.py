"""Network dissection on photos whose content is known: a trained network against one with random weights.

    python -m benchmarks.dissection --stamps FOLDER --count 300 --out FOLDER

Composites (photo cut-outs of animals, vehicles and the like on real photos) are written down as COCO
annotations, the background among them; then EfficientNet-Lite0 and a copy of it with random weights are
dissected at the same layers. A network that learned nothing has the same shapes and the same data: what it
detects follows from colours, edges and where things are.
"""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

import seewhy
from benchmarks.ground_truth.composites import backgrounds, scene
from benchmarks.ground_truth.stamps import DEFAULT, read_stamps
from seewhy.concepts import Dissecting, FeatureStore, dissect
from seewhy.execution import Execution
from seewhy.inputs.datasets import open_dataset

KINDS = {
    "bird": {7, 8, 9, 23, 90, 96, 97, 99, 130, 134, 145},
    "mammal": {*range(104, 107), *range(270, 365)},
    "vehicle": {404, 417, 555, 569, 751, 847, 870, 895, 914},
    "instrument": {402, 486, 513, 541, 546, 889},
    "food": {937, 949, 953, 956, 987},
    "mushroom": {997},
}
"""Names of concepts and the ImageNet classes of the cut-outs that are one; what is left is a thing."""


def kind(index: int) -> str:
    return next((name for name, classes in KINDS.items() if index in classes), "thing")


def run_lengths(mask: np.ndarray) -> list[int]:
    """Return the counts of COCO's uncompressed run-length encoding: column by column, 0 first."""
    runs = [(value, len(list(group))) for value, group in groupby(mask.T.ravel().tolist())]
    return [0] * bool(runs[0][0]) + [n for _, n in runs]


def write_data(out: Path, stamps: Path, count: int) -> str:
    """Write photos and annotations; return the data set's spec."""
    cut_outs, photos = read_stamps(stamps), backgrounds()
    (out / "photos").mkdir(parents=True, exist_ok=True)
    images, annotations, names = [], [], [*KINDS, "thing", *sorted(photos)]
    for i in range(count):
        made = scene(7, i, 2, cut_outs, photos)
        if made is None:
            continue
        made.picture.save(out / "photos" / f"{i:04d}.png")
        images.append({"id": i, "file_name": f"{i:04d}.png"})
        shown = [(kind(c), m) for c, m in zip(made.classes, made.masks, strict=True)]
        shown.append((made.photo, ~made.masks.any(0)))
        annotations += [
            {
                "image_id": i,
                "category_id": names.index(name),
                "segmentation": {"size": list(mask.shape), "counts": run_lengths(mask)},
            }
            for name, mask in shown
        ]
    categories = [{"id": k, "name": name} for k, name in enumerate(names)]
    listing = {"images": images, "annotations": annotations, "categories": categories}
    (out / "annotations.json").write_text(json.dumps(listing))
    return f"coco:{out / 'annotations.json'}?images={out / 'photos'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--stamps", type=Path, default=DEFAULT)
    parser.add_argument("--out", type=Path, default=Path("dissection-data"))
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--layers", default="_blocks.4,_blocks.10,_swish")
    args = parser.parse_args()
    torch.set_num_threads(1)
    spec = write_data(args.out, args.stamps, args.count)
    settings = Dissecting(tuple(args.layers.split(",")))
    trained = seewhy.load("efficientnet-lite0")
    random = trained.copy()
    torch.manual_seed(0)
    for module in random.module.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    print(f"`python -m benchmarks.dissection --count {args.count}`\n")
    print(
        "| network | layer | channels | detectors | of objects | concepts | largest IoU | p < 0.05 "
        "| by chance |\n"
        "|---|---|---|---|---|---|---|---|---|"
    )
    for name, model in (("trained", trained), ("random weights", random)):
        store = FeatureStore(args.out / "features")
        found = dissect(model, open_dataset(spec), settings, Execution(), store=store)
        found.save(args.out / name.replace(" ", "-"))
        for layer in found.tables:
            units = [u for u in found.units if u.layer == layer]
            counts, best = found.counts(layer), max(units, key=lambda u: u.iou)
            objects = sum(n for concept, n in counts.items() if concept in (*KINDS, "thing"))
            print(
                f"| {name} | {layer} | {len(units)} | {sum(counts.values())} | {objects} "
                f"| {len(counts)} of {len(found.concepts)} | {best.iou:.3f} ({best.concept}) "
                f"| {sum(u.p < 0.05 for u in units)} | {0.05 * len(units):.0f} |"
            )


if __name__ == "__main__":
    main()
