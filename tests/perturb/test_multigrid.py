"""Holes filled by multigrid against a sparse direct solution, and where the filling is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve
from skimage import data
from torch import Tensor

import networks
from seewhy.metrics.baselines import edge_map
from seewhy.perturb import multigrid
from seewhy.perturb.multigrid import neighbour_means
from seewhy.perturb.ranks import ranks


def solved(x: Tensor, hidden: Tensor, corner: float = 1.0) -> Tensor:
    """Fill `(c, h, w)` in float64 by a sparse factorisation of the whole graph of pixels."""
    height, width = hidden.shape
    place = np.arange(height * width).reshape(height, width)
    graph = sparse.csr_array((height * width, height * width))
    for down, across, weight in ((0, 1, 2.0), (1, 0, 2.0), (1, 1, corner), (1, -1, corner)):
        first = place[: height - down, max(-across, 0) : width - max(across, 0)].ravel()
        second = place[down:, max(across, 0) : width + min(across, 0)].ravel()
        graph = graph + sparse.csr_array((np.full(len(first), weight), (first, second)), shape=graph.shape)
    graph = graph + graph.T
    laplacian = (sparse.diags_array(graph.sum(1)) - graph).tocsc()
    gone = hidden.flatten().numpy()
    out = x.double().flatten(1).numpy().copy()
    right = -(laplacian[gone][:, ~gone] @ out[:, ~gone].T)
    out[:, gone] = spsolve(laplacian[gone][:, gone], right).T
    return torch.from_numpy(out).reshape(x.shape)


def holes(size: tuple[int, int]) -> Tensor:
    """One disc, its opposite, scattered pixels, rows, and all but one pixel: `(5, *size)` bool."""
    height, width = size
    far = (torch.arange(height)[:, None] - height / 2) ** 2 + (torch.arange(width)[None] - width / 2) ** 2
    scattered = torch.rand(size, generator=torch.Generator().manual_seed(1)) < 0.9
    rows = torch.arange(height)[:, None].expand(size) >= height // 5
    alone = torch.ones(size, dtype=torch.bool)
    alone[height // 3, width // 4] = False
    return torch.stack([far < (min(size) / 2.5) ** 2, far > (min(size) / 4) ** 2, scattered, rows, alone])


@pytest.mark.parametrize("size", [(64, 64), (97, 41), (3, 300), (300, 2), (15, 14)])
def test_equals_a_direct_solution_in_a_few_steps(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multigrid, "_STEPS", 14)
    x, hidden = networks.batch((3, *size), n=5), holes(size)
    found = neighbour_means(x, hidden)
    wanted = torch.stack([solved(a, b) for a, b in zip(x, hidden, strict=True)])
    assert float((found - wanted).abs().max()) <= 2e-5
    assert torch.equal(found[~hidden[:, None].expand_as(x)], x[~hidden[:, None].expand_as(x)])
    if size[0] == 64:
        wrong = torch.stack([solved(a, b, corner=2.0) for a, b in zip(x, hidden, strict=True)])
        assert float((found - wrong).abs().max()) > 1e-2, "corners that weigh as edges would be seen"
        monkeypatch.setattr(multigrid._Cycle, "__call__", lambda self, residual: residual)
        slow = neighbour_means(x, hidden)
        assert float((slow - wanted).abs().max()) > 1e-2, "steps that multigrid does not lead would be seen"


def test_a_plane_stays_a_plane_inside_and_a_lone_pixel_colours_everything() -> None:
    ramp = torch.arange(40.0)[:, None].expand(40, 40)[None, None].contiguous()
    hidden = torch.zeros(1, 40, 40, dtype=torch.bool)
    hidden[:, 5:35, 8:30] = True
    torch.testing.assert_close(neighbour_means(ramp, hidden), ramp, atol=1e-4, rtol=0)
    alone = holes((40, 40))[4:]
    torch.testing.assert_close(
        neighbour_means(ramp, alone), torch.full_like(ramp, 40 // 3), atol=1e-4, rtol=0
    )


def test_batches_equal_singles() -> None:
    x, hidden = networks.batch((2, 50, 40), n=5), holes((50, 40))
    whole = neighbour_means(x, hidden)
    singles = torch.cat([neighbour_means(x[i : i + 1], hidden[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(whole, singles, atol=2e-5, rtol=0)


def test_a_picture_that_is_hidden_as_a_whole_becomes_0_beside_others() -> None:
    x, hidden = networks.batch((3, 50, 40), n=3), torch.zeros(3, 50, 40, dtype=torch.bool)
    hidden[0], hidden[1, 10:40, 5:30] = True, True
    found = neighbour_means(x, hidden)
    assert torch.equal(found[0], torch.zeros_like(x[0]))
    assert torch.equal(found[2], x[2])
    torch.testing.assert_close(found[1].double(), solved(x[1], hidden[1]), atol=2e-5, rtol=0)


def test_coarse_cells_that_share_their_only_pixels_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpolated noise leaves such corners: without the ridge on the coarsest grid this one explodes."""
    generator = torch.Generator().manual_seed(95)
    noise = torch.randn(1, 1, 9, 9, generator=generator)
    hidden = torch.nn.functional.interpolate(noise, size=(30, 30), mode="bilinear")[0] < 0
    x = networks.batch((3, 30, 30), n=1)
    torch.testing.assert_close(
        neighbour_means(x, hidden).double(), solved(x[0], hidden[0])[None], atol=2e-5, rtol=0
    )
    monkeypatch.setattr(multigrid, "_RIDGE", 0.0)
    assert not bool(neighbour_means(x, hidden).isfinite().all()), "a matrix without it would be seen"


def test_thin_threads_do_not_make_a_sweep_overshoot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The edges of a photo leave coarse cells that their neighbours outweigh."""
    photo = torch.from_numpy(data.rocket()).permute(2, 0, 1)[None, :, 40:264, 100:324].contiguous()
    hidden = ranks(edge_map(photo, 0)) < int(0.35 * 224 * 224)
    x = photo.float() / 50 - 2
    monkeypatch.setattr(multigrid, "_STEPS", 14)
    wanted = solved(x[0], hidden[0])[None]
    torch.testing.assert_close(neighbour_means(x, hidden).double(), wanted, atol=5e-5, rtol=0)
    monkeypatch.setattr(multigrid, "_OVERSHOOT", 1e9)
    assert not bool(neighbour_means(x, hidden).isfinite().all()), "plain relaxation would be seen"


def test_coarsening_is_the_transpose_of_refining() -> None:
    for size in ((7, 8), (1, 5), (6, 3)):
        cells = tuple((s + 1) // 2 for s in size)
        fine, coarse = networks.batch((2, *size), n=3), networks.batch((2, *cells), n=3, seed=4)
        left = (multigrid._finer(coarse, size) * fine).sum()
        right = (coarse * multigrid._coarser(fine)).sum()
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-4)
