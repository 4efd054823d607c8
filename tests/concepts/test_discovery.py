"""Concept discovery: Sobol indices by hand, and concepts that were planted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import qmc
from torch import Tensor, nn

from seewhy.concepts import discovery as module
from seewhy.concepts.discovery import Discovering, discover
from seewhy.concepts.finding import windows_over
from seewhy.concepts.sobol import designs, halton, total_indices
from seewhy.errors import BadInput, Cancelled, MissingExtra
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing

# -- Sobol indices -------------------------------------------------------------------------------------------


def test_the_sequence_is_haltons() -> None:
    np.testing.assert_allclose(halton(50, 7).numpy(), qmc.Halton(7, scramble=False).random(50))


def linear(m: Tensor) -> Tensor:
    return m @ torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)


def product(m: Tensor) -> Tensor:
    return m[:, 0] * m[:, 1]


@pytest.mark.parametrize(
    ("function", "exact"),
    [
        (linear, [1 / 14, 4 / 14, 9 / 14]),
        (
            product,
            [4 / 7, 4 / 7, 0],
        ),  # variance 7/144; without one factor 1/36 of it is left: (7/144 - 1/48) ...
        (lambda m: 0 * m[:, 0] + 5, [0, 0, 0]),
    ],
)
def test_indices_of_known_functions(function: Callable[[Tensor], Tensor], exact: list[float]) -> None:
    found = total_indices(function(designs(3, 4096)), 3)
    assert found.tolist() == pytest.approx(exact, abs=0.01)


def test_indices_by_a_plain_loop() -> None:
    points = halton(32, 6)
    a, b = points[:, :3], points[:, 3:]
    y = linear(a)
    by_hand = []
    for i in range(3):
        mixed = a.clone()
        mixed[:, i] = b[:, i]
        by_hand.append(sum(float(u - v) ** 2 for u, v in zip(y, linear(mixed), strict=True)) / 64)
    variance = float(((y - y.mean()) ** 2).sum() / 31)
    assert total_indices(linear(designs(3, 32)), 3).tolist() == pytest.approx([v / variance for v in by_hand])


# -- concepts that were planted ------------------------------------------------------------------------------


class Colours(nn.Module):
    """Five channels that are mixtures of what is red and what is green; the class "red" reads only red."""

    MIXTURES = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 1.0], [0.0, 2.0], [0.3, 0.0]])

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 5, 4, stride=4, bias=False).requires_grad_(False)
        self.head = nn.Linear(5, 2, bias=False).requires_grad_(False)
        self.see.weight.zero_()
        for channel, (red, green) in enumerate(self.MIXTURES.tolist()):
            self.see.weight[channel, 0], self.see.weight[channel, 1] = red, green
        self.head.weight.copy_(torch.tensor([[1.0, 1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0, 0.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.see(x).relu().mean((2, 3)))


def model() -> Model:
    return Model(
        Colours(),
        preprocess=Preprocessing((32, 32), mean=(0.0,) * 3, std=(1.0,) * 3),
        labels=["red", "green"],
    )


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Red on the left and green on the right, as strong as chance has it, on black."""
    draw = np.random.default_rng(2)
    paths = []
    for i in range(4):
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[4:28, 0:14, 0] = draw.integers(50, 250, (24, 14))
        pixels[4:28, 18:32, 1] = draw.integers(50, 250, (24, 14))
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


ASKED = Discovering("see", concepts=2, patch=0.25, stride=1.0, rows=64, examples=3)


def planted(photos: list[Path], target: str) -> None:
    found = discover(model(), photos, ASKED, target)
    first, second = (0, 1) if target == "red" else (1, 0)
    axes = torch.nn.functional.normalize(Colours.MIXTURES.T, dim=1)
    torch.testing.assert_close(found.directions, axes[[first, second]], rtol=1e-3, atol=2e-3)
    assert found.concepts[0].importance == pytest.approx(1, abs=0.1)
    assert found.concepts[1].importance == pytest.approx(0, abs=1e-4)
    assert found.error < 5e-3
    for concept, side in zip(found.concepts, (first, second), strict=True):
        assert len(concept.examples) == 3
        for example in concept.examples:
            (left, right) = example.window[1]
            assert (right <= 16) if side == 0 else (left >= 16)


@pytest.mark.parametrize("target", ["red", "green"])
def test_planted_concepts_are_found_and_the_one_that_counts_comes_first(
    photos: list[Path], target: str
) -> None:
    planted(photos, target)


def test_that_check_notices_masks_on_the_wrong_concepts(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "total_indices", lambda outputs, n: total_indices(outputs, n).flip(0))
    with pytest.raises(AssertionError):
        planted(photos, "red")


def test_the_same_seed_gives_the_same_bits_and_one_photo_no_interval(photos: list[Path]) -> None:
    a, b = (discover(model(), photos[:1], ASKED, "red", Execution(seed=3)) for _ in range(2))
    assert torch.equal(a.directions, b.directions)
    assert [c.importance for c in a.concepts] == [c.importance for c in b.concepts]
    assert all(c.margin != c.margin for c in a.concepts)
    two = discover(model(), photos[:2], ASKED, "red")
    assert all(c.margin >= 0 for c in two.concepts)


def test_windows_cover_everything() -> None:
    boxes = list(windows_over((224, 224), 64 / 224, 0.8))
    assert len(boxes) == 25
    seen = torch.zeros(224, 224)
    for (a, b), (c, d) in boxes:
        assert (b - a, d - c) == (64, 64)
        seen[a:b, c:d] = 1
    assert bool(seen.all())
    assert list(windows_over((8, 8), 1.0, 1.0)) == [((0, 8), (0, 8))]


def test_what_cannot_be_discovered_is_refused(photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ({"concepts": 0}, {"patch": 0.0}, {"stride": 1.5}, {"rows": 1}, {"examples": 0}):
        with pytest.raises(BadInput, match="Asked to discover concepts"):
            Discovering(**wrong)
    with pytest.raises(BadInput, match="16 patches for 17 concepts"):
        discover(model(), photos[:1], Discovering("see", concepts=17, patch=0.25, stride=1.0))
    with pytest.raises(BadInput, match="no photos"):
        discover(model(), [])
    with pytest.raises(Cancelled):
        discover(model(), photos, ASKED, "red", Execution(cancelled=lambda: True))
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(MissingExtra, match="scikit-learn"):
        discover(model(), photos, ASKED)
