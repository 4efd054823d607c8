"""Galleries: the photos, the places and the numbers they show are the right ones."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import networks
from seewhy.concepts import exemplar as module
from seewhy.concepts.collected import Collected, Collecting
from seewhy.concepts.collecting import collect
from seewhy.concepts.exemplar import exemplars, shown, smoothed
from seewhy.concepts.gallery import Gallery, make_gallery
from seewhy.concepts.receptive_fields import around, receptive_field
from seewhy.concepts.stages import last_of_stages
from seewhy.errors import BadInput, DoesNotFit
from seewhy.methods import CRP, LRP
from seewhy.models.layers import default_layer
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.report.gallery import render_gallery, write_gallery
from seewhy.show.gallery import Chapter, Strip, Tile, focused, gallery

RED, GREEN = 0, 1


class Colours(nn.Module):
    """Channel 0 sees red patches, channel 1 green ones; the class is the colour there is more of."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Conv2d(3, 2, 4, stride=4).requires_grad_(False)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.see.weight.zero_()
            self.see.weight[RED, 0], self.see.weight[GREEN, 1] = 1.0, 1.0
            self.see.bias.fill_(-8.0)
            self.head.weight.copy_(torch.eye(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.see(x).relu().mean((2, 3)))


def model() -> Model:
    plain = Preprocessing((32, 32), mean=(0.0,) * 3, std=(1.0,) * 3)
    return Model(Colours(), preprocess=plain, labels=["red", "green"], name="colours")


def photos(folder: Path) -> list[Path]:
    """Grey pictures with a patch each: red ones of growing size, then green ones; at known places."""
    folder.mkdir(exist_ok=True)
    paths = []
    for i in range(8):
        pixels = np.full((64, 64, 3), 60, np.uint8)
        side = 16 + 8 * (i % 4)
        top = 8 * (i % 4) if i < 4 else 64 - side
        pixels[top : top + side, 0:side] = (250, 0, 0) if i < 4 else (0, 250, 0)
        paths.append(folder / f"{'red' if i < 4 else 'green'}{i}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.fixture
def collected(tmp_path: Path) -> Collected:
    rules = LRP(composite="epsilon")
    asked = Collecting(("see",), count=3, per_class=2, normalised=False, rules=rules)
    return collect(model(), photos(tmp_path / "photos"), asked)


# -- exemplars -----------------------------------------------------------------------------------------------


def names(found: list[module.Exemplar]) -> list[str]:
    return [Path(e.name).stem for e in found]


def test_each_colour_has_its_photos_largest_first(collected: Collected) -> None:
    for kind in ("relevance", "activation"):
        assert names(exemplars(model(), collected, "relevance", "see", RED)) == ["red3", "red2", "red1"], kind
        assert names(exemplars(model(), collected, "relevance", "see", GREEN)) == [
            "green7",
            "green6",
            "green5",
        ]
    assert [e.label for e in exemplars(model(), collected, "relevance", "see", RED)] == ["red"] * 3
    assert names(exemplars(model(), collected, "relevance", "see", RED, of=RED)) == ["red3", "red2"]
    assert names(exemplars(model(), collected, "relevance", "see", RED, count=1)) == ["red3"]


def test_photos_without_a_value_are_left_out(collected: Collected) -> None:
    assert exemplars(model(), collected, "relevance", "see", RED, of=GREEN) == []


def patch(i: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the patch of picture i, in pixels of the model's input."""
    side = (16 + 8 * (i % 4)) // 2
    top = (8 * (i % 4) if i < 4 else 64 - 2 * side) // 2
    return (top, top + side), (0, side)


def lies_on_the_patch(found: list[module.Exemplar]) -> None:
    for e in found:
        (top, bottom), (left, right) = patch(e.index)
        inside = torch.zeros_like(e.map, dtype=torch.bool)
        inside[top:bottom, left:right] = True
        assert float(e.map.clamp_min(0)[inside].sum()) == pytest.approx(
            float(e.map.clamp_min(0).sum()), rel=1e-5
        )
        assert float(e.strength[inside].mean()) > 0.5


def test_maps_lie_on_the_patch(collected: Collected) -> None:
    for channel in (RED, GREEN):
        lies_on_the_patch(exemplars(model(), collected, "relevance", "see", channel))


def test_that_check_notices_the_map_of_the_other_channel(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = module.Units
    monkeypatch.setattr(module, "Units", lambda channels: true(tuple(1 - c for c in channels)))
    with pytest.raises(AssertionError):
        lies_on_the_patch(exemplars(model(), collected, "relevance", "see", RED))


def test_relevance_maps_are_those_of_crp_and_activation_maps_sum_to_the_activation(
    collected: Collected,
) -> None:
    m = model()
    for e in exemplars(m, collected, "relevance", "see", GREEN):
        crp = CRP(f"see: {GREEN}", composite="epsilon")(m, e.name, GREEN)
        torch.testing.assert_close(e.map, crp.values[0])
        assert float(e.map.sum()) == pytest.approx(e.value * _without_bias(m, e), rel=1e-4)
    unbiased = replace(
        collected, settings=replace(collected.settings, rules=LRP(composite="epsilon", biases="share"))
    )
    for e in exemplars(m, unbiased, "activation", "see", GREEN):
        see = m.module.see(m.prepare(e.name).tensor)[0, GREEN]
        assert float(e.map.sum()) == pytest.approx(float(see.sum()), rel=1e-3)


def _without_bias(m: Model, e: module.Exemplar) -> float:
    """Part of the active cells' relevance that goes to the pixels: z + 8 is theirs, of z."""
    z = m.module.see(m.prepare(e.name).tensor)[0, GREEN]
    active = z[z > 0]
    return float((active + 8).sum() / active.sum())


def test_windows_hold_what_they_are_named_for(collected: Collected) -> None:
    m, size = model(), 32
    for e in exemplars(m, collected, "relevance", "see", RED):
        (top, bottom), (left, right) = patch(e.index)
        spans = e.window
        assert all(0 <= a < b <= size for a, b in spans)
        assert spans[0][0] <= top + 2
        assert spans[0][1] >= bottom - 2
        assert spans[1][1] - spans[1][0] == spans[0][1] - spans[0][0]  # the input's proportions
        assert spans[1][1] - spans[1][0] <= right - left + 4
    for e in exemplars(m, collected, "relevance", "see", RED, window="receptive_field"):
        assert [b - a for a, b in e.window] == [4, 4]
        (top, bottom), (left, right) = patch(e.index)
        assert top <= e.window[0][0] < bottom
        assert left <= e.window[1][0] < right
    for e in exemplars(m, collected, "relevance", "see", RED, window="whole"):
        assert e.window == ((0, 32), (0, 32))


def test_strength_is_the_smoothed_positive_part() -> None:
    spot = torch.zeros(48, 48)
    spot[20:28, 30:38] = 2.0
    spot[0:10, 0:10] = -5.0
    strength = smoothed(spot)
    assert float(strength.max()) == 1
    assert float(strength[24, 34]) == pytest.approx(1)
    assert float(strength[:12, :12].max()) == 0
    assert shown(strength) == ((18, 30), (28, 40))
    assert shown(torch.zeros(48, 48)) == ((0, 48), (0, 48))
    assert not bool(smoothed(-spot.abs()).any())


def pooled(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


# -- receptive fields ----------------------------------------------------------------------------------------


def test_receptive_fields_of_known_networks() -> None:
    for kernel in (3, 7):
        torch.manual_seed(0)
        one = nn.Sequential(nn.Conv2d(3, 8, kernel, padding=kernel // 2), pooled(8, 2))
        assert receptive_field(Model(one), "0", (3, 64, 64)) == (kernel, kernel)

    class Everywhere(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x + 64 * x.mean((2, 3), keepdim=True)).mean((2, 3))

    assert min(receptive_field(Model(Everywhere()), "conv", (3, 64, 64))) > 50
    with pytest.raises(DoesNotFit):
        receptive_field(Model(one), "1", (3, 64, 64))


def test_windows_around_cells_stay_inside() -> None:
    assert around((3, 3), (8, 8), (8, 8), (32, 32)) == ((10, 18), (10, 18))
    assert around((0, 7), (8, 8), (8, 8), (32, 32)) == ((0, 8), (24, 32))
    assert around((0, 7), (8, 8), (99, 8), (32, 32)) == ((0, 32), (24, 32))


def test_default_layers_are_the_last_of_the_coarsest_grids() -> None:
    torch.manual_seed(0)

    def stage(a: int, b: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1)
        )

    net = nn.Sequential(
        stage(3, 6), stage(6, 8), stage(8, 9), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 4)
    )
    assert last_of_stages(Model(net), (3, 32, 32)) == ("1", "2")
    assert last_of_stages(Model(net), (3, 32, 32), 3) == ("0", "1", "2")
    assert last_of_stages(Model(net), (3, 32, 32), 9) == ("0", "1", "2")
    vit = Model(networks.vit())
    assert last_of_stages(vit, (3, 16, 16)) == (default_layer(vit, (3, 16, 16)).name,)


# -- pictures and pages --------------------------------------------------------------------------------------


def test_faint_is_what_the_map_does_not_show() -> None:
    photo = Image.new("RGB", (80, 80), (0, 0, 200))
    strength = np.zeros((40, 40))
    strength[:, 20:] = 1.0
    picture = np.asarray(focused(photo, strength, ((0, 40), (0, 40)), cell=80))
    assert picture[40, 70].tolist() == [0, 0, 200]
    assert picture[40, 10].tolist() == [178, 178, 238]  # 0.3 of the photo, 0.7 white
    part = focused(photo, strength, ((0, 10), (20, 40)), cell=60)
    assert part.size == (60, 30)
    assert np.asarray(part)[15, 40].tolist() == [0, 0, 200]
    with pytest.raises(BadInput, match="window"):
        focused(photo, strength, ((0, 41), (0, 40)))


def test_galleries_are_drawn_with_all_their_tiles() -> None:
    red = Tile(Image.new("RGB", (40, 40), (255, 0, 0)), "red")
    sheet = gallery([Chapter("a", "note", [Strip("row", [red] * 4), Strip("other", [], "none")])], cell=40)
    pure = (np.asarray(sheet) == (255, 0, 0)).all(-1).sum()
    assert pure == 4 * 1600
    with pytest.raises(BadInput, match="nothing to show"):
        gallery([])


def made(collected: Collected, tmp_path: Path) -> Gallery:
    return make_gallery(model(), collected, {"see": [RED, GREEN]}, count=2, cell=40)


def test_the_numbers_are_those_of_the_tables(collected: Collected, tmp_path: Path) -> None:
    card = made(collected, tmp_path).cards[RED]
    assert card.share.inputs == 8
    assert card.share.mean == pytest.approx(0.5)  # all of four photos, nothing of the other four
    assert [(s.label, s.mean, s.inputs) for s in card.classes] == [("red", 1.0, 4)]
    assert "100 % ± 0 (4 photos)" in card.note()
    facts = card.to_json()
    assert [Path(f["photo"]).stem for f in facts["relevance"]] == ["red3", "red2"]
    assert facts["share"]["margin"] == pytest.approx(
        2.3646 * np.std([1] * 4 + [0] * 4, ddof=1) / 8**0.5, rel=1e-3
    )
    picture = made(collected, tmp_path).picture(40)
    assert ((np.asarray(picture) == (250, 0, 0)).all(-1)).sum() > 500


def test_the_page_is_one_file_with_every_photo_and_number(collected: Collected, tmp_path: Path) -> None:
    gallery_made = made(collected, tmp_path)
    page = write_gallery(tmp_path / "new" / "page.html", gallery_made, command="seewhy <b>").read_text()
    assert page == render_gallery(gallery_made, command="seewhy <b>")
    assert page.count("<img") == sum(len(t) for c in gallery_made.cards for t in c.tiles.values())
    assert "<b>" not in page
    assert html.escape("seewhy <b>") in page
    for name in ("red3.png", "green7.png"):
        assert name in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "<script" not in page
    assert "8 photos · 2 channels" in page


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        ({"other": [0]}, {}, "Choose among see"),
        ({"see": [2]}, {}, "channels 0 to 1"),
        ({}, {}, "No channel is named"),
        ({"see": [0]}, {"of": 5}, "per_class"),
    ],
)
def test_what_was_not_collected_is_refused(
    collected: Collected, channels: dict[str, list[int]], options: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        make_gallery(model(), collected, channels, **options)
