"""Photos as training images: by index, held out, balanced, cut as the model would see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import networks
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.training.sources import Photos, folder

LOOK = Preprocessing((16, 16), resize=20)


def pictures(count: int = 9) -> list[Image.Image]:
    """Pictures of one grey level each, so that an input tells which it is."""
    return [Image.new("RGB", (40 + i, 30), (20 * i, 20 * i, 20 * i)) for i in range(count)]


def level(x: torch.Tensor) -> list[int]:
    """Which picture each input is of."""
    shown = torch.stack([LOOK.display(one) for one in x]).float().mean((1, 2, 3))
    return (shown / 20).round().int().tolist()


def test_a_batch_is_its_singles_and_an_epoch_shows_every_photo_once() -> None:
    source = Photos(pictures(), LOOK)
    whole = source.batch(3, torch.arange(27))
    singles = torch.cat([source.batch(3, torch.tensor([i])) for i in range(27)])
    assert torch.equal(whole, singles)
    seen = level(whole)
    for epoch in range(3):
        assert sorted(seen[9 * epoch : 9 * epoch + 9]) == list(range(9))
    assert seen[:9] != seen[9:18]
    assert seen[:9] != level(source.batch(4, torch.arange(9)))


def test_held_out_photos_are_never_trained_on_and_lie_as_the_model_cuts_them() -> None:
    source = Photos(pictures(), LOOK, held_out=3)
    apart = level(source.held_out())
    assert apart == [0, 3, 6]
    assert set(level(source.batch(0, torch.arange(60)))) == set(range(9)) - set(apart)
    torch.testing.assert_close(source.held_out()[1], LOOK(pictures()[3]))


def test_photos_are_cut_at_random_and_mirrored() -> None:
    ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 3, (48, 1, 3))
    source = Photos([Image.fromarray(ramp)] * 2, Preprocessing((16, 16), resize=24))
    x = source.batch(0, torch.arange(40))
    slope = x[:, 0, 0, -1] - x[:, 0, 0, 0]
    assert 8 < int((slope > 0).sum()) < 32
    assert len({round(float(v), 3) for v in x.amax((1, 2, 3))}) > 3
    straight = Photos([Image.fromarray(ramp)] * 2, Preprocessing((16, 16), resize=24), mirror=False)
    assert bool(
        (
            straight.batch(0, torch.arange(40))[:, 0, 0, -1] > straight.batch(0, torch.arange(40))[:, 0, 0, 0]
        ).all()
    )


def test_balance_draws_classes_alike() -> None:
    class Dark(torch.nn.Module):
        """Class 0 for the darkest picture, 1 for all others."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bright = x.mean((1, 2, 3)) - LOOK.normalised(10.0).mean()
            return torch.stack([-bright, bright], 1)

    source = Photos(pictures(), LOOK)
    source.balance(Model(Dark()), Execution())
    seen = level(source.batch(0, torch.arange(200)))
    assert 70 < seen.count(0) < 130
    assert set(seen) == set(range(9))


def test_a_folder_is_read_in_order_of_name(tmp_path: Path) -> None:
    for name, picture in zip(("b/2.png", "a.jpg", "note.txt", "c.PNG"), pictures(4), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture.save(tmp_path / name, format="PNG")
    model = Model(networks.cnn(), preprocess=LOOK)
    source = folder(tmp_path, model)
    assert [p.name for p in source.photos] == ["a.jpg", "2.png", "c.PNG"]
    before = source.fingerprint
    pictures(1)[0].save(tmp_path / "d.png")
    assert folder(tmp_path, model).fingerprint != before


def test_what_cannot_be_trained_on_is_refused(tmp_path: Path) -> None:
    model = Model(networks.cnn(), preprocess=LOOK)
    with pytest.raises(BadInput, match="There is no such folder"):
        folder(tmp_path / "absent", model)
    with pytest.raises(BadInput, match="Found 0"):
        folder(tmp_path, model)
    with pytest.raises(BadInput, match="no preprocessing that brings photos to one size"):
        folder(tmp_path, Model(networks.cnn()))
