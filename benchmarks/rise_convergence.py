"""How many masks RISE needs: `python -m benchmarks.rise_convergence [--reference N] [--photos N]`.

Rank correlation of RISE's maps with a map of many other masks, by estimator and number of masks. All
estimators see the same masks and scores, so only the arithmetic differs. Takes about
`photos * (reference + 4000)` forward passes.
"""

from __future__ import annotations

import argparse
import sys

import torch

import seewhy
from seewhy.agreement import Agreement
from seewhy.execution import Execution
from seewhy.inputs.photos import demo_photos
from seewhy.methods.masking.rise import RISE, Estimator, Sums
from seewhy.perturb.edits import Jobs
from seewhy.perturb.masks import MaskEdits, RandomGrids
from seewhy.perturb.scorer import Chunk, Scorer
from seewhy.question import Question, ask

COUNTS = (250, 500, 1000, 2000, 4000)
ESTIMATORS: tuple[Estimator, ...] = ("published", "normalised", "centred")
METHOD = RISE()


class Run:
    """The scores of many masks of one seed, and the maps that subsets of them give."""

    def __init__(self, question: Question, masks: int, seed: int) -> None:
        self.device = question.x.device
        cells = (METHOD.cells, METHOD.cells)
        self.grids = RandomGrids(tuple(question.x.shape[2:]), cells, masks, METHOD.keep, seed)
        self.scores = Scorer(question).table(MaskEdits(self.grids, None))[0]

    def map(self, masks: int, estimator: Estimator) -> torch.Tensor:
        """Return the `(1, h, w)` map of the first masks."""
        sums = Sums(self.grids, 1, self.device)
        sums.add(Chunk(Jobs.between(0, masks, 1, self.device), self.scores[:masks], masks, masks))
        return sums.maps(METHOD.keep, estimator)[0]


def main() -> None:
    """Print one table a photo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=int, default=12000)
    parser.add_argument("--photos", type=int, default=2)
    parser.add_argument("--model", default="efficientnet-lite0")
    arguments = parser.parse_args()
    model = seewhy.load(arguments.model)
    print(f"Spearman with {arguments.reference} other masks, {model.name}.\n")
    for name, photo in list(demo_photos().items())[: arguments.photos]:
        with model.untouched():
            question = ask(model, model.prepare(photo).tensor, None, Execution(batch_size=32), "probability")
            print(f"{name} ...", file=sys.stderr)
            run = Run(question, max(COUNTS), seed=0)
            reference = Run(question, arguments.reference, seed=1).map(arguments.reference, "normalised")
        print(f"| {name} | {' | '.join(map(str, COUNTS))} |\n|---{'|---' * len(COUNTS)}|")
        for estimator in ESTIMATORS:
            agreement = [float(Agreement.of(run.map(n, estimator), reference).spearman) for n in COUNTS]
            print(f"| {estimator} | {' | '.join(f'{a:.3f}' for a in agreement)} |")
        print()


if __name__ == "__main__":
    main()
