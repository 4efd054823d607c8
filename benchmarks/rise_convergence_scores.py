"""Scores of many random masks on photos and models: gathered once, kept in a file, read by the benchmark."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import seewhy
from seewhy.execution import Execution
from seewhy.methods.masking.mask_sums import Estimator, Sums
from seewhy.methods.masking.rise import RISE
from seewhy.perturb.edits import Jobs
from seewhy.perturb.masks import MaskEdits, RandomGrids
from seewhy.perturb.scorer import Chunk, Scorer
from seewhy.question import ask

METHOD = RISE()
SEEDS = {"scores": 0, "reference": 1}
_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Scores:
    """Probabilities of the model's own answer behind masks, for every (model, photo).

    Parameters
    ----------
    pairs
        "model: photo".
    size
        Pixels of the masks.
    scores
        `(pairs, masks)` float32 of the masks of seed 0.
    reference
        `(pairs, more)` of the masks of seed 1.
    """

    pairs: list[str]
    size: tuple[int, int]
    scores: Tensor
    reference: Tensor

    def save(self, path: Path) -> None:
        """Write one npz file."""
        np.savez_compressed(
            path,
            pairs=np.array(self.pairs),
            size=np.array(self.size),
            scores=self.scores.numpy(),
            reference=self.reference.numpy(),
        )

    @classmethod
    def open(cls, path: Path) -> Scores:
        """Read it back."""
        with np.load(path) as held:
            size = (int(held["size"][0]), int(held["size"][1]))
            return cls(
                held["pairs"].tolist(),
                size,
                torch.from_numpy(held["scores"]),
                torch.from_numpy(held["reference"]),
            )

    def grids(self, of: str) -> RandomGrids:
        """Return the grids behind "scores" or "reference"."""
        count = (self.scores if of == "scores" else self.reference).shape[1]
        return RandomGrids(self.size, (METHOD.cells, METHOD.cells), count, METHOD.keep, SEEDS[of])

    def sums(self, of: str, estimator: Estimator, counts: Sequence[int]) -> Iterator[tuple[int, Sums]]:
        """Yield the sums over the first masks after each of the rising `counts`."""
        table, n = self.scores if of == "scores" else self.reference, len(self.pairs)
        sums = Sums(self.grids(of), METHOD.keep, estimator, n, table.device)
        at = 0
        for count in counts:
            while at < count:
                to = min(at + _AT_ONCE, count)
                jobs = Jobs.between(at * n, to * n, n, table.device)
                sums.add(Chunk(jobs, table[:, at:to].T.flatten(), to * n, count * n))
                at = to
            yield count, sums


def gather(
    models: Sequence[str],
    photos: Sequence[Path],
    masks: int,
    reference: int,
    execution: Execution,
) -> Scores:
    """Score the masks; takes `models * photos * (masks + reference)` forward passes."""
    pairs: list[str] = []
    rows: dict[str, list[Tensor]] = {of: [] for of in SEEDS}
    size = (0, 0)
    for name in models:
        model = seewhy.load(name)
        for photo in photos:
            print(f"{name}: {photo.stem} ...", file=sys.stderr)
            with model.untouched(execution.device):
                question = ask(model, model.prepare(photo).tensor, None, execution, "probability")
                found = (int(question.x.shape[2]), int(question.x.shape[3]))
                if size not in ((0, 0), found):
                    raise SystemExit(f"{name} takes inputs of {found}, the model before it of {size}")
                size = found
                for of, count in (("scores", masks), ("reference", reference)):
                    grids = RandomGrids(size, (METHOD.cells, METHOD.cells), count, METHOD.keep, SEEDS[of])
                    rows[of].append(Scorer(question, of).table(MaskEdits(grids, None))[0].cpu())
            pairs.append(f"{name}: {photo.stem}")
    return Scores(pairs, size, torch.stack(rows["scores"]), torch.stack(rows["reference"]))
