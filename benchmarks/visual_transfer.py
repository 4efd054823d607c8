"""Do images made for one network mean the same to another? `python -m benchmarks.visual_transfer`.

For each class an image is optimised on one network and shown to the other. Its rank among the 1,000 classes
there is 1 where the image shows what both have learned; patterns that only fool the first rank by chance.
"""

from __future__ import annotations

import argparse
import statistics

import torch

import seewhy
from seewhy.concepts import FeatureVisualisation
from seewhy.concepts.ascent import as_input
from seewhy.models.model import Model

CLASSES = (340, 281, 949, 779, 417, 130)
"""Zebra, tabby, strawberry, school bus, balloon, flamingo."""


def ranks(made_on: Model, shown_to: Model, method: FeatureVisualisation) -> list[int]:
    """Return the rank of each class on the second network, 1 for its answer."""
    found = []
    for which, one in zip(CLASSES, method(made_on, list(CLASSES)).visualisations, strict=True):
        with shown_to.untouched(), torch.no_grad():
            output = shown_to.answer(as_input(shown_to, one.images)).output[0]
        found.append(int((output > output[which]).sum()) + 1)
    return found


def main() -> None:
    """Print a row for each pair of networks and each decay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs=2, default=["efficientnet-lite0", "mobilenet-v2"])
    parser.add_argument("--decays", nargs="+", type=float, default=[1.0, 1.5])
    parser.add_argument("--steps", type=int, default=128)
    given = parser.parse_args()
    models = [seewhy.load(spec) for spec in given.models]
    for decay in given.decays:
        for made_on, shown_to in (models, models[::-1]):
            found = ranks(made_on, shown_to, FeatureVisualisation(steps=given.steps, decay=decay))
            pair = f"{made_on.name} -> {shown_to.name}"
            print(f"decay {decay:g}, {pair}: median rank {statistics.median(found):g}", found)


if __name__ == "__main__":
    main()
