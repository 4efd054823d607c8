"""On an additive model a window is worth the sum of what is under it."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seewhy.execution import Execution
from seewhy.methods.masking.occlusion import Occlusion
from seewhy.models.model import Model
from seewhy.perturb.edits import Jobs
from seewhy.perturb.scorer import Scorer
from seewhy.perturb.windows import WindowEdits, Windows
from seewhy.question import ask
from seewhy.targets import Output


class Additive(nn.Module):
    """The sum over pixels of a curved function that is 0 for hidden ones."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.sin() + x**2).flatten(1).sum(1, keepdim=True)


class OffByOne(WindowEdits):
    """The planted bug: every window one column too far to the right."""

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        return super().apply(x.roll(-1, -1), jobs).roll(1, -1)


sizes = st.lists(st.integers(2, 9), min_size=2, max_size=3)


def layout(draw: st.DataObject, size: list[int]) -> Windows:
    window = [draw.draw(st.integers(1, s)) for s in size]
    stride = [draw.draw(st.integers(1, w)) for w in window]
    return Windows(tuple(size), tuple(window), tuple(stride))


def sums(contribution: Tensor, windows: Windows) -> Tensor:
    """The sum under every window, by slicing."""
    out = torch.zeros(windows.counts, dtype=torch.float64)
    for position in (
        torch.cartesian_prod(*(torch.arange(c) for c in windows.counts))
        .reshape(-1, len(windows.counts))
        .tolist()
    ):
        part = tuple(
            slice(p * d, p * d + w) for p, d, w in zip(position, windows.stride, windows.window, strict=True)
        )
        out[tuple(position)] = contribution[part].sum()
    return out


@given(data=st.data(), size=sizes, seed=st.integers(0, 1000))
def test_every_window_is_worth_what_is_under_it(data: st.DataObject, size: list[int], seed: int) -> None:
    windows = layout(data, size)
    x = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(seed))
    found = Occlusion(windows.window, windows.stride)(
        Model(Additive(), kind="regression"), x, Output()
    ).native[0]
    contribution = (x.double().sin() + x.double() ** 2)[0].sum(0)
    assert float((found - sums(contribution, windows)).abs().max()) < 1e-3
    if windows.window == windows.stride:
        assert abs(float(found.sum() - contribution.sum())) < 1e-3, (
            "windows side by side share out the whole score"
        )


def test_the_planted_bug_is_seen() -> None:
    windows, x = (
        Windows((6, 6), (2, 2), (2, 2)),
        torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(0)),
    )
    question = ask(Model(Additive(), kind="regression"), x, Output(), Execution(), "logit")
    wanted = sums((x.double().sin() + x.double() ** 2)[0].sum(0), windows).flatten()
    for edits, right in ((WindowEdits(windows, None), True), (OffByOne(windows, None), False)):
        fall = question.clean[:, None] - Scorer(question).table(edits)
        assert (float((fall[0] - wanted).abs().max()) < 1e-3) is right


@given(data=st.data(), size=sizes)
def test_every_pixel_is_covered_and_gets_the_mean_of_its_windows(
    data: st.DataObject, size: list[int]
) -> None:
    windows = layout(data, size)
    values = torch.randn(1, *windows.counts, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    total, cover = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for position in (
        torch.cartesian_prod(*(torch.arange(c) for c in windows.counts)).reshape(-1, len(size)).tolist()
    ):
        part = tuple(
            slice(p * d, p * d + w) for p, d, w in zip(position, windows.stride, windows.window, strict=True)
        )
        total[part] += values[(0, *position)]
        cover[part] += 1
    assert float(cover.min()) >= 1
    assert torch.allclose(windows.spread(values)[0], total / cover)
