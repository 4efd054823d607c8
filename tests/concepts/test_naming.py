"""Naming: scores by hand, channels whose names are known, and names by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from seewhy.concepts import naming as module
from seewhy.concepts.naming import NameSettings, name_channels, soft_wpmi, word_logs
from seewhy.concepts.naming_result import Naming
from seewhy.errors import BadInput, Cancelled, UnknownName
from seewhy.execution import Execution
from seewhy.models.dual_encoder import DualEncoder
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing


def test_scores_of_a_worked_example() -> None:
    similar = torch.tensor([[0.30, 0.20, 0.10], [0.28, 0.22, 0.12], [0.15, 0.31, 0.11], [0.14, 0.29, 0.13]])
    order = torch.tensor([[0, 1], [3, 2]])
    logs = word_logs((10 * similar).softmax(1), order)
    expected = torch.tensor([[-0.9547, -2.5270, -4.4318], [-3.6479, -0.6386, -4.0999]])
    torch.testing.assert_close(logs, expected, rtol=0, atol=1e-4)
    found = soft_wpmi(logs)
    expected = torch.tensor([[0.6277, -1.3362, -0.1797], [-2.0656, 0.5523, 0.1523]])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def by_hand(p: list[list[float]], order: list[list[int]]) -> list[list[float]]:
    logs = []
    for photos in order:
        n = len(photos)
        logs.append(
            [
                sum(
                    math.log(1 + (0.998 - 0.028 * t / n) * (p[i][k] - 1) + 1e-7) for t, i in enumerate(photos)
                )
                for k in range(len(p[0]))
            ]
        )
    mean = [math.log(sum(math.exp(row[k]) for row in logs) / len(logs)) for k in range(len(p[0]))]
    return [[row[k] - mean[k] for k in range(len(mean))] for row in logs]


def scores_agree() -> None:
    draw = torch.Generator().manual_seed(0)
    p = torch.rand(30, 5, generator=draw, dtype=torch.float64).softmax(1)
    order = torch.rand(7, 30, generator=draw).argsort(1)[:, :6]
    torch.testing.assert_close(
        soft_wpmi(word_logs(p, order)), torch.tensor(by_hand(p.tolist(), order.tolist()), dtype=torch.float64)
    )


def test_scores_by_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    scores_agree()
    monkeypatch.setattr(module, "_NUMBERS", 60)  # blocks of two channels
    scores_agree()


def test_that_check_notices_another_weighting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAST", 0.9)
    with pytest.raises(AssertionError):
        scores_agree()


# -- channels whose names are known --------------------------------------------------------------------------


class Colours(nn.Module):
    """Channels for red, green and blue, one that never answers, and one that answers to noise of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 5, 4, stride=4, bias=False)
        self.head = nn.Linear(5, 2)
        weights = torch.tensor([[1.0, -1, -1], [-1, 1.0, -1], [-1, -1, 1.0], [0, 0, 0], [0, 0, 0]])
        self.see.weight.data = weights[:, :, None, None].expand(-1, -1, 4, 4).clone() / 16
        self.see.weight.data[4, :, 0, 0], self.see.weight.data[4, :, 3, 3] = 1.0, -1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.see(x).relu().mean((2, 3)))


def model() -> Model:
    torch.manual_seed(0)
    return Model(
        Colours(), preprocess=Preprocessing((16, 16), mean=(0.0,) * 3, std=(1.0,) * 3), name="colours"
    )


VECTORS = {"cherry": [1.0, 0, 0], "leaf": [0, 1.0, 0], "sky": [0, 0, 1.0], "stone": [1.0, 1.0, 1.0]}


def encoder() -> DualEncoder:
    """Images are their mean colours, words the colours of what they mean."""

    def images(photos: Sequence[Image.Image]) -> Tensor:
        return torch.stack([torch.from_numpy(np.asarray(p, np.float32).mean((0, 1))) for p in photos])

    return DualEncoder("colours", images, lambda texts: torch.tensor([VECTORS[t.split()[-1]] for t in texts]))


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    draw = np.random.default_rng(0)
    paths = []
    for i in range(80):
        pixels = draw.integers(0, 60, (16, 16, 3))
        if i % 4 < 3:
            pixels[..., i % 4] = draw.integers(80, 255)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    return paths


def known(found: Naming) -> None:
    assert [n.word for n in found.names[:3]] == ["cherry", "leaf", "sky"]
    for name in found.names[:3]:
        assert name.named
        assert name.lift > name.chance
        assert name.p == pytest.approx(1 / 40)
        assert name.second_score < name.score
        assert name.second != name.word
    for name in found.names[3:]:
        assert not name.named
        assert name.words().startswith("no better than chance")


def test_channels_get_their_names_and_noise_gets_none(photos: list[Path]) -> None:
    found = name_channels(model(), photos, encoder(), list(VECTORS), NameSettings("see", top=15))
    known(found)
    assert {n.channel for n in found.ranking()[:3]} == {0, 1, 2}
    assert found.strongest.shape == (5, 15)
    assert all(i % 4 == 0 for i in found.strongest[0].tolist())
    assert "3 of 5 channels of see" in found.summary()
    templated = name_channels(
        model(), photos, encoder(), list(VECTORS), NameSettings("see", top=15, template="a photo of {}")
    )
    assert templated.names == found.names
    again = name_channels(
        model(), photos, encoder(), list(VECTORS), NameSettings("see", top=15), Execution(batch_size=7)
    )
    assert again.names == found.names


def test_that_check_notices_names_of_the_weakest_photos(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = module._looked
    monkeypatch.setattr(module, "_looked", lambda *a: (*(r := right(*a))[:1], -r[1], *r[2:]))
    with pytest.raises(AssertionError):
        known(name_channels(model(), photos, encoder(), list(VECTORS), NameSettings("see", top=15)))


def test_names_of_random_channels_are_chance_at_the_rate_told(photos: list[Path]) -> None:
    """Channels of noise: their names pass the test in about one of twenty cases."""
    noise = torch.randn(400, 80, generator=torch.Generator().manual_seed(1))
    found = module._looked(model(), photos, encoder(), "see", Execution())
    fake = (found[0], noise.T, *found[2:])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_looked", lambda *_: fake)
        names = name_channels(model(), photos, encoder(), list(VECTORS), NameSettings("see", top=15)).names
    assert sum(n.named for n in names) / 400 == pytest.approx(0.05, abs=0.035)


def test_directions_are_named_like_channels(photos: list[Path]) -> None:
    turned = torch.eye(5)[[2, 0]]
    found = name_channels(
        model(), photos, encoder(), list(VECTORS), NameSettings("see", top=15), directions=turned
    )
    assert [n.word for n in found.names] == ["sky", "cherry"]
    assert "directions of see" in found.summary()
    assert "direction 0" in found.chapters(model(), found.names, 2)[0].title
    with pytest.raises(BadInput, match=r"\(2, 3\) for 5 channels"):
        name_channels(
            model(), photos, encoder(), list(VECTORS), NameSettings("see"), directions=torch.ones(2, 3)
        )


def test_outputs_can_be_named_and_damaged_photos_cost_themselves(photos: list[Path]) -> None:
    photos[3].write_bytes(b"no")
    found = name_channels(model(), photos, encoder(), list(VECTORS), NameSettings("head"))
    assert len(found.names) == 2
    assert len(found.photos) == 79
    assert "3.png" in found.failures[0]
    assert found.about["settings"]["top"] == 19
    assert found.picture(model(), found.ranking(), 3).size[0] > 300


def test_what_cannot_be_named_is_refused(photos: list[Path]) -> None:
    words = list(VECTORS)
    for settings in ({"top": 0}, {"shuffles": 5}, {"template": "photo"}):
        with pytest.raises(BadInput, match="Asked to name channels"):
            NameSettings(**settings)
    for given, message in (
        (["leaf"], "Found 1 words"),
        (["leaf", "leaf "], "each once"),
        (["leaf", ""], "once"),
    ):
        with pytest.raises(BadInput, match=message):
            name_channels(model(), photos, encoder(), given)
    with pytest.raises(BadInput, match="19 photos"):
        name_channels(model(), photos[:19], encoder(), words)
    with pytest.raises(UnknownName):
        name_channels(model(), photos, encoder(), words, NameSettings("nowhere"))
    with pytest.raises(Cancelled):
        name_channels(model(), photos, encoder(), words, execution=Execution(cancelled=lambda: True))
    wide = DualEncoder("wide", encoder().images, lambda texts: torch.ones(len(texts), 4))
    with pytest.raises(BadInput, match="Images have 3 numbers, texts 4"):
        name_channels(model(), photos, wide, words)
