"""Feature visualisation: scores rise, stand where they are said to stand, and nothing else is changed."""

from __future__ import annotations

import html
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import networks
import seewhy
from seewhy.concepts import (
    CAV,
    MACO,
    Along,
    Direction,
    FeatureVisualisation,
    Visualisation,
    Visualised,
    ascent,
    receptive_field,
)
from seewhy.concepts.ascent import Ascent, as_input, climb
from seewhy.concepts.canvas import FourierCanvas
from seewhy.concepts.projections import GUIDED, focus
from seewhy.concepts.receptive_fields import around
from seewhy.concepts.views import Transforms
from seewhy.concepts.visual_strips import picture, projection_picture, rows_of
from seewhy.errors import BadInput, Cancelled, DoesNotFit, NotFinite
from seewhy.execution import Execution
from seewhy.inputs.photos import demo_photos
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.report.visualised import render_visualised, write_visualised
from seewhy.targets import Class, Neuron, Similarity, Top, contrast

LOOK = Preprocessing((16, 16), fit="squash", mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
QUICK = FeatureVisualisation(steps=20)
QUICK_MACO = MACO(steps=12, views=3, last_crop=0.3)


def small(look: Preprocessing = LOOK, **options: Any) -> Model:
    net = networks.cnn(channels=len(look.mean))
    return Model(net, preprocess=look, labels=["a", "b", "c", "<d>", "e"], name="small", **options)


def scores(model: Model, images: Tensor, layer: int, channel: int) -> Tensor:
    """Return the mean of a channel, by hand."""
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (LOOK.mean, LOOK.std))
    with torch.no_grad():
        return model.module.eval()[: layer + 1]((images - mean) / std)[:, channel].mean((1, 2))


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Seven pictures of noise on colours."""
    draw, folder = np.random.default_rng(0), tmp_path / "photos"
    folder.mkdir()
    for i in range(7):
        pixels = (draw.integers(0, 99, (24, 20, 3)) + draw.integers(0, 156, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


# -- scores rise ---------------------------------------------------------------------------------------------

TARGETS = {
    "channel": Neuron("3", 2),
    "cell": Neuron("3", 2, (3, 5)),
    "class": 3,
    "label": "<d>",
    "contrast": "a vs b",
    "sum": Class(1) - 0.5 * Neuron("0", 1),
    "direction": Direction("stripes", "2", torch.arange(6.0) - 2, 0.9, 0.8, 1.0),
    "embedding": Similarity(torch.ones(5)),
    "function": lambda output: output[:, 0] * output[:, 1],
}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_scores_rise_over_a_random_start_of_the_same_spectrum(target: object) -> None:
    (found,) = QUICK(small(), target).visualisations
    assert found.reached[0] > found.start[0]
    assert found.reached_in_views[0] > found.start_in_views[0]


def test_an_ascent_that_goes_down_would_be_seen() -> None:
    model, target = small(), Neuron("3", 2)
    plain = Ascent(lambda z: torch.optim.Adam([z], lr=0.05), Transforms(), 1, 20, 1)
    wrong = replace(plain, optimiser=lambda z: torch.optim.Adam([z], lr=0.05, maximize=True))
    with model.untouched():
        up, down = (
            climb(model, target, FourierCanvas(3, (16, 16)), how, Execution()) for how in (plain, wrong)
        )
    assert up.reached > up.start
    assert down.reached < down.start


def test_the_score_said_is_that_of_the_image_given() -> None:
    model = small()
    (found,) = FeatureVisualisation(images=2, steps=5)(model, Neuron("3", 2)).visualisations
    assert torch.equal((found.images * 255).round() / 255, found.images)
    assert torch.allclose(scores(model, found.images, 3, 2), torch.tensor(found.reached), atol=1e-5)
    start = FourierCanvas(3, (16, 16)).pixels(FourierCanvas(3, (16, 16)).start(0, 2))
    assert torch.allclose(
        scores(model, (start * 255).round() / 255, 3, 2), torch.tensor(found.start), atol=1e-5
    )
    for one, image in zip(found.pictures(), found.images, strict=True):
        assert torch.equal(torch.from_numpy(np.array(one)).permute(2, 0, 1) / 255, image)


def test_a_channel_that_sees_red_is_shown_red() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(2 * 144, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, -1, -1], [-1, 1, -1]])[:, :, None, None])
    model = Model(net, preprocess=Preprocessing((12, 12), mean=(0.0,) * 3, std=(1.0,) * 3))
    made = FeatureVisualisation(steps=60)(model, [Neuron("0", 0), Neuron("0", 1)])
    red, green = (v.images[0].mean((1, 2)) for v in made.visualisations)
    assert red[0] - red[1] > 0.03
    assert green[1] - green[0] > 0.03


@pytest.mark.parametrize(("family", "layer"), [("vit", "blocks.0"), ("swin", "features.1")])
def test_tokens_and_channels_last_stages_have_channels_too(family: str, layer: str) -> None:
    build, shape = networks.FAMILIES[family]
    model = Model(build(), preprocess=replace(LOOK, size=shape[1:]))
    (found,) = FeatureVisualisation(steps=8)(model, Neuron(layer, 3)).visualisations
    assert found.reached[0] > found.start[0]


def test_maco_raises_scores_in_crops_and_says_where_it_pushed(photos: list[Path]) -> None:
    made = QUICK_MACO(small(), [Neuron("3", 2), 1])
    assert made.transparent
    assert made.provenance["magnitudes"] == "1 / frequency"
    for found in made.visualisations:
        assert found.reached_in_views[0] > found.start_in_views[0]
        assert 0 <= float(found.opacity.min()) < 0.5
        assert float(found.opacity.max()) == 1
        assert float((found.opacity == 1).double().mean()) == pytest.approx(0.2, abs=0.03)
    own = QUICK_MACO(small(), Neuron("3", 2), photos)
    assert own.provenance["magnitudes"] == "photos' mean"
    assert not torch.equal(own.visualisations[0].images, made.visualisations[0].images)


def test_one_channel_models_get_grey_pictures() -> None:
    model = small(Preprocessing((16, 15), mean=(0.5,), std=(0.5,)))
    made = QUICK(model, 1)
    assert made.visualisations[0].images.shape == (1, 1, 16, 15)
    assert [p.mode for p in made.visualisations[0].pictures()] == ["L"]
    assert [p.mode for p in made.visualisations[0].pictures(transparent=True)] == ["LA"]
    assert picture(model, made).mode == "RGB"


def test_a_real_network_answers_more_than_to_any_photo() -> None:
    model, photos = seewhy.load("efficientnet-lite0"), list(demo_photos().values())
    (found,) = FeatureVisualisation(steps=12)(model, Neuron("_blocks.10", 96), photos).visualisations
    assert found.standing is not None
    assert found.standing.percentiles == (100.0,)
    assert found.reached[0] > max(2 * found.standing.high, found.start[0])
    assert found.patches is not None
    assert found.patches.rule == "guided"


# -- ReLUs that let nothing through --------------------------------------------------------------------------


def asleep() -> Model:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 144, 2)
    )
    with torch.no_grad():
        net[0].weight.copy_(networks.cnn()[0].weight[:4])
        net[2].weight.fill_(0.1)
        net[2].bias.fill_(-0.2)
    return Model(net, preprocess=Preprocessing((16, 16), mean=(0.5,) * 3, std=(0.5,) * 3))


def test_a_sleeping_channel_wakes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = FeatureVisualisation(steps=30)(asleep(), Neuron("3", 0)).visualisations
    assert found.start[0] == 0
    assert found.reached[0] > 0
    monkeypatch.setattr(ascent, "Rectifiers", lambda _: nullcontext())
    with pytest.raises(DoesNotFit, match="no gradient at the images"):
        FeatureVisualisation(steps=30)(asleep(), Neuron("3", 0))


# -- the same again ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [QUICK, QUICK_MACO], ids=["fourier", "maco"])
def test_same_seed_same_bits_and_singles_like_batches(method: FeatureVisualisation | MACO) -> None:
    model, wanted = small(), [Neuron("3", 2), 1]
    first, again = (method(model, wanted, None, Execution(seed=3)) for _ in range(2))
    for a, b in zip(first.visualisations, again.visualisations, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.opacity, b.opacity)
    (alone,) = method(model, 1, None, Execution(seed=3)).visualisations
    assert torch.equal(alone.images, first.visualisations[1].images)
    other = method(model, 1, None, Execution(seed=4)).visualisations[0]
    assert not torch.equal(other.images, alone.images)
    many = replace(method, images=2, **({"diversity": 0.0} if method is QUICK else {}))
    (both,) = many(model, 1, None, Execution(seed=3)).visualisations
    assert float((both.images[0] - alone.images[0]).abs().max()) < 0.02
    assert float((both.images[1] - alone.images[0]).abs().max()) > 0.02
    small_batches = method(model, 1, None, Execution(seed=3, batch_size=1)).visualisations[0]
    assert float((small_batches.images - alone.images).abs().max()) < 0.02


def test_the_model_is_left_as_found(photos: list[Path]) -> None:
    model = small()
    model.module.train()
    model.module[0].weight.requires_grad_(False)
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    state = torch.get_rng_state()
    for method in (QUICK, QUICK_MACO):
        method(model, Neuron("3", 2), photos)
    with pytest.raises(Cancelled):
        QUICK(model, 1, None, Execution(cancelled=lambda: True))
    assert model.module.training
    assert all(m.training for m in model.module.modules())
    assert [p.requires_grad for p in model.module.parameters()] == [False, *[True] * 9]
    assert all(p.grad is None for p in model.module.parameters())
    assert not any(m._forward_hooks for m in model.module.modules())
    assert torch.equal(torch.get_rng_state(), state)
    after = model.module.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_progress_and_passes() -> None:
    said = []
    execution = Execution(progress=lambda done, total, what: said.append((done, total, what)))
    made = FeatureVisualisation(steps=4, images=2, views=3)(small(), Neuron("3", 2), None, execution)
    assert [(d, t) for d, t, _ in said] == [(i + 1, 4) for i in range(4)]
    assert {what for *_, what in said} == {"visualising 3 channel 2"}
    assert made.provenance["passes"] == {"forward": 4 * 6 + 2 * 2 + 2 * 16 * 2, "backward": 4 * 6}


# -- directions and diversity --------------------------------------------------------------------------------


def test_along_is_the_mean_product_with_the_unit_vector() -> None:
    model, x = small(), torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for layer, vector, by_hand in (
        ("2", torch.arange(6.0) - 2, lambda f, v: torch.einsum("nchw,c->nhw", f, v).mean((1, 2))),
        ("3", torch.arange(512.0) - 99, lambda f, v: f.flatten(1) @ v),
        ("7", torch.arange(8.0), lambda f, v: f @ v),
    ):
        with torch.no_grad():
            answer = model.answer(x, [layer])
            found = Along(layer, 3 * vector).bind(model, answer, "logit")(answer, torch.arange(3))
            wanted = by_hand(answer.activations[layer].double(), (vector / vector.norm()).double())
        assert torch.allclose(found.double(), wanted, atol=1e-4), layer
    for wrong in (torch.ones(5), torch.zeros(6), torch.ones(2, 3), torch.full((6,), torch.nan)):
        with pytest.raises(BadInput, match="Give 6 numbers, one a channel, or 1536"):
            QUICK(model, Along("2", wrong))


def test_vectors_of_concepts_can_be_shown(photos: list[Path]) -> None:
    model = small()
    found = CAV(layers=("3",), runs=2)(model, {"first": photos[:3] * 2}, photos[1:])
    (made,) = QUICK(model, list(found.directions)).visualisations
    assert made.label == "first in 3"
    assert made.reached[0] > made.start[0]


def likeness(model: Model, images: Tensor) -> Tensor:
    """Return the mean cosine of each image's Gram matrix with the others', by hand."""
    with torch.no_grad():
        f = model.module[:4](as_input(model, images)).flatten(2)
    grams = [(one @ one.T).flatten() for one in f]
    n = len(grams)
    pairs = [[float(functional.cosine_similarity(a, b, dim=0)) for b in grams] for a in grams]
    return torch.tensor([(sum(row) - 1) / (n - 1) for row in pairs])


def test_likeness_is_the_mean_cosine_of_gram_matrices() -> None:
    model = small()
    images = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    two_views = torch.stack([images, images.flip(3)], 1).flatten(0, 1)
    with torch.no_grad():
        cells = model.module[:4](as_input(model, two_views)).flatten(2)
    found = ascent.likeness(cells, 3).reshape(3, 2)
    assert torch.allclose(found[:, 0], likeness(model, images), atol=1e-5)
    assert torch.allclose(found[:, 1], likeness(model, images.flip(3)), atol=1e-5)


def test_diversity_makes_images_less_alike() -> None:
    model = small()
    found = {
        weight: FeatureVisualisation(images=3, steps=40, transforms=0, diversity=weight)(
            model, Neuron("3", 2)
        )
        for weight in (0.0, 3.0)
    }
    alike = {w: float(likeness(model, v.visualisations[0].images).mean()) for w, v in found.items()}
    assert alike[3.0] < alike[0.0] - 0.02


# -- among photos --------------------------------------------------------------------------------------------


def test_standing_among_photos_is_that_of_a_plain_loop(photos: list[Path]) -> None:
    model, wanted = small(), [Neuron("3", c) for c in range(8)]
    (photos[0].parent / "a.png").write_bytes(b"no")
    listed = [photos[0].parent / "a.png", *photos]
    method = MACO(steps=2, images=2, views=1)
    made = method(model, wanted, listed, Execution(batch_size=3))
    assert len(made.failures) == 1
    assert "a.png" in made.failures[0]
    shown = torch.stack([LOOK.display(model.prepare(p).tensor[0]) for p in photos]) / 255
    for channel, found in enumerate(made.visualisations):
        each, standing = scores(model, shown, 3, channel), found.standing
        assert standing is not None
        assert standing.photos == 7
        low, median, high = (float(f(each)) for f in (torch.min, torch.median, torch.max))
        assert (standing.low, standing.median, standing.high) == pytest.approx((low, median, high), abs=1e-5)
        best = each.argsort(descending=True).tolist()
        assert [name for name, _ in standing.best] == [str(photos[i]) for i in best]
        for reached, said in (
            (found.reached, standing.percentiles),
            (found.reached_in_views, standing.percentiles_in_views),
        ):
            assert said == pytest.approx([100 * float((each < r).double().mean()) for r in reached])
    both = [
        (v.standing.percentiles, v.standing.percentiles_in_views) for v in made.visualisations if v.standing
    ]
    assert any(plain != viewed for plain, viewed in both)


def test_words_say_where_the_score_lies() -> None:
    made = FeatureVisualisation(steps=1)(small(), 1).visualisations[0]
    plain = replace_scores(made, None)
    assert plain.words(0) == "scores 2.5 (noise 0.5)"
    assert plain.words(0, in_views=True) == "scores 1.5 in its crops (noise 0.25)"
    from seewhy.concepts.visualised import Standing

    some = Standing(40, 0.0, 1.0, 2.75, (97.5,), (0.0,), ())
    assert replace_scores(made, some).words(0) == (
        "scores 2.5 (noise 0.5), above 97.5 % of 40 photos (highest 2.75)"
    )
    assert "above none of 40 photos" in replace_scores(made, some).words(0, in_views=True)
    best = replace(some, percentiles=(100.0,))
    assert "above all of 40 photos" in replace_scores(made, best).words(0)


def replace_scores(made: Visualisation, standing: Any) -> Visualisation:
    return replace(
        made, start=(0.5,), reached=(2.5,), start_in_views=(0.25,), reached_in_views=(1.5,), standing=standing
    )


# -- what strong cells see -----------------------------------------------------------------------------------


class Pooled(nn.Module):
    """One convolution, a ReLU, a maximum over four pixels, another convolution, a ReLU."""

    def __init__(self, *, pooled: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
        self.pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        x = functional.max_pool2d(x, 2) if self.pooled else functional.avg_pool2d(x, 2)
        return self.second(x).relu().mean((2, 3))


def by_hand(net: Pooled, x: Tensor, channel: int, cell: tuple[int, int], *, guided: bool) -> Tensor:
    """Run the network backwards from one cell of `second`, with transposed filters and switches."""
    with torch.no_grad():
        one = net.first(x).relu()
        if net.pooled:
            two, switches = functional.max_pool2d(one, 2, return_indices=True)
        else:
            two = functional.avg_pool2d(one, 2)
        signal = torch.zeros_like(net.second(two))
        signal[0, channel, cell[0], cell[1]] = 1
        signal = functional.conv_transpose2d(signal, net.second.weight, padding=1)
        if net.pooled:
            signal = functional.max_unpool2d(signal, switches, 2)
        else:
            signal = signal.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
        signal = signal.relu() * ((one > 0) if guided else 1)
        return functional.conv_transpose2d(signal, net.first.weight, padding=1)[0]


@pytest.mark.parametrize("pooled", [True, False])
def test_patches_are_the_strongest_cells_projected_back(pooled: bool, photos: list[Path]) -> None:
    net = Pooled(pooled=pooled)
    model = Model(net, preprocess=LOOK)
    made = FeatureVisualisation(steps=1)(model, Neuron("second", 1), photos, Execution(batch_size=2))
    patches = made.visualisations[0].patches
    assert patches is not None
    assert patches.rule == ("deconvnet" if pooled else "guided")
    assert patches.remark == ("" if pooled else GUIDED)
    whole = {}
    for p in photos:
        x = model.prepare(p).tensor
        pool = functional.max_pool2d if pooled else functional.avg_pool2d
        with torch.no_grad():
            whole[str(p)] = net.second(pool(net.first(x).relu(), 2))[0, 1]
    wanted = sorted((p for p in whole if whole[p].max() > 0), key=lambda p: -float(whole[p].max()))
    assert len(wanted) > 1
    assert [p.photo for p in patches.patches] == wanted
    field = receptive_field(model, "second", (3, 16, 16))
    for patch in patches.patches:
        values = whole[patch.photo]
        assert patch.value == pytest.approx(float(values.max()), rel=1e-5)
        assert patch.cell == divmod(int(values.argmax()), 8)
        assert patch.window == around(patch.cell, (8, 8), field, (16, 16))
        x = model.prepare(patch.photo).tensor
        back = by_hand(net, x, 1, patch.cell, guided=not pooled)
        (a, b), (c, d) = patch.window
        assert patch.projection is not None
        assert torch.allclose(patch.projection, back[:, a:b, c:d], atol=1e-6)
    rows = rows_of(model, made, made.visualisations[0], cell=96)
    assert rows.closer is not None
    assert rows.projections is not None
    for photo, projected in zip(rows.closer.tiles, rows.projections.tiles, strict=True):
        assert photo.picture.size == projected.picture.size == (96, 96)
        assert photo.caption == projected.caption


def looks_where_something_is(where: Callable[[Tensor], tuple[tuple[int, int], ...]]) -> None:
    projection = torch.zeros(3, 100, 90)
    projection[:, 60:84, 70:86] = torch.randn(3, 24, 16, generator=torch.Generator().manual_seed(0))
    projection[:, 0, 0] = 1e-3  # a speck far away
    (top, bottom), (left, right) = where(projection)
    assert bottom - top == right - left <= 24
    inside = projection[:, top:bottom, left:right].square().sum()
    assert float(inside) > 0.8 * float(projection.square().sum())
    assert right <= 90


def test_projections_are_shown_where_they_are() -> None:
    looks_where_something_is(focus)
    assert focus(torch.zeros(3, 20, 30)) == ((0, 20), (0, 30))
    corner = torch.zeros(1, 40, 12)
    corner[0, 39, 11] = -1
    assert focus(corner) == ((24, 40), (0, 12))  # no wider than the projection


def test_that_check_notices_the_whole_window() -> None:
    with pytest.raises(AssertionError):
        looks_where_something_is(lambda p: ((0, p.shape[1]), (0, p.shape[2])))


def test_without_max_pooling_deconvnet_knows_nothing_of_the_photo(photos: list[Path]) -> None:
    net = Pooled(pooled=False)
    model = Model(net, preprocess=LOOK)
    one, two = (by_hand(net, model.prepare(p).tensor, 1, (3, 3), guided=False) for p in photos[:2])
    assert torch.allclose(one, two)


def test_networks_without_a_rule_have_windows_only(photos: list[Path]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 196, 2))
    model = Model(net, preprocess=LOOK)
    made = FeatureVisualisation(steps=1)(model, [Neuron("0", 0), 1, Neuron("0", 0, (2, 2))], photos)
    patches, none, cell = (v.patches for v in made.visualisations)
    assert none is None
    assert cell is None
    assert patches is not None
    assert patches.rule == ""
    assert all(p.projection is None for p in patches.patches)
    assert "the network has GELU" in patches.remark
    page = html.unescape(render_visualised(model, made))
    assert "No projections: its rule is for ReLU" in page
    rows = rows_of(model, made, made.visualisations[0])
    assert rows.projections is None
    assert rows.seen is not None


def test_projections_are_drawn_on_grey() -> None:
    signed = torch.zeros(3, 4, 8)
    signed[0, 1, 2], signed[:, 3, 7] = 2.0, -2.0
    drawn = projection_picture(signed, 8)
    assert drawn.size == (8, 4)
    assert drawn.getpixel((2, 1)) == (255, 128, 128)
    assert drawn.getpixel((7, 3)) == (0, 0, 0)
    assert drawn.getpixel((0, 0)) == (128, 128, 128)


# -- pages ---------------------------------------------------------------------------------------------------


def test_the_page_shows_what_was_found(photos: list[Path], tmp_path: Path) -> None:
    model = small()
    made = FeatureVisualisation(steps=3, images=2)(model, [Neuron("3", 2), "<d>"], photos)
    file = write_visualised(tmp_path / "made" / "page.html", model, made, command="seewhy concepts ...")
    page = file.read_text(encoding="utf-8")
    channel, label = made.visualisations
    assert channel.patches is not None
    found = len(channel.patches.patches)
    assert page.count("<img") == 2 + 7 + 3 * found + 2 + 7
    assert "<d>" not in page.replace("<div", "").replace("<dl>", "").replace("<dt>", "").replace("<dd>", "")
    for one in (channel, label):
        for i in range(2):
            assert html.escape(one.words(i)) in page
        assert one.standing is not None
        for share in one.standing.percentiles:
            assert f"{share:.3g} % of 7" in page
    assert "seewhy concepts ..." in page
    assert "<script" not in page
    assert picture(model, made).height > 800


def test_pages_without_photos_promise_none() -> None:
    model = small()
    made = QUICK_MACO(model, 1)
    page = render_visualised(model, made)
    assert page.count("<img") == 1
    assert "Photos by score" not in page
    assert "in its crops" in page
    assert "the image is transparent" in page


def test_json_holds_the_numbers(photos: list[Path]) -> None:
    made: Visualised = FeatureVisualisation(steps=2)(small(), [Neuron("3", 2)], photos)
    text = made.to_json()
    assert text["method"] == "feature visualisation"
    assert text["parameters"]["steps"] == 2
    (one,) = text["visualisations"]
    assert one["target"]["layer"] == "3"
    assert one["reached"] == list(made.visualisations[0].reached)
    assert one["among_photos"]["best"][0]["photo"] in map(str, photos)
    assert one["patches"]["projected"] == "guided"


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (None, "and there is none"),
        (Top(2), "and there is none"),
        ("top 2", "and there is none"),
        ([], "No target is named"),
        (True, "Found bool"),
        (0.5, "Found float"),
        (9, "classes 0 to 4"),
        (contrast("a", "nothing"), "nothing"),
        (Neuron("3", 8), "It has 8"),
    ],
)
def test_targets_that_cannot_be_shown(target: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        QUICK(small(), target)


def test_models_that_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(DoesNotFit, match="only runs forward"):
        QUICK(small(differentiable=False), 1)
    with pytest.raises(DoesNotFit, match="It has no preprocessing"):
        QUICK(networks.cnn(), 1)
    with pytest.raises(DoesNotFit, match="It sees clips"):
        QUICK(Model(networks.cnn3d(), preprocess=replace(LOOK, frames=4)), 1)
    with pytest.raises(BadInput, match="There are none"):
        QUICK(small(), 1, [])
    (tmp_path / "x.png").write_bytes(b"no")
    with pytest.raises(BadInput, match="None can be read"):
        QUICK(small(), 1, [tmp_path / "x.png"])
    constant = Model(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), preprocess=LOOK)
    nn.init.zeros_(constant.module[1].weight)
    with pytest.raises(DoesNotFit, match="no gradient at the images"):
        QUICK(constant, 1)


class Fades(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x.mean((2, 3)) - 1e3).log()


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(NotFinite, match="NaN"):
        QUICK(Model(Fades(), preprocess=LOOK), 1)


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        (FeatureVisualisation, {"images": 0}),
        (FeatureVisualisation, {"steps": 0}),
        (FeatureVisualisation, {"views": 0}),
        (FeatureVisualisation, {"learning_rate": 0.0}),
        (FeatureVisualisation, {"decay": -1.0}),
        (FeatureVisualisation, {"transforms": -1.0}),
        (FeatureVisualisation, {"diversity": -1.0}),
        (MACO, {"images": 0}),
        (MACO, {"learning_rate": -1.0}),
        (MACO, {"first_crop": 0.0}),
        (MACO, {"last_crop": 1.5}),
        (MACO, {"noise": -0.1}),
    ],
)
def test_parameters_out_of_range_are_refused(method: type, wrong: dict[str, float]) -> None:
    with pytest.raises(BadInput, match=str(next(iter(wrong.values())))):
        method(**wrong)
