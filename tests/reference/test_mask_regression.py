"""The regression of scores on masks against dense matrices, scipy's optimiser and the normal distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from seewhy.methods.masking import mask_regression, mask_sums
from seewhy.methods.masking.mask_regression import MaskRegression
from seewhy.methods.masking.mask_sums import Sums
from seewhy.perturb.edits import Jobs
from seewhy.perturb.mask_components import MaskComponents
from seewhy.perturb.masks import RandomGrids, enlarge
from seewhy.perturb.scorer import Chunk

CPU = torch.device("cpu")
SIZE, KEEP = (12, 15), 0.4


def scene(masks: int, samples: int = 1, noise: float = 0.05) -> tuple[RandomGrids, Tensor, Tensor]:
    """Grids, their `(masks, pixels)` float64 masks, and `(masks, samples)` scores: nonlinear and noisy."""
    grids = RandomGrids(SIZE, (3, 3), masks, KEEP, seed=2)
    drawn, shifts = grids.draw(torch.arange(masks))
    pixels = enlarge(drawn.double(), [m[shifts[:, i]] for i, m in enumerate(grids.matrices)]).flatten(1)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(180, samples, generator=generator, dtype=torch.float64) / 20
    hidden = torch.randn(masks, samples, generator=generator, dtype=torch.float64)
    return grids, pixels, (pixels @ weights).sigmoid() + noise * hidden


def gathered(grids: RandomGrids, scores: Tensor, batch: int = 7) -> Sums:
    """Sums of `(masks, samples)` scores, in batches that cut masks apart."""
    n = scores.shape[1]
    sums, flat = Sums(grids, KEEP, "regressed", n, CPU), scores.flatten()
    for at in range(0, len(flat), batch):
        to = min(at + batch, len(flat))
        sums.add(Chunk(Jobs.between(at, to, n, CPU), flat[at:to], to, len(flat)))
    return sums


def dense(grids: RandomGrids, pixels: Tensor, scores: Tensor) -> tuple[Tensor, float]:
    """The map by the formulas of the page, from whole matrices; and the penalty by scipy."""
    components = MaskComponents(grids.matrices, KEEP)
    e = components.paint(torch.eye(components.count, dtype=torch.float64)).flatten(1).T.numpy()
    v, m, s = components.variances.numpy(), pixels.numpy(), scores.numpy()
    n, s = len(s), s - s.mean()
    z = m @ e
    z -= z.mean(0)

    contrasts = np.linalg.qr(np.c_[np.ones(n), np.eye(n)[:, 1:]])[0][:, 1:]
    turned, y = contrasts.T @ z, contrasts.T @ s

    def unlikely(log: float) -> float:
        """-2 log density of n - 1 contrasts, normal with covariance 1 + Z Z^T / penalty, scale profiled."""
        whole = np.eye(n - 1) + turned @ turned.T / np.exp(log)
        return float((n - 1) * np.log(y @ np.linalg.solve(whole, y)) + np.linalg.slogdet(whole)[1])

    coarse = min(np.linspace(-8, 8, 33), key=unlikely)
    best = minimize_scalar(
        unlikely, bounds=(coarse - 1, coarse + 1), method="bounded", options={"xatol": 1e-7}
    )
    penalty = float(np.exp(best.x))
    w = np.linalg.solve(z.T @ z + penalty * np.eye(len(v)), z.T @ s)
    centred = s @ m / (n * KEEP)
    r = n * v[-1] / (n * v[-1] + penalty)
    found = r * centred + e @ (v * w - r * (z.T @ s) / n) / KEEP
    return torch.from_numpy(found).reshape(SIZE), penalty


@pytest.mark.parametrize("masks", [20, 70])
def test_the_formulas_of_the_page(masks: int) -> None:
    grids, pixels, scores = scene(masks, samples=2)
    sums = gathered(grids, scores)
    fit = sums.fit()
    assert fit is not None
    found = sums.maps(fit)
    for i in range(2):
        wanted, penalty = dense(grids, pixels, scores[:, i])
        assert float(fit.penalty[i]) == pytest.approx(penalty, rel=1e-4)
        assert float((found[i] - wanted).abs().max() / wanted.abs().max()) < 1e-4
    assert float((found[0] - dense(grids, pixels, scores[:, 1])[0]).abs().max()) > 1e-3


def test_halves_are_regressions_of_their_own_under_one_penalty() -> None:
    grids, pixels, scores = scene(101)
    sums = gathered(grids, scores)
    fit = sums.fit()
    assert fit is not None
    components = MaskComponents(grids.matrices, KEEP)
    e = components.paint(torch.eye(components.count, dtype=torch.float64)).flatten(1).T
    pair = sums.halves(fit)[1]  # groups 0 and 2, 1 and 3: even and odd masks
    for half, found in enumerate(pair):
        z = pixels[half::2] @ e
        s = scores[half::2, 0] - scores[half::2, 0].mean()
        z = z - z.mean(0)
        ridge = torch.eye(components.count, dtype=torch.float64) * fit.penalty
        w, c = torch.linalg.solve(z.T @ z + ridge, z.T @ s), z.T @ s / len(s)
        r = 1 / (1 + float(fit.penalty) / (len(s) * float(components.variances[-1])))
        whole = r * (s @ pixels[half::2]) / (len(s) * KEEP)
        whole = whole + e @ (components.variances * w - r * c) / KEEP
        assert float((found[0].flatten() - whole).abs().max()) < 1e-9, "12 x 15 pixels are their own lattice"


def exact() -> Tensor:
    """The covariance of `scene`'s scores, free of noise, and masks over p: all 512 grids at all 20 shifts."""
    grids = RandomGrids(SIZE, (3, 3), 1, KEEP, 0)
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 9).reshape(-1, 3, 3)
    chance = (KEEP ** bits.sum((1, 2))) * ((1 - KEEP) ** (9 - bits.sum((1, 2)))) / 20
    masks, chances = [], []
    for u in range(4):
        for v in range(5):
            masks.append(torch.einsum("ac,ncd,bd->nab", grids.matrices[0][u], bits, grids.matrices[1][v]))
            chances.append(chance)
    m, p = torch.cat(masks).flatten(1), torch.cat(chances)
    generator = torch.Generator().manual_seed(0)
    s = (m @ (torch.randn(180, 1, generator=generator, dtype=torch.float64) / 20)).sigmoid()[:, 0]
    return ((p * (s - p @ s)) @ m / KEEP).reshape(SIZE)


def test_it_converges_to_the_exact_covariance_of_a_nonlinear_score(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = exact()

    def miss(masks: int) -> float:
        grids, _, scores = scene(masks, noise=0)
        found = gathered(grids, scores, batch=4000).maps()[0]
        return float((found - wanted).abs().max() / wanted.abs().max())

    errors = [miss(n) for n in (500, 8000, 128_000)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.005
    honest = mask_regression._likeliest
    # The planted bug: a penalty that grows with the number of masks shrinks for ever.
    monkeypatch.setattr(mask_regression, "_likeliest", lambda *a: honest(*a).clamp_min(0.05 * a[-1]))
    assert miss(128_000) > 0.03


def test_a_mask_cut_between_batches_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_sums, "_WORTH", 1)  # nothing waits for more
    grids, _, scores = scene(50, samples=3)
    whole, cut = gathered(grids, scores, batch=1000), gathered(grids, scores, batch=4)
    assert whole.regression is not None
    assert cut.regression is not None
    assert torch.allclose(whole.regression.gram, cut.regression.gram, atol=1e-9)
    assert torch.allclose(whole.maps(), cut.maps(), atol=1e-9)
    assert float(cut.regression.gram[:, 0, 0].sum()) == 50

    class Twice(MaskRegression):
        """The planted bug: masks count whenever any sample is there."""

        def add(self, values: Tensor, group: Tensor, scores: Tensor, present: Tensor) -> None:
            super().add(values, group, scores, present.amax(1, keepdim=True).expand_as(present))

    broken = Sums(grids, KEEP, "regressed", 3, CPU)
    broken.regression = Twice(MaskComponents(grids.matrices, KEEP), 4, 3, CPU)
    flat = scores.flatten()
    for at in range(0, 150, 4):
        broken.add(Chunk(Jobs.between(at, min(at + 4, 150), 3, CPU), flat[at : at + 4], at, 150))
    assert float(broken.regression.gram[:, 0, 0].sum()) > 50


@pytest.mark.parametrize("masks", [1, 2, 3, 5, 10, 30])
@pytest.mark.parametrize("score", ["constant", "rounding", "one", "huge"])
def test_few_masks_and_degenerate_scores_stay_finite(masks: int, score: str) -> None:
    grids, _, scores = scene(masks)
    match score:
        case "constant":
            scores = torch.full_like(scores, 0.3)
        case "rounding":
            scores = (0.3 + 1e-8 * scores.sign()).float().double()
        case "one":
            scores = torch.zeros_like(scores).index_fill(0, torch.tensor([0]), 1.0)
        case "huge":
            scores = scores * 1e30
    sums = gathered(grids, scores)
    assert bool(sums.maps().isfinite().all())
    assert all(bool(h.isfinite().all()) for pair in sums.halves(sums.fit()) for h in pair)
    if score in ("constant", "rounding"):
        assert float(sums.maps().abs().max()) < 1e-7
