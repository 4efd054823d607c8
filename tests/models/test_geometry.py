"""Layouts that shapes cannot tell: each is built twice, and the experiment must tell the twins apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from seewhy.models.geometry import NEEDED, Probe, Reader, evidence, factorings, plausible
from seewhy.models.grids import Grid
from seewhy.models.layers import default_layer, survey
from seewhy.models.model import Model


class Cube(nn.Module):
    """As many channels as rows as columns: only the experiment can tell the layout."""

    def __init__(self, last: bool, swap: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.arrange = Arrange(last, swap)
        self.head = nn.Linear(16, 4)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        x = self.arrange(self.conv(x))
        return self.head(x.mean((1, 2) if self.last else (2, 3)))


class Arrange(nn.Module):
    def __init__(self, last: bool, swap: bool) -> None:
        super().__init__()
        self.last, self.swap = last, swap

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(x.transpose(2, 3) if self.swap else x)
        return x.movedim(1, -1).contiguous() if self.last else x


@pytest.mark.parametrize("last", [False, True])
def test_channels_are_found_where_every_side_is_equal(last: bool) -> None:
    torch.manual_seed(0)
    found = default_layer(Model(Cube(last)), (3, 16, 16))
    assert found.name == "arrange"
    assert found.grid == Grid("channels_last" if last else "channels_first", (16, 16))


def test_a_transposed_map_has_no_grid() -> None:
    torch.manual_seed(0)
    layers = {layer.name: layer for layer in survey(Model(Cube(False, swap=True)), (3, 16, 16))}
    assert layers["conv"].grid is not None
    assert layers["arrange"].grid is None
    assert "do not follow the input" in layers["arrange"].reason


class Tokens(nn.Module):
    """A plain transformer: oddly named tokens before and after the patches, any order for clips."""

    def __init__(
        self,
        front: int = 1,
        back: int = 0,
        order: str = "time",
        clip: bool = False,
        depth: int = 2,
        constant: bool = True,
    ) -> None:
        super().__init__()
        conv = nn.Conv3d(3, 16, (1, 4, 4), (1, 4, 4)) if clip else nn.Conv2d(3, 16, 4, 4)
        self.stem = conv
        self.sentinel_of_doom = nn.Parameter(torch.randn(1, front, 16))
        self.tail = nn.Parameter(torch.randn(1, back, 16))
        self.order, self.constant, self.front = order, constant, front
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if self.order == "space":
            x = x.movedim(2, -1)
        x = x.flatten(2).transpose(1, 2)
        first = self.sentinel_of_doom.expand(len(x), -1, -1)
        if not self.constant:
            first = first + x.mean(1, keepdim=True)
        x = torch.cat([first, x, self.tail.expand(len(x), -1, -1)], 1)
        for layer in self.layers:
            x = layer(x)
        return self.head(x[:, 0] if self.front else x.mean(1))


@pytest.mark.parametrize("front", [0, 1, 2, 5])
def test_prefix_tokens_are_counted_exactly_whatever_they_are_called(front: int) -> None:
    torch.manual_seed(0)
    found = default_layer(Model(Tokens(front).eval()), (3, 32, 32))
    assert found.grid == Grid("tokens", (8, 8), front)
    # The class token is read after the last block, so that only the norm before its attention is live there.
    assert found.name == ("layers.1.norm1" if front else "layers.1")


@pytest.mark.parametrize("order", ["time", "space"])
def test_the_order_of_clip_tokens_is_found_where_sizes_agree(order: str) -> None:
    torch.manual_seed(0)
    # Four frames of 4 x 4 cells: the sizes say nothing.
    found = default_layer(Model(Tokens(1, order=order, clip=True).eval()), (3, 4, 16, 16))
    assert found.grid == Grid("tokens", (4, 4, 4), 1, space_major=order == "space")


def test_tokens_behind_the_patches_are_refused_with_the_reason() -> None:
    reasons = {layer.name: layer.reason for layer in survey(Model(Tokens(1, back=1).eval()), (3, 32, 32))}
    assert "stand behind or between" in reasons["layers.0.norm1"]


def test_a_first_token_made_from_the_image_is_not_guessed() -> None:
    layers = {layer.name: layer for layer in survey(Model(Tokens(1, constant=False).eval()), (3, 32, 32))}
    assert layers["layers.0.norm1"].grid is None
    assert "no grid over an input of 32 x 32" in layers["layers.0.norm1"].reason


class Attention(nn.Module):
    """Its attention map `(n, heads, tokens, tokens)` has the shape of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.soft, self.head = (
            nn.Conv2d(3, 16, 4, 4),
            nn.LayerNorm(16),
            nn.Softmax(-1),
            nn.Linear(16, 4),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x).flatten(2).transpose(1, 2))
        weights = self.soft((x @ x.transpose(1, 2))[:, None].expand(-1, 3, -1, -1))
        return self.head((weights.mean(1) @ x).mean(1))


def test_an_attention_map_is_no_grid() -> None:
    torch.manual_seed(0)
    layers = {layer.name: layer for layer in survey(Model(Attention()), (3, 64, 64))}
    assert layers["soft"].shape == (3, 256, 256) or layers["soft"].shape[1] == layers["soft"].shape[2]
    assert layers["soft"].grid is None
    assert layers["norm"].grid == Grid("tokens", (16, 16))


# -- the parts ---------------------------------------------------------------------------------------------


def faithful(probe: Probe, cells: tuple[int, ...]) -> Tensor:
    """Average the probe itself into cells: the response that an ideal layer has."""
    pool = nn.functional.adaptive_avg_pool3d if len(cells) == 3 else nn.functional.adaptive_avg_pool2d
    changed = (probe.x[2:] - probe.x[:1]).square()
    return pool(changed, cells).sum(1)


CELLS = [
    ((3, 32, 32), (8, 8)),
    ((3, 192, 320), (6, 10)),
    ((1, 16, 24), (16, 24)),
    ((3, 8, 32, 32), (4, 4, 4)),
]
BUGS: dict[str, Callable[[Tensor], Tensor]] = {
    "columns from the right": lambda r: r.flip(-1),
    "rows from below": lambda r: r.flip(-2),
    "other blocks": lambda r: r.roll(1, 0),
    "nothing changes": torch.zeros_like,
    "everything changes": torch.ones_like,
    "not a number": lambda r: r * float("nan"),
}


@pytest.mark.parametrize(("shape", "cells"), CELLS)
def test_evidence_for_the_right_reading(shape: tuple[int, ...], cells: tuple[int, ...]) -> None:
    probe = Probe.of(shape)
    hits, share = evidence(faithful(probe, cells), probe)
    assert hits == 6
    assert share == pytest.approx(1)


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS.keys())
@pytest.mark.parametrize(("shape", "cells"), CELLS)
def test_evidence_against_a_wrong_reading(
    shape: tuple[int, ...], cells: tuple[int, ...], bug: Callable[[Tensor], Tensor]
) -> None:
    probe = Probe.of(shape)
    assert evidence(bug(faithful(probe, cells)), probe)[0] <= NEEDED


@pytest.mark.parametrize(("shape", "cells"), [c for c in CELLS if c[1][-1] == c[1][-2]])
def test_evidence_against_rows_for_columns(shape: tuple[int, ...], cells: tuple[int, ...]) -> None:
    probe = Probe.of(shape)
    assert evidence(faithful(probe, cells).transpose(-1, -2), probe)[0] <= NEEDED


def test_noise_is_rarely_taken_for_a_grid() -> None:
    probe = Probe.of((3, 224, 224))
    draw = torch.Generator().manual_seed(0)
    taken = [evidence(torch.rand(6, 14, 14, generator=draw), probe)[0] >= NEEDED for _ in range(200)]
    assert sum(taken) <= 1


def test_a_token_that_answers_to_everything_does_not_hide_the_others() -> None:
    probe = Probe.of((3, 32, 32))
    responses = faithful(probe, (8, 8))
    responses[:, 0, 0] += 100
    assert evidence(responses, probe)[0] == 6


def test_the_probe_is_the_same_every_time_and_changes_only_its_blocks() -> None:
    a, b = Probe.of((3, 4, 20, 30)), Probe.of((3, 4, 20, 30))
    assert torch.equal(a.x, b.x)
    state = torch.get_rng_state()
    Probe.of((3, 20, 30))
    assert torch.equal(torch.get_rng_state(), state)
    for sample, block in zip(a.x[2:], a.blocks, strict=True):
        inside = torch.zeros(4, 20, 30, dtype=torch.bool)
        inside[tuple(slice(*span) for span in block)] = True
        assert torch.equal((sample != a.x[0]).all(0), inside)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([8, 14, 16, 32]), st.booleans())
def test_cells_of_one_stride_are_plausible(rows: int, columns: int, stride: int, ceil: bool) -> None:
    extra = stride - 1 if ceil else 0
    assert plausible((rows, columns), (rows * stride + extra, columns * stride + extra))


@pytest.mark.parametrize(
    ("cells", "size"), [((7, 14), (224, 224)), ((197, 64), (224, 224)), ((3, 196), (224, 224))]
)
def test_cells_of_two_strides_are_not(cells: tuple[int, int], size: tuple[int, int]) -> None:
    assert not plausible(cells, size)


def test_factorings_hold_the_tokens() -> None:
    assert list(factorings(196, (224, 224))) == [(14, 14)]
    assert set(factorings(240, (192, 320))) == {(12, 20)}
    clips = list(factorings(1568, (16, 224, 224)))
    assert (8, 14, 14) in clips
    assert (2, 28, 28) in clips
    assert all(t * h * w == 1568 for t, h, w in clips)


class Shuffled(nn.Module):
    """The tokens change places between two norms."""

    def __init__(self, shuffle: bool) -> None:
        super().__init__()
        self.stem, self.first, self.second = nn.Conv2d(3, 16, 4, 4), nn.LayerNorm(16), nn.LayerNorm(16)
        self.head = nn.Linear(16, 4)
        self.order = torch.randperm(64) if shuffle else torch.arange(64)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x).flatten(2).transpose(1, 2))
        return self.head(self.second(x[:, self.order]).mean(1))


@pytest.mark.parametrize("shuffle", [False, True])
def test_tokens_that_change_places_lose_their_grid(shuffle: bool) -> None:
    torch.manual_seed(0)
    layers = {layer.name: layer for layer in survey(Model(Shuffled(shuffle)), (3, 32, 32))}
    assert layers["first"].grid == Grid("tokens", (8, 8))
    assert (layers["second"].grid is None) == shuffle


def test_a_stream_that_mixes_keeps_its_grid_but_a_dead_one_does_not() -> None:
    probe = Probe.of((3, 32, 32))
    reader = Reader(probe)
    stream = nn.functional.avg_pool2d(probe.x, 4).flatten(2).transpose(1, 2)
    grid = reader.grid(stream)
    assert grid == Grid("tokens", (8, 8))
    mixing = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    assert reader.grid(mixing @ stream) == grid
    assert isinstance(reader.grid(stream[:1].expand(8, -1, -1)), str)


def test_a_reader_off_by_one_token_would_be_seen_at_the_embedding() -> None:
    probe = Probe.of((3, 32, 32))
    cells = nn.functional.avg_pool2d(probe.x, 4).flatten(2).transpose(1, 2)
    stream = torch.cat([torch.ones(8, 1, 3), cells], 1)
    reader = Reader(probe)
    assert reader.grid(stream) == Grid("tokens", (8, 8), 1)
    wrong = replace(Grid("tokens", (8, 8), 1), prefix=0)
    assert reader.streams[65] != wrong
