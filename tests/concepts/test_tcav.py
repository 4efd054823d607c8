"""TCAV against hand arithmetic, enumeration, scikit-learn and scipy, and its own laws."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image
from torch import Tensor, nn

import networks
from seewhy.concepts import TCAV, ImageSet, TcavResult, read_sets, sensitivities, tcav_scores
from seewhy.concepts import significance as tests
from seewhy.concepts.vectors import Span, accuracy, fit
from seewhy.errors import BadInput
from seewhy.execution import Execution
from seewhy.models.model import Model

G = torch.tensor([[1, -2, 0], [0.5, 1, -1], [-1, 0, 2], [2, 1, 1]], dtype=torch.float64)
V = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 1, 1]], dtype=torch.float64)


def test_the_toy() -> None:
    assert tcav_scores(G, V).tolist() == [0.75, 0.5, 0.75]  # row 3 is flat along the second: it does not rise
    assert sensitivities(G, V).mean(0).tolist() == pytest.approx([0.625, 0, 0.649519], abs=1e-6)


@pytest.mark.parametrize("scale", [1e-6, 3.0, 1e6])
def test_the_length_of_a_vector_does_not_matter(scale: float) -> None:
    torch.testing.assert_close(sensitivities(G, scale * V), sensitivities(G, V))
    assert tcav_scores(G, scale * V).tolist() == tcav_scores(G, V).tolist()


def test_the_opposite_vector_has_the_opposite_score() -> None:
    v = torch.tensor([[1.0, 0.1, 0.01]], dtype=torch.float64)
    assert float(tcav_scores(G, -v)) == 1 - float(tcav_scores(G, v))


# -- tests of significance -----------------------------------------------------------------------------------


def test_t_against_scipy() -> None:
    random, concept = [0.5, 0.45, 0.6, 0.4, 0.55], [0.9, 0.85, 0.95, 0.8, 0.9]
    t, p = tests.t_test(random, concept)
    assert t == pytest.approx(-8.717798, abs=1e-6)
    assert p == pytest.approx(2.3407507e-5, rel=1e-6)
    for freedom in (1, 2, 7, 38, 400):
        for value in (1e-3, 0.7, 2.1, 15.0):
            expected = 2 * scipy.stats.t.sf(value, freedom)
            assert tests.t_tail(value, freedom) == pytest.approx(expected, rel=1e-7)


def test_t_of_samples_that_do_not_vary() -> None:
    assert all(math.isnan(v) for v in tests.t_test([1, 1], [1, 1]))
    assert tests.t_test([1, 1], [0, 0]) == (math.inf, 0.0)


def test_the_permutation_test_against_all_permutations() -> None:
    values = torch.tensor([3.0, 2.5, 2.9, 0.1, 0.4, 0.2, 1.0, 2.6])
    marked = torch.tensor([1, 1, 1, 0, 0, 0, 0, 0]).bool()
    v, observed = values.numpy(), None
    reached = []
    for chosen in combinations(range(8), 3):
        rest = [i for i in range(8) if i not in chosen]
        gap = abs(v[list(chosen)].mean() - v[rest].mean())
        observed = gap if observed is None else observed  # the first choice is the marked one
        reached.append(gap >= observed - 1e-9)
    exact = np.mean(reached)
    assert tests.permutation_test(0, values, marked, 20000) == pytest.approx(exact, abs=0.005)


def test_the_permutation_test_rejects_as_often_as_it_says() -> None:
    drawn = torch.Generator().manual_seed(0)
    p = torch.tensor(
        [
            tests.permutation_test(i, torch.randn(40, generator=drawn), torch.arange(40) < 12, 199)
            for i in range(400)
        ]
    )
    for level in (0.05, 0.2, 0.5):
        assert abs(float((p <= level).double().mean()) - level) < 3 * math.sqrt(level * (1 - level) / 400)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("none", [0.01, 0.04, 0.03, 0.2]),
        ("bonferroni", [0.04, 0.16, 0.12, 0.8]),
        ("holm", [0.04, 0.09, 0.09, 0.2]),
        ("benjamini_hochberg", [0.04, 0.16 / 3, 0.16 / 3, 0.2]),
    ],
)
def test_corrections(how: tests.Correction, expected: list[float]) -> None:
    assert tests.corrected([0.01, 0.04, 0.03, 0.2], how) == pytest.approx(expected)
    with_gap = tests.corrected([0.01, math.nan, 0.04, 0.03, 0.2], how)
    assert math.isnan(with_gap[1])
    assert [*with_gap[:1], *with_gap[2:]] == pytest.approx(expected)


def test_cliffs_delta() -> None:
    assert tests.cliffs_delta([2, 3], [0, 1]) == 1
    assert tests.cliffs_delta([0, 2], [1, 1]) == 0
    assert tests.cliffs_delta([1, 1, 0], [1, 2]) == pytest.approx(-4 / 6)


def test_intervals_of_means_cover_as_often_as_they_say() -> None:
    drawn = torch.Generator().manual_seed(3)
    hits = 0
    for i in range(200):
        low, high = tests.mean_interval(i, torch.rand(1, 40, generator=drawn).expand(8, -1), 300)
        hits += low <= 0.5 <= high
    assert 0.88 <= hits / 200 <= 0.99


# -- vectors -------------------------------------------------------------------------------------------------


def clouds(d: int, n: int = 24) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(4)
    x = torch.randn(2 * n, d, generator=drawn, dtype=torch.float64)
    x[:n, 0] += 3
    return x, torch.arange(2 * n) < n


@pytest.mark.parametrize("d", [5, 400])
def test_the_span_keeps_products_and_means(d: int) -> None:
    x, marked = clouds(d)
    span = Span.of(x)
    torch.testing.assert_close(span.coordinates @ span.coordinates.T, x @ x.T)
    vector, threshold = fit("difference_of_means", span.coordinates, marked)
    whole = x[marked].mean(0) - x[~marked].mean(0)
    torch.testing.assert_close(span.lift(vector[None])[0], whole)
    assert threshold == pytest.approx(float((x[marked].mean(0) + x[~marked].mean(0)) @ whole / 2))
    assert accuracy(vector, threshold, span.coordinates, marked) > 0.8


@pytest.mark.parametrize("d", [5, 400])
def test_logistic_regression_in_the_span_is_that_of_the_features(d: int) -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    x, marked = clouds(d)
    span = Span.of(x)
    vector, _ = fit("logistic", span.coordinates, marked)
    scale = float(x.square().sum(1).mean().sqrt())
    model = linear.LogisticRegression(C=1.0, max_iter=5000).fit((x / scale).numpy(), marked.numpy())
    expected = torch.from_numpy(model.coef_[0])
    cosine = torch.nn.functional.cosine_similarity(span.lift(vector[None])[0], expected, dim=0)
    assert float(cosine) > 0.9999


def test_a_linear_discriminant_undoes_what_channels_share() -> None:
    pytest.importorskip("sklearn")
    drawn = torch.Generator().manual_seed(5)
    x = torch.randn(400, 2, generator=drawn, dtype=torch.float64) @ torch.tensor(
        [[1.0, 0.9], [0.0, 0.3]], dtype=torch.float64
    )
    marked = torch.arange(400) < 200
    x[marked] += torch.tensor([1.0, 0.0], dtype=torch.float64)
    within = (x[marked] - x[marked].mean(0)).T @ (x[marked] - x[marked].mean(0)) / 200
    expected = torch.linalg.solve(within, torch.tensor([1.0, 0.0], dtype=torch.float64))
    vector, _ = fit("lda", x, marked)
    assert float(torch.nn.functional.cosine_similarity(vector, expected, dim=0)) > 0.99
    plain, _ = fit("difference_of_means", x, marked)
    assert float(torch.nn.functional.cosine_similarity(plain, expected, dim=0)) < 0.9


# -- on networks ---------------------------------------------------------------------------------------------


def planted() -> tuple[Model, dict[str, Tensor], Tensor, dict[int | str, Tensor]]:
    """Return a linear head over mean colours: class 0 likes red, class 1 green, neither cares for blue."""
    net = nn.Sequential(
        nn.Conv2d(3, 3, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[:, :, None, None])
        net[3].weight.copy_(torch.tensor([[2.0, -1.0, 0.0], [-1.0, 1.0, 0.0]]))
    drawn = torch.Generator().manual_seed(6)
    noise = torch.rand(160, 3, 4, 4, generator=drawn)

    def tinted(channel: int, start: int) -> Tensor:
        x = noise[start : start + 12].clone()
        x[:, channel] += 1
        return x

    concepts = {name: tinted(i, 12 * i) for i, name in enumerate(("red", "green", "blue"))}
    concepts["nothing"] = noise[36:48]
    return Model(net.eval()), concepts, noise[60:130], {0: noise[130:145], 1: noise[145:]}


@pytest.fixture(scope="module")
def result() -> TcavResult:
    model, concepts, random, images = planted()
    return TCAV(layers=("0",), permutations=999)(model, concepts, random, images)


def test_a_linear_head_gives_all_or_nothing(result: TcavResult) -> None:
    rows = {(r.concept, r.index): r for r in result.rows}
    assert (rows["red", 0].score, rows["red", 1].score) == (1, 0)
    assert (rows["green", 0].score, rows["green", 1].score) == (0, 1)
    for concept, index in (("red", 0), ("red", 1), ("green", 0), ("green", 1)):
        r = rows[concept, index]
        assert r.significant
        assert (r.low, r.high) == (r.score, r.score)
        assert r.accuracy == 1
    # A vector along red alone would have the slope of the weight, whatever the image.
    assert rows["red", 0].sensitivity == pytest.approx(2, abs=0.2)


def test_what_is_nothing_is_not_significant(result: TcavResult) -> None:
    rows = {(r.concept, r.index): r for r in result.rows}
    assert not rows["nothing", 0].significant
    assert not rows["blue", 0].significant
    assert rows["blue", 0].separable  # it is there to be seen, the class does not care
    assert [r.concept for r in result.ranking(0)][:1] == ["red"]


def test_one_gradient_an_image_serves_all_concepts(result: TcavResult) -> None:
    assert result.provenance["passes"] == {"forward": 4 * 12 + 70 + 30, "backward": 30}


def test_the_order_of_concepts_and_images_and_the_batch_do_not_matter(result: TcavResult) -> None:
    model, concepts, random, images = planted()
    turned = TCAV(layers=("0",), permutations=999)(
        model,
        dict(reversed(concepts.items())),
        random,
        {k: v.flip(0) for k, v in images.items()},
        Execution(batch_size=3),
    )
    there = {(r.concept, r.index): r for r in turned.rows}
    for r in result.rows:
        other = there[r.concept, r.index]
        assert other.scores == r.scores
        assert other.p == r.p
        assert other.sensitivity == pytest.approx(r.sensitivity)


def test_flat_features_see_places_and_pooled_ones_do_not() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(16, 2, bias=False))
    weights = torch.zeros(2, 4, 4)
    weights[0, 0], weights[0, 3] = 1, -1  # the top row speaks for class 0, the bottom row against it
    with torch.no_grad():
        net[0].weight.fill_(1)
        net[2].weight.copy_(weights.flatten(1))
    drawn = torch.Generator().manual_seed(7)
    noise = torch.rand(100, 1, 4, 4, generator=drawn)
    top = noise[:15].clone()
    top[:, :, 0] += 2
    method = TCAV(layers=("0",), pool="none")
    (flat,) = method(net, {"top": top}, noise[15:60], {0: noise[60:]}).rows
    assert (flat.score, flat.significant) == (1, True)
    (pooled,) = TCAV(layers=("0",))(net, {"top": top}, noise[15:60], {0: noise[60:]}).rows
    assert not pooled.significant
    assert abs(pooled.sensitivity) < 1e-6


def test_several_layers_come_from_the_same_passes() -> None:
    net = networks.cnn()
    drawn = torch.Generator().manual_seed(8)
    x = torch.randn(60, 3, 16, 16, generator=drawn)
    sets = {"bright": x[:8] + 1}, x[8:40], {2: x[40:]}
    both = TCAV(layers=("2", "5"), runs=3)(net, *sets)
    assert both.provenance["passes"] == {"forward": 60, "backward": 20}
    for layer in ("2", "5"):
        (alone,) = TCAV(layers=(layer,), runs=3)(net, *sets).rows
        row = next(r for r in both.rows if r.layer == layer)
        assert (row.scores, row.p) == (alone.scores, alone.p)


def test_one_output_speaks_for_class_1_against_class_0() -> None:
    model, concepts, random, images = planted()
    net = nn.Sequential(*model.module[:3], nn.Linear(3, 1))
    with torch.no_grad():
        net[3].weight.copy_(torch.tensor([[1.0, 0.0, -1.0]]))
    rows = TCAV(layers=("0",))(net, {"red": concepts["red"]}, random, images).rows
    assert [(r.index, r.score) for r in rows] == [(0, 0.0), (1, 1.0)]


def test_it_saves_opens_and_draws(result: TcavResult, tmp_path: Path) -> None:
    result.save(tmp_path / "t")
    again = TcavResult.open(tmp_path / "t")
    assert again.rows == result.rows
    assert again.provenance == result.provenance
    assert torch.equal(again.vectors["0"], result.vectors["0"])
    assert again.picture().size == result.picture().size
    assert len(result.picture().getcolors(1 << 20) or []) > 20


def test_sets_are_read_from_folders(tmp_path: Path) -> None:
    for name in ("dots", "lines"):
        for i in range(2):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "dots" / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    assert [(s.name, len(s)) for s in read_sets(tmp_path)] == [("dots", 2), ("lines", 2)]
    assert [s.name for s in read_sets(tmp_path / "dots")] == ["dots"]
    with pytest.raises(BadInput, match="Did you mean 'dots'"):
        ImageSet.read(tmp_path / "dot")
    with pytest.raises(BadInput, match="It holds no photo"):
        ImageSet.read(tmp_path / "empty")


def test_wrong_requests_are_refused_in_words() -> None:
    model, concepts, random, images = planted()
    with pytest.raises(BadInput, match="There is no class"):
        TCAV()(model, concepts, random, {})
    with pytest.raises(BadInput, match="It has 2 images"):
        TCAV()(model, concepts, random[:2], images)
    with pytest.raises(BadInput, match="Asked for the class 9"):
        TCAV()(model, concepts, random, {9: images[0]})
    for wrong in ({"runs": 1}, {"permutations": 5}, {"accuracy_gate": 0.2}):
        with pytest.raises(BadInput):
            TCAV(**wrong)  # type: ignore[arg-type]
