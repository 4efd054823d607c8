"""Visual-TCAV against hand arithmetic, plain loops, and its own laws."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.concepts import ImageSet, VisualTCAV, VisualTcavResult
from seewhy.concepts.calibration import attributions
from seewhy.concepts.concept_maps import Calibrated, emblems, raw_maps, strengths
from seewhy.concepts.feature_gradients import FeatureGradients
from seewhy.concepts.visual_tcav import normalised
from seewhy.errors import BadInput, DoesNotFit, UnreadableInput
from seewhy.execution import Execution
from seewhy.models.grids import Grid
from seewhy.models.model import Model


def grid(values: list[object]) -> Tensor:
    """Return images given as rows of cells of channels as `(n, c, h, w)` float64."""
    return torch.tensor(values, dtype=torch.float64).movedim(-1, 1)


# A 2 x 2 grid of two channels; the expected numbers were worked out by hand.
F = grid([[[[1, 0], [2, 1]], [[0, 3], [1, 1]]]])
CONCEPT = grid([[[[2, 0], [2, 1]], [[1, 0], [3, 1]]], [[[4, 1], [2, 0]], [[2, 2], [0, 0]]]])
RANDOM = grid([[[[0, 1], [1, 1]], [[1, 2], [0, 0]]], [[[1, 1], [0, 2]], [[0, 1], [1, 0]]]])
W = torch.tensor([[1, -1], [0.5, 2], [0, 1]], dtype=torch.float64)


def head(a: Tensor) -> Tensor:
    return a.flatten(2).mean(2) @ W.T.to(a)


def toy(scale: float = 1.0, shift: float = 0.0) -> tuple[Calibrated, Tensor, Tensor, Tensor]:
    v = scale * (CONCEPT.flatten(2).mean(2).mean(0) - RANDOM.flatten(2).mean(2).mean(0))[None]
    bank = Calibrated(
        v, emblems(strengths(v, RANDOM)), emblems(strengths(v, CONCEPT)), torch.ones(1, dtype=torch.bool)
    )

    def shifted(a: Tensor) -> Tensor:
        return head(a) + shift

    whole = FeatureGradients(shifted, torch.zeros_like(F), 50)(F, torch.tensor([[0, 1, 2]]), shifted(F))
    evidence, gains = normalised(whole, torch.tensor([[0, 1, 2]]), Grid("channels_first", (2, 2)))
    maps, found = attributions(bank, F, evidence.double())
    return bank, maps[0, 0], gains[0], found[0, :, 0]


def test_the_toy() -> None:
    bank, maps, gains, found = toy()
    assert bank.vectors[0].tolist() == pytest.approx([1.5, -0.375], abs=1e-12)
    assert raw_maps(bank.vectors, F)[0, 0].flatten().tolist() == pytest.approx([1.5, 2.625, 0, 1.125])
    assert float(bank.high) == pytest.approx(3.125, abs=1e-6)
    assert float(bank.low) == pytest.approx(0.975, abs=1e-6)
    assert maps.flatten().tolist() == pytest.approx([0.244186, 0.767442, 0, 0.069767], abs=1e-6)
    assert gains.tolist() == pytest.approx([0, 1, 0.416667], abs=1e-6)
    assert found.tolist() == pytest.approx([0, 0.0770349, 0], abs=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e4])
def test_the_length_of_the_vector_does_not_matter(scale: float) -> None:
    _, maps, _, found = toy()
    _, maps2, _, found2 = toy(scale)
    torch.testing.assert_close(maps2, maps, rtol=0, atol=2e-4 if scale < 1 else 1e-6)
    torch.testing.assert_close(found2, found, rtol=0, atol=1e-4 if scale < 1 else 1e-6)


def test_a_constant_on_all_logits_does_not_matter() -> None:
    torch.testing.assert_close(toy(shift=5.0)[3], toy()[3], rtol=0, atol=1e-6)


def test_a_concept_that_is_weaker_in_its_own_images_has_no_map() -> None:
    bank = Calibrated(torch.tensor([[1.0, 0.0]]), torch.ones(1), torch.ones(1) * 0.5, torch.ones(1).bool())
    maps, found = attributions(bank, F.float(), torch.ones(1, 2, 2, 2, 2))
    assert maps.abs().max() == 0
    assert found.abs().max() == 0


def test_medians_take_the_lower_middle_one() -> None:
    assert emblems(torch.tensor([[4.0], [1.0], [3.0], [2.0]])).tolist() == [2.0]
    assert emblems(torch.tensor([[4.0], [1.0], [3.0]])).tolist() == [3.0]


def test_a_channel_that_is_negative_over_the_map_counts_with_the_other_sign() -> None:
    features = torch.tensor(
        [[[[2.0, 0.0]], [[-3.0, 1.0]]]]
    )  # the second channel is below 0 in the first cell
    maps = torch.tensor([[[[1.0, 0.0]]]])
    bank = Calibrated(torch.tensor([[1.0, -2.0]]), torch.zeros(1), torch.ones(1), torch.ones(1).bool())
    assert bank.channel_weights(features, maps)[0, 0].tolist() == [0.5, 1.0]
    assert bank.channel_weights(features.abs(), maps)[0, 0].tolist() == [1.0, 0.0]


# -- integration ---------------------------------------------------------------------------------------------


def test_a_linear_head_takes_one_gradient_and_is_exact() -> None:
    ig = FeatureGradients(head, torch.zeros_like(F), 50)
    whole = ig(F, torch.tensor([[0, 1, 2]]), head(F))
    assert (whole.steps, ig.linear) == (0, True)
    expected = F[:, None] * W[None, :, :, None, None] / 4
    torch.testing.assert_close(whole.values.double(), expected, rtol=0, atol=1e-6)


def test_a_curved_head_follows_the_trapezoid_rule() -> None:
    def curved(a: Tensor) -> Tensor:
        return torch.cat([(a**3).flatten(1).sum(1, keepdim=True), a.flatten(1).sum(1, keepdim=True)], 1)

    steps = 10
    whole = FeatureGradients(curved, torch.zeros_like(F), steps, batch=3)(F, torch.tensor([[0]]), curved(F))
    at = torch.arange(steps + 1, dtype=torch.float64) / steps
    slopes = torch.stack([3 * (a * F) ** 2 for a in at])
    expected = (slopes[:-1] + slopes[1:]).mean(0) / 2 * F
    torch.testing.assert_close(whole.values[:, 0].double(), expected, rtol=1e-5, atol=1e-6)
    rise = float((F**3).sum())
    assert float(whole.error) == pytest.approx(abs(float(expected.sum()) - rise) / rise, rel=1e-3)


def test_a_tolerance_makes_the_sum_complete() -> None:
    def curved(a: Tensor) -> Tensor:
        return (8 * a.flatten(1).sum(1, keepdim=True)).tanh() * torch.ones(1, 2)

    def error(tolerance: float | None) -> float:
        ig = FeatureGradients(curved, torch.zeros_like(F), 4, tolerance)
        return float(ig(F, torch.tensor([[1]]), curved(F)).error)

    assert error(None) > 0.1
    assert error(0.01) <= 0.01


def test_a_head_with_a_bend_is_not_taken_for_linear() -> None:
    def bent(a: Tensor) -> Tensor:
        return (a.flatten(1).sum(1, keepdim=True) - 4).clamp_min(0) * torch.ones(1, 2)

    ig = FeatureGradients(bent, torch.zeros_like(F), 64)
    whole = ig(F, torch.tensor([[0]]), bent(F))
    assert ig.linear is False
    assert float(whole.error) < 0.05


def test_prefix_tokens_keep_their_part_of_the_gain() -> None:
    # Three tokens in front of four cells, all alike: the cells hold four sevenths.
    def mean(a: Tensor) -> Tensor:
        z = a.flatten(1).sum(1, keepdim=True)
        return torch.cat([z, -z], 1)

    tokens, classes = torch.ones(1, 7, 2), torch.tensor([[0]])
    whole = FeatureGradients(mean, torch.zeros_like(tokens), 4)(tokens, classes, mean(tokens))
    evidence, gains = normalised(whole, classes, Grid("tokens", (2, 2), prefix=3))
    assert gains.tolist() == [[1.0]]
    assert evidence.shape == (1, 1, 2, 2, 2)
    assert float(evidence.sum()) == pytest.approx(4 / 7)


def test_one_logit_is_explained_from_both_sides() -> None:
    # -z and z: what raises the one lowers the other.
    def signed(a: Tensor) -> Tensor:
        z = (a[:, 0] - 0.25 * a[:, 1]).flatten(1).sum(1, keepdim=True)
        return torch.cat([-z, z], 1)

    both = torch.tensor([[0, 1]])
    whole = FeatureGradients(signed, torch.zeros_like(F), 5)(F, both, signed(F))
    evidence, gains = normalised(whole, both, Grid("channels_first", (2, 2)), binary=True)
    up, down = float(F[:, 0].sum()), 0.25 * float(F[:, 1].sum())
    assert gains[0].tolist() == pytest.approx([down / up, 1.0], abs=1e-6)
    assert evidence[0].flatten(1).sum(1).tolist() == pytest.approx([down / up, 1.0], abs=1e-6)
    assert evidence[0, 1, 1].abs().max() == 0
    assert evidence[0, 0, 0].abs().max() == 0


# -- on networks ---------------------------------------------------------------------------------------------


def planted() -> tuple[Model, dict[str, Tensor], Tensor, Tensor]:
    """Return a network whose class 0 is redness, with sets of red and green patches, noise, and images."""
    net = nn.Sequential(
        nn.Conv2d(3, 3, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(3)[:, :, None, None])
        net[4].weight.copy_(torch.tensor([[2.0, 0.0, 0.1], [0.0, 1.0, 0.1]]))
        net[4].bias.copy_(torch.tensor([0.3, -0.2]))
    drawn = torch.Generator().manual_seed(0)

    def noise(n: int) -> Tensor:
        return 0.2 * torch.rand(n, 3, 8, 8, generator=drawn)

    def patch(n: int, channel: int) -> Tensor:
        x = noise(n)
        for i in range(n):
            y, z = torch.randint(0, 5, (2,), generator=drawn).tolist()
            x[i, channel, y : y + 4, z : z + 4] = 1.0
        return x

    return Model(net.eval()), {"red": patch(12, 0), "green": patch(12, 1)}, noise(40), patch(6, 0)


def test_a_planted_concept_is_found_where_it_is() -> None:
    model, concepts, random, images = planted()
    result = VisualTCAV(layers=("1",))(model, concepts, random, images, [0])
    red, green = result.global_rows()
    assert red.attribution > 0.5
    assert red.low > 0.4
    assert red.p < 0.1  # of 20 random concepts, at most one does as well
    assert red.excess_low > 0
    assert green.attribution < 0.02
    where = images[:, 0] > 0.5
    maps = torch.stack([result.concept_map(i, "red") for i in range(6)])
    assert float(maps[where].mean()) > 0.9
    assert float(maps[~where].mean()) < 0.05


def test_nothing_is_found_where_the_network_ignores_the_concept() -> None:
    model, concepts, random, images = planted()
    with torch.no_grad():
        model.module[4].weight[0] = torch.tensor([0.0, 0.0, 1.0])  # the planted bug: class 0 is blueness now
    result = VisualTCAV(layers=("1",))(model, concepts, random, images, [0])
    assert result.global_rows()[0].attribution < 0.01


def test_attributions_lie_between_zero_and_the_gain() -> None:
    net = networks.cnn()
    drawn = torch.Generator().manual_seed(1)
    concepts = {"a": torch.randn(8, 3, 16, 16, generator=drawn) + 1, "b": torch.randn(8, 3, 16, 16) * 2}
    random = torch.randn(24, 3, 16, 16, generator=drawn)
    images = torch.randn(5, 3, 16, 16, generator=drawn)
    settings = VisualTCAV(layers=("2", "5"), steps=8, accuracy_gate=0)
    result = settings(net, concepts, random, images, [0, 3, 4])
    for f in result.layers.values():
        for values in (f.attributions, f.random, f.again.flatten(2)):
            assert float(values.min()) >= 0
            assert float((values - f.gains[..., None]).max()) <= 1e-5
        assert float(f.maps.min()) >= 0
        assert float(f.maps.max()) <= 1
    assert float(result.layers["5"].attributions.max()) > 0


def test_a_batch_equals_its_singles_and_sets_may_come_in_any_order() -> None:
    net = networks.cnn()
    drawn = torch.Generator().manual_seed(2)
    concepts = {k: torch.randn(8, 3, 16, 16, generator=drawn) + i for i, k in enumerate("ab")}
    random, images = torch.randn(20, 3, 16, 16), torch.randn(3, 3, 16, 16, generator=drawn)
    method = VisualTCAV(layers=("2",), steps=4, accuracy_gate=0)
    whole = method(net, concepts, random, images, [1])
    turned = method(net, dict(reversed(concepts.items())), random, images, [1], Execution(batch_size=1))
    assert turned.concepts == ("b", "a")
    f, g = whole.layers["2"], turned.layers["2"]
    torch.testing.assert_close(g.attributions.flip(2), f.attributions, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(g.again.flip(3), f.again, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(g.random, f.random, rtol=1e-4, atol=1e-6)


def passes_of(concepts: int) -> tuple[dict[str, int], int]:
    """Return the passes that a run counts, and the rows that the network was really called with."""
    model, examples, random, images = planted()
    recorded = networks.Recorded(model.module)
    five = {f"concept {i}": examples["red"].roll(i, 3) for i in range(concepts)}
    method = VisualTCAV(layers=("net.1",), resamples=2, random_concepts=2)
    counted = method(Model(recorded), five, random, images, [0, 1]).provenance["passes"]
    return counted, sum(len(x) for x in recorded.shown)


def test_another_concept_costs_no_pass_of_the_images() -> None:
    (one, seen), (five, more) = passes_of(1), passes_of(5)
    assert five["forward"] == one["forward"] + 4 * 12
    assert five["forward_from_layer"] == one["forward_from_layer"]
    assert five["backward_to_layer"] == one["backward_to_layer"]
    assert more == seen + 4 * 12


def test_the_model_is_left_as_found() -> None:
    model, concepts, random, images = planted()
    model.module.train()
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    VisualTCAV(layers=("1",), resamples=2)(model, concepts, random, images)
    assert model.module.training
    assert all(p.requires_grad and p.grad is None for p in model.module.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.module.state_dict().items())
    assert not any(m._forward_hooks for m in model.module.modules())


def test_a_vision_transformer_is_explained_on_its_patches() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    net = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=12, depth=2, num_heads=2, num_classes=4
    ).eval()
    drawn = torch.Generator().manual_seed(3)
    random = torch.randn(16, 3, 32, 32, generator=drawn)
    concepts = {"bright": torch.randn(8, 3, 32, 32, generator=drawn) + 2}
    images = torch.randn(2, 3, 32, 32, generator=drawn) + torch.tensor([0.0, 2.0])[:, None, None, None]
    result = VisualTCAV(steps=16, accuracy_gate=0, resamples=2, random_concepts=2, tolerance=0.1)(
        net, concepts, random, images
    )
    ((layer, f),) = result.layers.items()
    assert layer == "blocks.0"  # behind it everything passes through, and patches still reach the answer
    assert f.maps.shape == (2, 1, 4, 4)
    assert float(f.errors.max()) <= 0.1
    assert float(f.maps[1].mean()) > float(f.maps[0].mean())


def test_a_network_of_one_output_is_explained_for_both_classes() -> None:
    model, concepts, random, images = planted()
    net = nn.Sequential(*model.module[:4], nn.Linear(3, 1))
    with torch.no_grad():
        net[4].weight.copy_(torch.tensor([[1.0, -1.0, 0.0]]))
    mixed = torch.cat([images, images.flip(1).roll(1, 1)])
    result = VisualTCAV(layers=("1",))(Model(net, kind="classes"), concepts, random, mixed, [0, 1])
    rows = {(r.index, r.concept): r for r in result.global_rows()}
    assert rows[1, "red"].attribution > 0.3
    assert rows[0, "red"].attribution < 0.05
    assert rows[1, "red"].attribution > rows[1, "green"].attribution


# -- the result ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result() -> VisualTcavResult:
    model, concepts, random, images = planted()
    return VisualTCAV(layers=("1",), resamples=4)(model, concepts, random, {0: images, "1": images[:2]})


def test_it_saves_and_opens_bit_for_bit(result: VisualTcavResult, tmp_path: Path) -> None:
    result.save(tmp_path / "r")
    again = VisualTcavResult.open(tmp_path / "r.json")
    assert again.provenance == result.provenance
    assert again.global_rows() == result.global_rows()
    assert again.local_rows() == result.local_rows()
    assert torch.equal(again.pixels, result.pixels)
    with (tmp_path / "r.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(UnreadableInput, match=r"do not belong together|damaged"):
        VisualTcavResult.open(tmp_path / "r")


def test_it_draws_itself(result: VisualTcavResult) -> None:
    for picture in (result.maps_picture(), result.bars_picture(), result.overlay(0, "red")):
        colours = picture.getcolors(1 << 20)
        assert colours is None or len(colours) > 20


def test_global_intervals_are_two_standard_errors(result: VisualTcavResult) -> None:
    row = next(r for r in result.global_rows() if r.index == 0 and r.concept == "red")
    f = result.layers["1"]
    chosen = (result.classes == 0)[:, 0]
    values, again = f.attributions[chosen, 0, 0].double(), f.again[chosen, 0, :, 0].double().mean(0)
    error = math.sqrt(float(values.var(correction=0)) / len(values) + float(again.var()))
    assert row.low == pytest.approx(max(0, float(values.mean()) - 2 * error))
    assert row.high == pytest.approx(float(values.mean()) + 2 * error)
    assert row.images == 6


def test_wrong_requests_are_refused_in_words() -> None:
    model, concepts, random, images = planted()
    method = VisualTCAV(layers=("1",))
    with pytest.raises(BadInput, match="It has 3 images"):
        method(model, {"red": concepts["red"][:3]}, random, images)
    with pytest.raises(BadInput, match="There is none"):
        method(model, {}, random, images)
    with pytest.raises(BadInput, match=r"\['red'\] come twice"):
        method(model, [ImageSet("red", random), ImageSet("red", random)], random, images)
    with pytest.raises(BadInput, match="Both name the classes"):
        method(model, concepts, random, {0: images}, [0])
    with pytest.raises(BadInput, match="has 2"):
        method(model, concepts, random, images, [7])
    with pytest.raises(BadInput, match="no such layer"):
        replace(method, layers=("nine",))(model, concepts, random, images)
    for wrong in ({"steps": 1}, {"resamples": -1}, {"random_concepts": 1}, {"accuracy_gate": 2.0}):
        with pytest.raises(BadInput):
            VisualTCAV(**wrong)  # type: ignore[arg-type]


def test_a_layer_that_the_network_goes_around_is_refused() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.c(y + self.b(y)).relu().flatten(2).mean(2)

    _, concepts, random, images = planted()
    with pytest.raises(DoesNotFit, match="bypasses the layer"):
        VisualTCAV(layers=("b",))(Around().eval(), concepts, random, images)
