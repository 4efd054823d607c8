"""RISE: which parts were visible when the score was high.

Thousands of random smooth masks each hide about half of the input, and the model scores what is left. A pixel
matters when the score is higher in those runs in which the pixel is visible. Only forward passes are needed,
so RISE explains any model that gives a score, and several samples share their masks.

Formula
    With masks M_i in [0, 1] (1 = visible), scores s_i = f(M_i x + (1 - M_i) fill), i = 1..N, and p = `keep`:

    regressed (default): Cov(M) w / p, with the w of a ridge regression s_i ~ b + w . M_i, one weight a pixel.
    Least squares have Cov(M) w = Cov(s, M), whether the model is linear or not, so this is what `centred`
    estimates; but Cov(M) is known exactly, and scatter that the regression explains no longer counts as
    noise. It is worked out along the masks' leading principal components e_k (99.5 % of their variance, 256
    at most; variances v_k, values z_ik, c_k = mean of (s_i - mean s) z_ik):

    r centred + sum_k (v_k w_k - r c_k) e_k / p, r = N v / (N v + penalty), v the last of the v_k,

    so that what lies beyond them is not lost. The penalty is the one that makes the scores most likely; as it
    does not grow with N, the map converges to that of `centred`.

    centred: sum_i (s_i - mean s) M_i / (N p), about the mean score while the pixel is visible minus the mean
    score. Like `regressed` signed, in units of the score; 0 means that the pixel made no difference.

    published: sum_i s_i M_i / (N p). Not negative for probabilities; its level is about the mean score.

    normalised: sum_i s_i M_i / sum_i M_i, the mean score while the pixel is visible.

    A mask is a grid of `cells` x `cells` random bits, enlarged linearly with mirrored edges to one cell more
    than the input and shifted at random (`seewhy.perturb.masks`). Clips have a third axis of `time_cells`.
Needs
    a forward pass.
Cost
    `masks` forward passes, fewer with `stop_at`, and one for the prediction. Memory does not grow with
    `masks`: the weighted grids are summed by shift and enlarged in the end, which is exact.
Paper
    Petsiuk, Das, Saenko: RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018,
    https://arxiv.org/abs/1806.07421
Departures
    Centring and regression are ours. The published sum carries mean s times the sum of the masks, a picture
    of chance alone. On 24 photos and two networks, 8,000 published masks rank pixels like 114,688 others do
    to a correlation of .971 (median), 2,000 centred ones to .963 and 2,000 regressed ones to .983; to match
    the 8,000, `regressed` needs 1,414 masks (median) and at most 5,657 (docs/rise-convergence.md, `python -m
    benchmarks.rise_convergence`). Hence the default of 4,000 where 8,000 is common.
    Masks follow from the seed and their number instead of a stored file, and all samples of a batch share
    them. The axis for clips is ours. So are the facts in the result, for each sample
    (`seewhy.methods.masking.repeatability`): `split_half_spearman`, how far the maps of halves of the masks
    agree; `repeatability`, how far another run of as many masks is expected to agree with the map; and
    `relative_standard_error`, of a pixel, over the range of the map (too small below 500 masks). They are
    None where a map is constant. `stop_at` ends the run once every sample has been so repeatable at one of
    the looks, after 125, 177, 250, 354 ... masks; each keeps the map of that look, and `masks` in the result
    says which.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, get_args

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Native, Paper, require
from seewhy.methods.masking.mask_sums import Estimator, Sums
from seewhy.methods.masking.repeatability import Settling, looks
from seewhy.perturb.edits import Fill, Jobs
from seewhy.perturb.masks import Grids, MaskEdits, RandomGrids
from seewhy.perturb.operators import operator
from seewhy.perturb.scorer import Chunk, Scorer
from seewhy.question import Question
from seewhy.types import ScoreKind, Size

_FEWEST = 24
"""Masks before which there is no map to show."""


@METHODS.register
@dataclass(frozen=True)
class RISE(Method):
    """Randomised input sampling.

    Parameters
    ----------
    masks
        How many masks at most, at least 2.
    cells
        Cells of the mask grid along height and width.
    keep
        Probability that a cell is visible, between 0 and 1.
    estimator
        See the formulas above.
    operator
        What hidden pixels become: "mean", "constant:LEVEL", "blur:PERCENT", "noise:DEVIATION".
    time_cells
        Cells along the frames of a clip.
    stop_at
        Stop once every map is this repeatable, 0 to 1 (`repeatability` in the result): the estimated rank
        correlation with the map of as many other masks. None uses all masks.
    """

    name: ClassVar[str] = "rise"
    title: ClassVar[str] = "RISE"
    native: ClassVar[Native] = "pixels"
    streams: ClassVar[bool] = True
    steps_parameter: ClassVar[str] = "masks"
    prefers: ClassVar[ScoreKind] = "probability"
    paper: ClassVar[Paper] = Paper(
        "RISE: Randomized Input Sampling for Explanation of Black-box Models",
        "Petsiuk, Das, Saenko",
        2018,
        "https://arxiv.org/abs/1806.07421",
    )

    masks: int = 4000
    cells: int = 7
    keep: float = 0.5
    estimator: Estimator = "regressed"
    operator: str = "mean"
    time_cells: int = 4
    stop_at: float | None = None

    def __post_init__(self) -> None:
        require(self.masks >= 2, "Asked RISE for masks", self.masks, "Give at least 2")
        require(self.cells >= 1, "Asked RISE for cells", self.cells, "Give at least 1")
        require(self.time_cells >= 1, "Asked RISE for time_cells", self.time_cells, "Give at least 1")
        require(0 < self.keep < 1, "Asked RISE for keep", self.keep, "Give a probability between 0 and 1")
        require(
            self.estimator in get_args(Estimator),
            "Asked RISE for an estimator",
            repr(self.estimator),
            "Choose regressed, centred, published or normalised",
        )
        require(
            self.stop_at is None or 0 < self.stop_at < 1,
            "Asked RISE to stop at a repeatability",
            self.stop_at,
            "Give a rank correlation between 0 and 1, or None",
        )
        operator(self.operator)

    @property
    def signed(self) -> bool:
        """See `Method.signed`."""
        return self.estimator in ("regressed", "centred")

    def cost(self, size: Size) -> Cost:
        """See `Method.cost`; one pass more for the unchanged input."""
        return Cost(self.masks + 1)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        """See `Method.estimate`."""
        size = tuple(question.x.shape[2:])
        cells = (*[self.time_cells] * (len(size) - 2), self.cells, self.cells)
        grids = RandomGrids(size, cells, self.masks, self.keep, question.execution.seed)
        fill = operator(self.operator).behind(question)
        yield from estimates(question, grids, fill, self.keep, self.estimator, self.stop_at)


def estimates(
    question: Question,
    grids: Grids,
    fill: Fill,
    keep: float,
    estimator: Estimator,
    stop_at: float | None = None,
) -> Iterator[Estimate]:
    """Yield RISE's estimates over any source of grids; with all possible grids the last one is exact.

    The regression takes the grids for independent cells under uniform shifts.
    """
    samples, device = len(question.x), question.x.device
    scorer, sums = Scorer(question, "masks"), Sums(grids, keep, estimator, samples, device)
    settling = Settling(samples, stop_at, "masks")
    pace = question.execution.pace()
    due = looks(grids.count, often=stop_at is not None)
    count = next(due)

    def estimate(masks: int, *, decides: bool) -> Estimate:
        now = sums if masks == grids.count else sums.snapshot()
        fit = now.fit()
        maps, facts = settling.look(masks, now.maps(fit).float(), now.halves(fit), decides=decides)
        pace.looked()
        return Estimate(maps, done=masks, total=grids.count, notes=scorer.notes(), reliability=facts)

    for chunk in scorer.stream(MaskEdits(grids, fill)):
        rest: Chunk | None = chunk
        while rest is not None:
            part, rest = _cut(rest, count * samples, samples)
            sums.add(part)
            masks, amid = divmod(part.done, samples)
            if masks < count:
                if question.watched and not amid and masks >= _FEWEST and pace.due:
                    yield estimate(masks, decides=False)
                continue
            shown = question.watched and pace.seconds is None  # else shown at the ends of batches
            if count == grids.count or shown or stop_at is not None:
                yield estimate(count, decides=True)
                if settling.settled or count == grids.count:
                    return
            count = next(due)


def _cut(chunk: Chunk, at: int, samples: int) -> tuple[Chunk, Chunk | None]:
    """Return what comes before job `at` of the queue, and what comes behind it, if anything does."""
    first = chunk.done - len(chunk.jobs)
    if chunk.done <= at:
        return chunk, None
    device, here = chunk.scores.device, at - first
    return (
        replace(chunk, jobs=Jobs.between(first, at, samples, device), scores=chunk.scores[:here], done=at),
        replace(chunk, jobs=Jobs.between(at, chunk.done, samples, device), scores=chunk.scores[here:]),
    )
