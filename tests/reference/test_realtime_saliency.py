"""Real-time saliency: published shapes, formulas against loops, compositions, the two parts of training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import networks
import trained
from seewhy.errors import BadInput, DoesNotFit
from seewhy.methods import METHODS
from seewhy.methods.learned.explainer import provide
from seewhy.methods.learned.masking_model import MaskingModel, packed, unpacked
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.perturb.counters import uniform
from seewhy.training.compositions import Composer
from seewhy.training.regions import hinges, margin, probabilities, wrong_classes

# -- the masking model ---------------------------------------------------------


def test_shapes_are_the_published_ones() -> None:
    """ResNet-50 at 224 pixels: 7 to 14 to 28 to 56, 2048 + 1024 to 256, 256 + 512 to 128, 128 + 256 to 64."""
    with torch.device("meta"):
        model = MaskingModel([256, 512, 1024, 2048], 1000)
    grown = [tuple(up.grow.conv.weight.shape) for up in model.up]  # 3 x 3, then four channels make one
    assert grown == [(4 * 256, 2048, 3, 3), (4 * 128, 256, 3, 3), (4 * 64, 128, 3, 3)]
    joined = [tuple(up.shortcut.conv.weight.shape[:2]) for up in model.up]
    assert joined == [(256, 256 + 1024), (128, 128 + 512), (64, 64 + 256)]
    assert model.ends.weight.shape == (2, 64, 1, 1)
    assert model.embedding.shape == (1000, 2048)
    narrow = MaskingModel([8, 8, 8, 8], 3).eval()
    features = [torch.zeros(2, 8, s, s) for s in (56, 28, 14, 7)]
    assert narrow(features, torch.tensor([0, 1])).shape == (2, 56, 56)


def test_vectors_of_classes_are_drawn_with_the_published_spread() -> None:
    torch.manual_seed(0)
    model = MaskingModel([4, 400], 200)
    assert model.embedding.std().item() == pytest.approx(400**-0.5, rel=0.02)


def small(seed: int = 0) -> tuple[MaskingModel, list[Tensor]]:
    """Return a masking model with moving norms behind it, and features, the coarsest on an odd grid."""
    torch.manual_seed(seed)
    model = MaskingModel([3, 4, 5], 6, (4, 3))
    features = [torch.randn(7, 3, 9, 9), torch.randn(7, 4, 5, 5), torch.randn(7, 5, 3, 3)]
    for _ in range(5):
        model(features, torch.arange(7) % 6)
    return model.eval(), features


def test_the_selector_equals_loops() -> None:
    model, features = small()
    rows = torch.tensor([0, 1, 2, 3, 4, 5, 0])
    vectors, top = model.embedding.detach().double().numpy(), features[-1].double().numpy()
    existence, gated = [], np.zeros_like(top)
    for n in range(7):
        total = 0.0
        for i in range(3):
            for j in range(3):
                alike = sum(top[n, k, i, j] * vectors[int(rows[n]), k] for k in range(5))
                total += alike
                gated[n, :, i, j] = top[n, :, i, j] / (1 + math.exp(-(alike - 1.5)))
        existence.append(total / 9)
    assert np.allclose(model.existence(features[-1], rows).detach().numpy(), existence, atol=1e-5)
    x = torch.from_numpy(gated).float()
    for up, skip in zip(model.up, (features[1], features[0]), strict=True):
        x = up(x, skip)
    a, b = model.ends(x).detach().double().numpy().transpose(1, 0, 2, 3)
    wanted = np.abs(a) / (np.abs(a) + np.abs(b))
    found = model(features, rows, 1.5).detach().numpy()
    assert np.abs(found - wanted).max() < 1e-4
    assert np.abs(model(features, rows, 0.0).detach().numpy() - wanted).max() > 1e-3  # the gate matters
    assert found.min() >= 0
    assert found.max() <= 1


def test_nothing_at_both_ends_is_no_mask() -> None:
    model, features = small()
    nn.init.zeros_(model.ends.weight)
    assert model.ends.bias is not None
    nn.init.zeros_(model.ends.bias)
    mask = model(features, torch.zeros(7, dtype=torch.int64))
    assert mask.abs().max().item() == 0
    mask.sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in model.parameters())


def test_a_folded_model_draws_the_same() -> None:
    model, features = small()
    coverage = (4, 0, 1, 1, 0, 2)
    again, row = unpacked(packed(model, coverage), 6)
    for c in (0, 2, 3, 5):
        rows = torch.full((7,), c)
        gap = (model(features, rows) - again(features, row[rows])).abs().max()
        assert gap.item() < 1e-5
    assert int(row[1]) == int(row[4]) == 4
    mean = (4 * model.embedding[0] + model.embedding[2] + model.embedding[3] + 2 * model.embedding[5]) / 8
    assert torch.allclose(again.embedding[4], mean, atol=1e-6)


# -- losses ---------------------------------------------------------


def test_losses_equal_loops() -> None:
    torch.manual_seed(3)
    shown, hidden = 3 * torch.randn(9, 5), 3 * torch.randn(9, 5)
    classes, wrong = torch.randint(5, (9,)), torch.arange(9) % 3 == 0
    s, h = shown.double().numpy(), hidden.double().numpy()
    preserve = destroy = keep = remove = 0.0
    for n in range(9):
        c = int(classes[n])
        lead = s[n, c] - max(s[n, k] for k in range(5) if k != c)
        rest = h[n, c] - max(h[n, k] for k in range(5) if k != c)
        p, q = (np.exp(v[n, c]) / np.exp(v[n]).sum() for v in (s, h))
        if wrong[n]:
            preserve, destroy = preserve + max(0, lead + 1), destroy + max(0, 1 - rest)
            keep, remove = keep + p**0.3, remove - np.log(q)
        else:
            preserve, destroy = preserve + max(0, 1 - lead), destroy + max(0, rest + 5)
            keep, remove = keep - np.log(p), remove + q**0.3
    found = hinges(shown, hidden, classes, wrong)
    assert [t.item() for t in found] == pytest.approx([preserve / 9, destroy / 9], rel=1e-5)
    found = probabilities(shown.log_softmax(1), hidden.log_softmax(1), classes, wrong)
    assert [t.item() for t in found] == pytest.approx([keep / 9, remove / 9], rel=1e-5)
    swapped = hinges(shown, hidden, classes, ~wrong)  # a planted bug: roles the wrong way round
    assert abs(swapped[0].item() - preserve / 9) > 0.1


def test_a_sure_answer_costs_nothing() -> None:
    sure, off = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 9.0]])
    first, real = torch.tensor([0]), torch.tensor([False])
    assert margin(sure, first).tolist() == [9.0]
    assert [t.item() for t in hinges(sure, off, first, real)] == [0, 0]
    assert [t.item() for t in hinges(off, sure, first, real)] == [10, 14]


def test_wrong_classes_are_wrong_and_of_the_batch_where_they_can_be() -> None:
    classes = torch.tensor([4, 4, 7, 4, 9, 9])
    others = set()
    for i in range(40):
        found = wrong_classes(classes, 10, uniform(i, torch.arange(6), 2))
        assert bool((found != classes).all())
        assert int(found.min()) >= 0
        assert int(found.max()) < 10
        others |= set(found[2:3].tolist())
    assert others == {4, 9}  # image 2 is the only one of its class: always another image's answer
    alone = wrong_classes(torch.tensor([3, 3]), 5, torch.tensor([[0.0, 0.0], [0.0, 0.99]]))
    assert alone.tolist() == [4, 2]


# -- compositions ---------------------------------------------------------

LOOK = Preprocessing((64, 64), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def as_unit(x: Tensor) -> np.ndarray:
    """Return model inputs as pixels from -1 to 1."""
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (LOOK.mean, LOOK.std))
    return ((x * std + mean) * 2 - 1).double().numpy()


def test_what_hides_is_a_blur_or_a_plain_colour_with_noise() -> None:
    x = networks.batch((3, 64, 64), n=24)
    found = Composer(LOOK, 5).alternatives(x, torch.arange(24))
    steps = np.arange(-27, 28)
    weights = np.exp(-(steps**2) / (2 * 11.0**2))
    weights /= weights.sum()
    blurred, colours = [], []
    for one, hidden in zip(x, found, strict=True):
        wanted = np.pad(as_unit(one), ((0, 0), (27, 27), (27, 27)), mode="edge")
        wanted = np.apply_along_axis(np.convolve, 1, wanted, weights, "valid")
        wanted = np.apply_along_axis(np.convolve, 2, wanted, weights, "valid")
        pixels = as_unit(hidden)
        if np.abs(pixels - wanted).max() < 1e-4:
            blurred.append(pixels)
        else:
            colours.append(pixels)
    assert 5 <= len(blurred) <= 19
    means = np.array([p.mean((1, 2)) for p in colours])
    assert np.abs(means).max() < 0.33 + 0.01
    assert np.abs(means).max() > 0.2
    assert np.mean([p.std((1, 2)) for p in colours]) == pytest.approx(0.11, rel=0.02)


def test_a_composition_shows_what_the_mask_says() -> None:
    compose, x, numbers = Composer(LOOK, 5), networks.batch((3, 64, 64), n=4), torch.arange(4)
    behind = compose.alternatives(x, numbers)
    nothing, everything = torch.zeros(4, 8, 8), torch.ones(4, 8, 8)
    assert torch.equal(compose(x, nothing, numbers), behind)
    noise = as_unit(compose(x, everything, numbers)) - as_unit(x)
    assert noise.std() == pytest.approx(0.03, rel=0.02)
    assert abs(noise.mean()) < 1e-3
    half = torch.zeros(4, 64, 64)
    half[:, :, :32] = 1
    mixed = compose(x, half, numbers)
    assert torch.equal(mixed[..., 32:], behind[..., 32:])
    assert torch.equal(mixed[..., :32], compose(x, everything, numbers)[..., :32])


def test_a_composition_follows_from_seed_and_number() -> None:
    x, mask = (
        networks.batch((3, 16, 16), n=12),
        torch.rand(12, 4, 4, generator=torch.Generator().manual_seed(0)),
    )
    compose, numbers = Composer(None, 5), torch.arange(100, 112)
    whole = compose(x, mask, numbers)
    for i in range(12):
        single = compose(x[i : i + 1], mask[i : i + 1], numbers[i : i + 1])
        assert torch.allclose(single[0], whole[i], atol=1e-6)
    assert not torch.allclose(compose(x, mask, numbers + 1), whole, atol=1e-2)
    assert not torch.allclose(Composer(None, 6)(x, mask, numbers), whole, atol=1e-2)


# -- training ---------------------------------------------------------


def test_first_the_selector_is_trained_then_the_rest() -> None:
    trainee = trained.training("realtime_saliency", selector=0.5).begin(
        Model(networks.cnn()), (3, 16, 16), 5, 0
    )
    x = trained.Noise().batch(0, torch.arange(6))
    assert trainee.turn(0, 10, torch.arange(6)) == (0, 5)
    assert not trainee.ready
    step = trainee.step(x)
    step.loss.backward()
    assert {n for n, p in trainee.module.named_parameters() if p.grad is not None} == {"embedding"}
    trainee.module.zero_grad(set_to_none=True)
    assert trainee.turn(5, 10, torch.arange(6)) == (5, 10)
    assert trainee.ready
    step = trainee.step(x)
    step.loss.backward()
    without = {n for n, p in trainee.module.named_parameters() if p.grad is None}
    assert without == {"embedding"}
    assert set(step.numbers) == {"area", "tv", "preserve", "destroy"}
    weights = {"area": 8.0, "tv": 0.005, "preserve": 0.3, "destroy": 1.0}
    assert step.loss.item() == pytest.approx(sum(w * float(step.numbers[k]) for k, w in weights.items()))


def test_existence_is_a_cross_entropy_and_wrong_classes_train_nobody() -> None:
    network = networks.cnn()
    trainee = trained.training("realtime_saliency", selector_fakes=0.6).begin(
        Model(network), (3, 16, 16), 5, 0
    )
    x, numbers = trained.Noise().batch(0, torch.arange(8)), torch.arange(8)
    trainee.turn(0, 10, numbers)
    step = trainee.step(x)
    draws = uniform(0x5EED_FA4E, numbers, 3)
    wrong = draws[:, 0] < 0.6
    assert 0 < int(wrong.sum()) < 8
    with torch.no_grad():
        classes = network(x).argmax(1)
        asked = torch.where(wrong, wrong_classes(classes, 5, draws[:, 1:]), classes)
        logits = trainee.module.existence(trainee._features(x)[-1], asked).double().numpy()
    pair = np.stack([-logits / 2, logits / 2], 1)  # not there, there
    there = (~wrong).long().numpy()
    wanted = np.mean([np.log(np.exp(p).sum()) - p[t] for p, t in zip(pair, there, strict=True)])
    assert step.loss.item() == pytest.approx(wanted, rel=1e-5)
    assert step.classes.tolist() == classes[~wrong].tolist()


def test_encoders_of_one_resolution_and_wrong_widths_are_refused() -> None:
    model = Model(networks.cnn())
    vit = provide(Model(networks.vit()))
    with pytest.raises(DoesNotFit, match="several resolutions"):
        trained.training("realtime_saliency", auxiliary=vit).begin(model, (3, 16, 16), 5, 0)
    with pytest.raises(BadInput, match="one less"):
        trained.training("realtime_saliency", widths=(8, 8, 8)).begin(model, (3, 16, 16), 5, 0)


# -- the method ---------------------------------------------------------


def test_masks_of_many_classes_equal_single_ones_and_the_black_box_is_asked_once(tmp_path: Path) -> None:
    x = networks.batch((3, 16, 16))
    file = trained.drawn("realtime_saliency")(networks.cnn(), x, tmp_path / "e")
    recorded = networks.Recorded(networks.cnn())
    assert file is not None
    method = METHODS["realtime_saliency"].make(explainer=str(file))
    every = method.all_classes(networks.cnn(), x, [4, 0])  # type: ignore[attr-defined]
    for i, c in enumerate((4, 0)):
        single = method(networks.cnn(), x, c).native
        assert torch.allclose(every[:, i], single, atol=1e-6)
    strict = METHODS["realtime_saliency"].make(explainer=str(file), confidence=50.0)
    assert not torch.allclose(strict(networks.cnn(), x, 0).native, every[:, 1], atol=1e-3)
    with pytest.raises(DoesNotFit, match="not for these weights"):
        method(recorded, x, 0)
    assert recorded.shown == []


def test_the_explained_model_may_be_one_that_only_runs_forward(tmp_path: Path) -> None:
    x = networks.batch((3, 16, 16))
    file = trained.drawn("realtime_saliency")(networks.cnn(), x, tmp_path / "e")
    model = Model(networks.cnn(), differentiable=False)
    result = METHODS["realtime_saliency"].make(explainer=str(file))(model, x, 0)
    assert result.provenance["passes"] == {"forward": 1, "backward": 0}
    assert result.provenance["auxiliary"]["passes"] == 1
    assert float(result.values.min()) >= 0
    assert float(result.values.max()) <= 1
