"""Concepts from texts: alignment against closed forms and scikit-learn, planted encoders, refusals, files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from seewhy.concepts import TCAV, TcavResult, TextConcepts, VisualTCAV, VisualTcavResult, text_concepts
from seewhy.concepts import alignment as module
from seewhy.concepts import significance as tests
from seewhy.concepts.alignment import RIDGES, fit_held_out, left_out_errors, weights
from seewhy.concepts.draws import permutation
from seewhy.concepts.text_picture import nearest_picture
from seewhy.concepts.text_runs import in_order
from seewhy.errors import BadInput
from seewhy.models.dual_encoder import DualEncoder
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.report.concepts import render_concept_report

# -- alignment -----------------------------------------------------------------------------------------------


def known_mixing(n: int, d: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return vectors and features that are linear in 6 causes, a direction, and what it means there."""
    drawn = torch.Generator().manual_seed(0)
    causes, to_vectors, to_features = (
        torch.randn(*shape, generator=drawn, dtype=torch.float64) for shape in ((n, 6), (6, d), (6, 10))
    )
    u = torch.tensor([[1.0, 0.5, 0, -1, 0, 2]], dtype=torch.float64)
    causes = causes + 3  # means that are not 0
    return causes @ to_vectors - 4, causes @ to_features + 7, u @ to_vectors, u @ to_features


def the_direction_is_recovered(n: int, d: int) -> None:
    vectors, features, direction, meant = known_mixing(n, d)
    share = weights(vectors, direction, 0.0)
    assert float(share.sum().abs()) < 1e-9
    torch.testing.assert_close(share.T @ features, meant, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("n", "d"), [(200, 6), (200, 30), (30, 80)])
def test_a_known_mixing_is_undone(n: int, d: int) -> None:
    the_direction_is_recovered(n, d)


def test_that_check_notices_missing_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_centred", Tensor.double)
    with pytest.raises(AssertionError):
        the_direction_is_recovered(200, 6)


def noisy(n: int, d: int) -> tuple[Tensor, Tensor]:
    vectors, features, _, _ = known_mixing(n, d)
    drawn = torch.Generator().manual_seed(1)
    return vectors + torch.randn(n, d, generator=drawn), features + 3 * torch.randn(n, 10, generator=drawn)


@pytest.mark.parametrize(("n", "d"), [(80, 12), (40, 90)])
def test_the_ridge_against_scikit_learn(n: int, d: int) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    vectors, features = noisy(n, d)
    direction = torch.randn(2, d, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    penalty = 0.1 * float((vectors - vectors.mean(0)).square().sum()) / d
    fitted = linear.Ridge(alpha=penalty).fit(vectors.numpy(), features.numpy())
    expected = torch.from_numpy(direction.numpy() @ fitted.coef_.T)
    torch.testing.assert_close(weights(vectors, direction, 0.1).T @ features, expected)


def test_errors_of_photos_left_out_against_leaving_them_out() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    vectors, features = noisy(24, 8)
    scatter = float((vectors - vectors.mean(0)).square().sum()) / 8
    expected = []
    for ridge in RIDGES:
        total = 0.0
        for i in range(24):
            rest = [k for k in range(24) if k != i]
            fitted = linear.Ridge(alpha=ridge * scatter).fit(vectors[rest].numpy(), features[rest].numpy())
            total += float(((fitted.predict(vectors[i : i + 1].numpy()) - features[i].numpy()) ** 2).sum())
        expected.append(total)
    assert left_out_errors(vectors, features) == pytest.approx(expected, rel=1e-8)


def test_the_share_that_is_held_out_against_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    vectors, features = noisy(60, 8)
    monkeypatch.setattr(module, "RIDGES", (0.1,))
    left = there = 0.0
    for test in permutation(5, 0, 60).chunk(5):
        train = [i for i in range(60) if i not in test.tolist()]
        z, h = vectors[train].numpy(), features[train].numpy()
        alpha = 0.1 * ((z - z.mean(0)) ** 2).sum() / 8
        predicted = linear.Ridge(alpha=alpha).fit(z, h).predict(vectors[test].numpy())
        left += ((predicted - features[test].numpy()) ** 2).sum()
        there += ((h.mean(0) - features[test].numpy()) ** 2).sum()
    found = fit_held_out(vectors, features, 5)
    assert found.r2 == pytest.approx(1 - left / there)
    assert found.low < found.r2 < found.high


def test_what_follows_exactly_has_r2_of_1_and_what_does_not_of_none() -> None:
    vectors, features, _, _ = known_mixing(100, 8)
    assert fit_held_out(vectors, features, 0).low > 0.999
    moved = fit_held_out(vectors, features[permutation(3, 0, 100)], 0)
    assert moved.low < moved.r2 < 0.05


def test_the_test_of_weights_is_that_of_marks_where_there_are_two_weights() -> None:
    values = torch.randn(30, generator=torch.Generator().manual_seed(4))
    marked = torch.arange(30) < 8
    weighted = torch.where(marked, 1 / 8, -1 / 22).double()
    assert tests.weights_test(1, values, weighted, 500) == tests.permutation_test(1, values, marked, 500)


def test_the_test_of_weights_rejects_as_often_as_it_says() -> None:
    drawn = torch.Generator().manual_seed(0)
    share = torch.randn(40, generator=drawn).exp()
    p = torch.tensor(
        [tests.weights_test(i, torch.randn(40, generator=drawn), share, 199) for i in range(400)]
    )
    assert abs(float((p <= 0.1).double().mean()) - 0.1) < 3 * (0.1 * 0.9 / 400) ** 0.5
    assert tests.weights_test(0, share + 0.1 * torch.randn(40, generator=drawn), share, 199) == 1 / 200


def test_pairs_in_order_are_counted() -> None:
    values, marked = torch.tensor([3.0, 1, 2, 0, 3]), torch.tensor([1, 1, 0, 0, 0]).bool()
    assert in_order(values, marked) == pytest.approx((2.5 + 1) / 6)
    assert in_order(torch.zeros(5), marked) == 0.5


# -- on a network whose class 0 is redness -------------------------------------------------------------------

COLOURS = ("red", "green", "blue")


def model() -> Model:
    net = nn.Sequential(
        nn.Conv2d(3, 3, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[:, :, None, None])
        net[4].weight.copy_(torch.tensor([[2.0, 0.0, 0.1], [0.0, 1.0, 0.1]]))
        net[4].bias.copy_(torch.tensor([0.3, -0.2]))
    return Model(net.eval(), preprocess=Preprocessing(size=(8, 8), mean=(0, 0, 0), std=(1, 1, 1)))


def pictures(count: int = 90, seed: int = 0) -> list[Image.Image]:
    """Return noise with a patch of red, green, blue in turn."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        pixels = rng.integers(0, 50, (8, 8, 3))
        y, x = rng.integers(0, 5, 2)
        pixels[y : y + 4, x : x + 4, i % 3] = 255
        found.append(Image.fromarray(pixels.astype(np.uint8)))
    return found


def encoder(lost: float = 0.0) -> DualEncoder:
    """Return colours, mixed; texts lie far from photos, as CLIP's do; a share is `lost` in noise."""
    drawn = torch.Generator().manual_seed(8)
    mixing = torch.randn(3, 64, generator=drawn)
    apart = 4 * torch.randn(64, generator=drawn)

    def images(photos: Sequence[Image.Image]) -> Tensor:
        colours = torch.stack([torch.tensor(np.asarray(p) / 255).float().mean((0, 1)) for p in photos])
        noise = torch.randn(colours.shape, generator=drawn) * colours.std()
        return 3 + ((1 - lost) * colours + lost * noise) @ mixing

    def texts(lines: Sequence[str]) -> Tensor:
        said = torch.tensor([[float(c in line) for c in COLOURS] for line in lines])
        return apart + said @ mixing

    return DualEncoder("colours", images, texts)


@pytest.fixture(scope="module")
def told() -> TextConcepts:
    return text_concepts(("red", "green"), pictures(), encoder(), COLOURS, top=20)


def test_the_nearest_photos_show_the_text(told: TextConcepts) -> None:
    for name, rows in zip(told.names, told.nearest(), strict=True):
        assert len(rows) == 20
        assert {i % 3 for i in rows} == {COLOURS.index(name)}


def a_text_is_found_where_it_is(told: TextConcepts) -> VisualTcavResult:
    shown = pictures(6, seed=1)[::3] + pictures(6, seed=2)[::3]
    result = VisualTCAV(layers=("1",))(model(), told, None, shown, [0])
    red, green = result.global_rows()
    assert (red.concept, green.concept) == ("red", "green")
    assert red.attribution > 0.4
    assert red.p < 0.1
    assert red.excess_low > 0
    assert green.attribution < 0.05
    where = result.pixels[:, 0] > 200
    maps = torch.stack([result.concept_map(i, "red") for i in range(4)])
    assert float(maps[where].mean()) > 0.8
    assert float(maps[~where].mean()) < 0.1
    return result


@pytest.fixture(scope="module")
def visual(told: TextConcepts) -> VisualTcavResult:
    return a_text_is_found_where_it_is(told)


def test_a_text_is_found_where_it_is(visual: VisualTcavResult) -> None:
    assert visual.provenance["texts"]["fits"]["1"]["low"] > 0.9
    assert visual.provenance["passes"]["forward"] == 90 + 4


def test_that_check_notices_a_text_that_means_another(told: TextConcepts) -> None:
    with pytest.raises(AssertionError):
        a_text_is_found_where_it_is(replace(told, directions=told.directions.flip(0)))


def test_the_vector_is_that_of_examples(told: TextConcepts, visual: VisualTcavResult) -> None:
    photos = pictures()
    of_examples = VisualTCAV(layers=("1",))(
        model(), {"red": photos[::3]}, photos[1::3] + photos[2::3], photos[:2], [0]
    )
    v, expected = visual.layers["1"].vectors[0], of_examples.layers["1"].vectors[0]
    assert float(torch.nn.functional.cosine_similarity(v, expected, dim=0)) > 0.97


def test_another_text_costs_no_pass_and_their_order_does_not_matter(
    told: TextConcepts, visual: VisualTcavResult
) -> None:
    shown = pictures(6, seed=1)[::3] + pictures(6, seed=2)[::3]
    turned = replace(told, names=told.names[::-1], directions=told.directions.flip(0))
    other = VisualTCAV(layers=("1",))(model(), turned, None, shown, [0])
    assert other.provenance["passes"] == visual.provenance["passes"]
    f, g = visual.layers["1"], other.layers["1"]
    torch.testing.assert_close(g.attributions.flip(2), f.attributions)
    torch.testing.assert_close(g.again.flip(3), f.again)
    torch.testing.assert_close(g.random, f.random)
    alone = replace(told, names=("red",), directions=told.directions[:1])
    one = VisualTCAV(layers=("1",))(model(), alone, None, shown, [0])
    assert one.provenance["passes"] == visual.provenance["passes"]


@pytest.fixture(scope="module")
def tested(told: TextConcepts) -> TcavResult:
    return TCAV(layers=("1",), permutations=499)(model(), told, None, {0: pictures(12, seed=3)})


def test_a_text_raises_its_class_and_a_wrong_one_does_not(tested: TcavResult, told: TextConcepts) -> None:
    red, green = tested.rows
    assert (red.score, red.significant, red.p) == (1, True, 1 / 500)
    assert red.accuracy > 0.9
    assert green.score == 0  # all colours together are the same in every photo: more green is less red
    assert tested.provenance["passes"] == {"forward": 90 + 12, "backward": 12}
    moved = replace(told, vectors=told.vectors[permutation(1, 0, 90)], gate=-9)
    for r in TCAV(layers=("1",), permutations=499)(model(), moved, None, {0: pictures(12, seed=3)}).rows:
        assert not r.significant
        assert not r.separable


# -- what it writes ------------------------------------------------------------------------------------------


def test_results_keep_the_texts(visual: VisualTcavResult, tested: TcavResult, tmp_path: Path) -> None:
    visual.save(tmp_path / "v")
    tested.save(tmp_path / "t")
    again, other = VisualTcavResult.open(tmp_path / "v"), TcavResult.open(tmp_path / "t")
    assert again.nearest is not None
    assert visual.nearest is not None
    assert tuple(again.nearest.shape) == (2, 8, 3, 8, 8)
    assert torch.equal(again.nearest, visual.nearest)
    assert other.nearest is not None
    assert set(other.vectors) == {"1"}
    for result in (again, other):
        page = render_concept_report(result)
        assert result.nearest is not None
        assert "from texts" in page
        assert "R²" in page
        assert '<h2 id="texts">' in page
        picture = nearest_picture(result.provenance, result.nearest)
        assert len(picture.getcolors(1 << 20) or ()) > 20
        best = result.provenance["texts"]["nearest"]["red"]
        assert len(best) == 20
        assert best[0][1] >= best[-1][1]


def test_results_of_examples_say_nothing_of_texts() -> None:
    photos = pictures()
    result = VisualTCAV(layers=("1",))(model(), {"red": photos[::3]}, photos[1::3], photos[:2], [0])
    assert result.nearest is None
    assert "texts" not in result.provenance
    assert 'id="texts"' not in render_concept_report(result)


# -- refusals ------------------------------------------------------------------------------------------------


def test_an_encoder_that_sees_something_else_is_refused() -> None:
    blind = text_concepts(["red"], pictures(), encoder(lost=1.0), COLOURS)
    with pytest.raises(BadInput, match=r"R² = -?0\.\d\d .* the interval must lie above 0\.1"):
        VisualTCAV(layers=("1",))(model(), blind, None, pictures(2), [0])
    with pytest.raises(BadInput, match="R²"):
        TCAV(layers=("1",))(model(), blind, None, {0: pictures(4)})


def test_wrong_requests_are_refused_in_words(told: TextConcepts, tmp_path: Path) -> None:
    photos, judge = pictures(60), encoder()
    with pytest.raises(BadInput, match="are the random ones"):
        VisualTCAV(layers=("1",))(model(), told, photos, photos)
    with pytest.raises(BadInput, match="59 photos can be read"):
        text_concepts(["red"], photos[:59], judge, COLOURS)
    with pytest.raises(BadInput, match="1 other texts"):
        text_concepts(["red"], photos, judge, ["green"])
    with pytest.raises(BadInput, match="each once"):
        text_concepts(["red", "red"], photos, judge, COLOURS)
    with pytest.raises(BadInput, match="each once"):
        text_concepts("red", photos, judge, COLOURS)
    with pytest.raises(BadInput, match="other texts are on the mean"):
        text_concepts({"a": "red"}, photos, judge, ["red", "red ", "very red"])
    with pytest.raises(BadInput, match="a tensor"):
        text_concepts(["red"], torch.zeros(70, 3, 8, 8), judge, COLOURS)
    for wrong in ({"template": "x"}, {"top": 5}, {"gate": -1.0}):
        with pytest.raises(BadInput, match="Found template"):
            text_concepts(["red"], photos, judge, COLOURS, **wrong)  # type: ignore[arg-type]
    short = DualEncoder("short", judge.images, lambda lines: judge.texts(lines)[:, :4])
    with pytest.raises(BadInput, match="Images have 64 numbers, texts 4"):
        text_concepts(["red"], photos, short, COLOURS)


def test_photos_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    for i, photo in enumerate(pictures(61)):
        photo.save(tmp_path / f"{i:02}.png")
    (tmp_path / "03.png").write_bytes(b"no photo")
    found = text_concepts({"warm": "red"}, tmp_path, encoder(), COLOURS)
    assert (found.names, len(found.photos), found.top) == (("warm",), 60, 15)
    assert "03.png" in found.about["failures"][0]
