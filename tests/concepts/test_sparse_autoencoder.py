"""Sparse autoencoders: codes by hand, planted directions, and what discovery makes of them."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from seewhy.concepts.discovery import Discovering, discover
from seewhy.concepts.factors import Tally
from seewhy.concepts.finding import window_at
from seewhy.concepts.sparse_autoencoder import SparseAutoencoder, largest, train_autoencoder
from seewhy.concepts.store import FeatureStore
from seewhy.errors import BadInput, Cancelled
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing

# -- codes ---------------------------------------------------------------------------------------------------


def toy(active: int) -> SparseAutoencoder:
    encoder = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.5]])
    dictionary = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, -0.8]])
    return SparseAutoencoder(encoder, torch.zeros(3), dictionary, torch.zeros(2), 1.0, active)


def test_codes_by_hand() -> None:
    """Before the largest are kept, (2, 1) reads as 2, 1, 0.5."""
    x = torch.tensor([[2.0, 1.0], [-1.0, -2.0]])
    assert toy(2).amounts(x).tolist() == [[2, 1, 0], [0, 0, 2]]
    assert toy(1).amounts(x).tolist() == [[2, 0, 0], [0, 0, 2]]
    assert toy(9).amounts(x).tolist() == [[2, 1, 0.5], [0, 0, 2]]
    assert (toy(2).amounts(x) @ toy(2).directions)[0].tolist() == [2, 1]
    moved = SparseAutoencoder(
        toy(2).encoder, torch.tensor([0.0, 0.0, 1.0]), toy(2).dictionary, torch.tensor([1.0, 0.0]), 2.0, 2
    )
    assert moved.amounts(x[:1]).tolist() == [[1, 0, 2 * (0.5 - 0.75 + 1)]]


def test_largest_keeps_places_and_drops_what_is_negative() -> None:
    found = largest(torch.tensor([[3.0, -1.0, 2.0, 5.0], [-4.0, -1.0, -2.0, -3.0]]), 2)
    assert found.tolist() == [[3, 0, 0, 5], [0, 0, 0, 0]]


def test_the_fit_is_that_of_a_plain_sum() -> None:
    draw = torch.Generator().manual_seed(0)
    cells = torch.randn(50, 2, generator=draw).double()
    factors, tally = toy(2), Tally()
    for part in cells.split(7):
        tally.add(factors, part, factors.amounts(part))
    sums = factors.amounts(cells) @ factors.directions
    r2 = 1 - float((cells - sums).square().sum() / (cells - cells.mean(0)).square().sum())
    active = float((factors.amounts(cells) > 0).sum()) / 50
    fit = tally.fit()
    assert (fit.r2, fit.active, fit.dead, fit.cells) == (pytest.approx(r2), pytest.approx(active), 0, 50)
    alone = Tally()
    alone.add(factors, cells[:1].abs(), torch.tensor([[1.0, 0.0, 0.0]]).double())
    assert alone.fit().dead == pytest.approx(2 / 3)
    assert alone.fit().words().endswith("with 1.0 concepts a cell, 67 % of them never used")


# -- training ------------------------------------------------------------------------------------------------


def planted(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return cells that are sums of 3 of 64 directions in 32 dimensions, about a mean, and the directions."""
    draw = torch.Generator().manual_seed(seed)
    directions = normalize(torch.randn(64, 32, generator=torch.Generator().manual_seed(9)), dim=1)
    amounts = torch.zeros(count, 64)
    places = torch.rand(count, 64, generator=draw).argsort(1)[:, :3]
    amounts.scatter_(1, places, torch.rand(count, 3, generator=draw) + 0.5)
    return amounts @ directions + 4.0, directions


def recovers(steps: int = 700) -> None:
    cells, directions = planted(6000)
    found = train_autoencoder(cells, 64, 3, steps, Execution())
    assert float((found.directions @ directions.double().T).amax(0).mean()) > 0.9
    torch.testing.assert_close(found.directions.norm(dim=1), torch.ones(64).double(), rtol=1e-5, atol=0)
    unseen, _ = planted(500, seed=1)
    tally, amounts = Tally(), found.amounts(unseen)
    tally.add(found, unseen, amounts)
    assert int((amounts > 0).sum(1).max()) <= 3
    assert tally.fit().r2 > 0.8


def test_planted_directions_are_recovered_and_cells_never_seen_explained() -> None:
    recovers()


@pytest.mark.parametrize("bug", ["length", "all"])
def test_that_check_notices(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    module = importlib.import_module("seewhy.concepts.sparse_autoencoder")
    if bug == "length":
        monkeypatch.setattr(module, "normalize", lambda t, dim: t)
    else:
        monkeypatch.setattr(module, "largest", lambda before, count: before.relu())
    with pytest.raises(AssertionError):
        recovers(200)


def test_training_is_seeded_and_moves_no_generator() -> None:
    cells = planted(300)[0]
    state = torch.random.get_rng_state()
    a, b, c = (train_autoencoder(cells, 8, 2, 20, Execution(seed=s)) for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(a.dictionary, b.dictionary)
    assert torch.equal(a.encoder, b.encoder)
    assert not torch.equal(a.dictionary, c.dictionary)
    with pytest.raises(Cancelled):
        train_autoencoder(cells, 8, 2, 20, Execution(cancelled=lambda: True))
    with pytest.raises(BadInput, match="300 cells for 301 directions"):
        train_autoencoder(cells, 301, 2, 20, Execution())
    with pytest.raises(BadInput, match="all cells are alike"):
        train_autoencoder(torch.ones(10, 3), 2, 1, 5, Execution())


# -- discovery -----------------------------------------------------------------------------------------------


class Colours(nn.Module):
    """Six channels that are signed mixtures of red, green and blue; the class reads only what is red."""

    MIXTURES = torch.tensor([[1.0, -0.6, 0.2], [0.5, 0.4, -0.7], [-0.4, 1.0, 0.1], [0.3, -0.5, 0.8],
                             [0.0, 0.6, -0.4], [0.7, 0.0, 0.5]])  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 6, 4, stride=4, bias=False)
        self.head = nn.Linear(6, 1, bias=False)
        self.see.weight.data = (self.MIXTURES / 16)[:, :, None, None].expand(-1, -1, 4, 4).clone()
        self.head.weight.data = torch.linalg.pinv(self.MIXTURES)[:1].clone()

    def forward(self, x: Tensor) -> Tensor:
        red = self.head(self.see(x).mean((2, 3)))
        return torch.cat([red, -red], 1)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Cells of one colour each, red, green or blue, at random strength."""
    draw = np.random.default_rng(3)
    paths = []
    for i in range(10):
        colours = np.zeros((8, 8, 3), np.uint8)
        which = draw.integers(0, 3, (8, 8))
        np.put_along_axis(colours, which[..., None], draw.integers(120, 255, (8, 8, 1)).astype(np.uint8), 2)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(colours.repeat(4, 0).repeat(4, 1)).save(paths[-1])
    return paths


def model() -> Model:
    look = Preprocessing((32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    return Model(Colours(), preprocess=look, labels=["red", "not red"])


ASKED = Discovering("see", 4, patch=0.25, rows=16, examples=3, factors="sae", active=1, steps=600)


def test_signed_concepts_are_found_and_held_against_a_factorisation(
    photos: list[Path], tmp_path: Path
) -> None:
    store = FeatureStore(tmp_path / "store")
    found = discover(model(), photos, ASKED, "red", store=store)
    assert float(found.directions.min()) < 0  # no factorisation has them
    assert set(found.fits) == {"sae", "sae, held out", "nmf, held out"}
    held, beside = found.fits["sae, held out"], found.fits["nmf, held out"]
    assert held.cells == beside.cells == 2 * 64
    assert held.active <= 1
    assert held.r2 > 0.8 > beside.r2
    assert len(store.layer(model(), "see")) == 8  # the photos that it learned from
    again = discover(model(), photos, ASKED, "red", store=store)
    assert torch.equal(again.directions, found.directions)
    for concept in found.concepts:
        for example in concept.examples:
            (top, bottom), (left, right) = example.window
            assert (bottom - top, right - left) == (8, 8)


def test_few_photos_are_all_learned_from(photos: list[Path]) -> None:
    found = discover(model(), photos[:4], ASKED, "red")
    assert set(found.fits) == {"sae"}
    with pytest.raises(BadInput, match="64 cells for 65 concepts"):
        discover(model(), photos[:1], Discovering("see", 65, factors="sae"), "red")


def test_windows_lie_around_their_cells() -> None:
    assert window_at(0, (8, 8), (32, 32), 0.25) == ((0, 8), (0, 8))
    assert window_at(8 * 3 + 4, (8, 8), (32, 32), 0.25) == ((10, 18), (14, 22))
    assert window_at(63, (8, 8), (32, 32), 0.25) == ((24, 32), (24, 32))


def test_a_damaged_photo_is_named(photos: list[Path], tmp_path: Path) -> None:
    photos[2].write_bytes(b"no")
    for store in (None, FeatureStore(tmp_path / "store")):
        with pytest.raises(BadInput, match=r"2\.png"):
            discover(model(), photos, ASKED, "red", store=store)
