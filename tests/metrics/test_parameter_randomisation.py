"""Parameter randomisation: analytic extremes, a plain loop beside it, and what it must leave alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from unittest import mock

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity as peer
from torch import Tensor, nn

import networks
import seewhy
from seewhy.agreement import structural_similarity
from seewhy.conformance import state_of
from seewhy.errors import BadInput, Cancelled, DoesNotFit
from seewhy.execution import Execution, Passes
from seewhy.methods.base import METHODS, Cost, Estimate, Method
from seewhy.metrics.baselines import BASELINES
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.remembered import again
from seewhy.metrics.repeats import compared
from seewhy.metrics.sanity.parameter_randomisation import ParameterRandomisation
from seewhy.metrics.sanity.shuffling import Shuffled
from seewhy.models.model import Model
from seewhy.question import Question, ask
from seewhy.report.numbers import plots

X = networks.batch((3, 16, 16), n=2)
NAME = "parameter_randomisation"


def pose(net: nn.Module, x: Tensor = X, **options: object) -> Question:
    return ask(Model(net), x, None, Execution(**options), "probability")  # type: ignore[arg-type]


def random_maps(n: int = 2, size: tuple[int, ...] = (16, 16), seed: int = 0) -> Tensor:
    return torch.randn(n, *size, generator=torch.Generator().manual_seed(seed))


# -- the similarities


@pytest.mark.parametrize("size", [(11, 11), (16, 23), (40, 40)])
def test_structural_similarity_is_the_standard_one(size: tuple[int, ...]) -> None:
    a = random_maps(3, size).sigmoid()
    for b in (a, 1 - a, (a + 0.2 * random_maps(3, size, seed=1)).clamp(0, 1), torch.zeros_like(a)):
        wanted = [
            peer(p.double().numpy(), q.double().numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5,
                 use_sample_covariance=False)
            for p, q in zip(a, b, strict=True)
        ]  # fmt: skip
        np.testing.assert_allclose(structural_similarity(a, b).numpy(), wanted, atol=1e-6)


def test_a_window_of_equal_weights_would_be_seen() -> None:
    a, b = random_maps(1, (40, 40)).sigmoid(), random_maps(1, (40, 40), seed=1).sigmoid()
    flat = peer(a[0].double().numpy(), b[0].double().numpy(), data_range=1.0, win_size=11)
    assert abs(float(structural_similarity(a, b)) - flat) > 1e-3


def test_clips_are_compared_frame_by_frame_and_small_maps_not_at_all() -> None:
    a, b = random_maps(2, (3, 12, 12)).sigmoid(), random_maps(2, (3, 12, 12), seed=1).sigmoid()
    each = torch.stack([structural_similarity(a[:, t], b[:, t]) for t in range(3)]).mean(0)
    torch.testing.assert_close(structural_similarity(a, b), each)
    assert bool(structural_similarity(a[..., :10], b[..., :10]).isnan().all())


def test_constant_maps_have_nothing_in_common_and_no_map_is_undefined() -> None:
    maps = random_maps()
    gone, never = compared(maps, torch.zeros_like(maps)), compared(torch.ones_like(maps), maps)
    for kind in ("absolute", "signed"):
        assert gone[kind].tolist() == [0, 0]
        assert bool(never[kind].isnan().all())
    flipped = compared(maps, -maps)
    torch.testing.assert_close(flipped["signed"], torch.tensor([-1.0, -1.0]))
    torch.testing.assert_close(flipped["absolute"], torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(flipped["ssim"], torch.tensor([1.0, 1.0]))


# -- the network


@pytest.mark.parametrize("family", ["cnn", "vit", "swin"])
def test_the_chosen_layers_change_places_and_no_others(family: str) -> None:
    build, shape = networks.FAMILIES[family]
    net = build()
    trained = {name: t.clone() for name, t in net.state_dict().items()}
    network = Shuffled.of(Model(net), networks.batch(shape, n=1), seed=3)
    count = len(network.layers)
    network.shuffle(range(count - 2, count))
    for name, now in network.model.module.state_dict().items():
        owner, before = name.rpartition(".")[0], trained[name]
        if owner not in network.layers[-2:]:
            assert torch.equal(now, before)
            continue
        assert torch.equal(now.flatten().sort().values, before.flatten().sort().values)
        assert bool((before == before.flatten()[0]).all()) or not torch.equal(now, before)
    network.shuffle(())
    assert all(torch.equal(now, trained[name]) for name, now in network.model.module.state_dict().items())
    assert all(torch.equal(now, trained[name]) for name, now in net.state_dict().items())


def test_orders_follow_from_seed_and_layer() -> None:
    def state(seed: int, *which: int) -> dict[str, Tensor]:
        network = Shuffled.of(Model(networks.cnn()), X[:1], seed)
        for chosen in which:
            network.shuffle(range(chosen, len(network.layers)))
        return network.model.module.state_dict()

    once, cascade, other = state(1, 0), state(1, 4, 2, 0), state(2, 0)
    assert all(torch.equal(once[name], cascade[name]) for name in once)
    assert not torch.equal(once["0.weight"], other["0.weight"])


def test_a_batch_norm_moves_channel_by_channel() -> None:
    net = networks.cnn()
    with torch.no_grad():
        net[1].weight.copy_(torch.arange(6.0))
        net[1].running_var.copy_(10 + torch.arange(6.0))
    network = Shuffled.of(Model(net), X[:1], seed=0)
    network.shuffle(range(len(network.layers)))
    norm = network.model.module[1]
    assert torch.equal(norm.running_var, 10 + norm.weight)
    assert not torch.equal(norm.weight, net[1].weight)


def test_layers_are_in_order_of_execution() -> None:
    assert Shuffled.of(Model(networks.cnn()), X[:1], 0).layers == ("0", "1", "3", "4", "8")
    vit = Shuffled.of(Model(networks.vit()), X[:1], 0).layers
    assert vit[:3] == ("", "patch", "blocks.0.norm1")  # class token and positions first
    assert vit[-2:] == ("norm", "head")

    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(16, 5)
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = x.mean(1)
            return self.last(self.attention(x, x, x)[0].mean(1))

    layers = Shuffled.of(Model(Backwards().eval()), X[:1], 0).layers
    assert layers == ("attention", "attention.out_proj", "last")


def test_stages() -> None:
    def depths(layers: int, **options: object) -> list[list[int]]:
        found = ParameterRandomisation(**options).stages(layers)  # type: ignore[arg-type]
        return [[stage[0], len(stage)] for stage in found]

    assert depths(5) == [[4, 1], [3, 2], [2, 3], [1, 4], [0, 5]]
    assert depths(99, steps=3) == [[98, 1], [49, 50], [0, 99]]
    assert depths(5, mode="independent", steps=3) == [[4, 1], [2, 1], [0, 1]]
    assert depths(5, mode="all") == depths(5, steps=1) == [[0, 5]]


# -- the metric


def test_a_plain_loop_gives_the_same_numbers() -> None:
    net = networks.cnn()
    maps = seewhy.explain(net, X, "input_x_gradient")
    chosen = maps.provenance["inputs"]
    table = evaluate(net, X, maps, NAME, baselines=False)
    kept = table.provenance["notes"][NAME]["input_x_gradient"]
    assert kept["layers"] == 5
    assert kept["stages"] == {"1": "8", "2": "4", "3": "3", "4": "1", "5": "0"}
    assert kept["unchanged copy"] == [1.0, 1.0]
    network = Shuffled.of(Model(net), X[:1], 0)
    for i, row in enumerate(table):
        wanted = []
        for top in (4, 3, 2, 1, 0):
            network.shuffle(range(top, 5))
            other = seewhy.explain(
                network.model.module, X[i : i + 1], "input_x_gradient", chosen[i]["target"]["index"]
            ).values[0]
            pairs = (maps.values[i].numpy().ravel(), other.numpy().ravel())
            wanted.append([spearmanr(*map(abs, pairs))[0], spearmanr(*pairs)[0]])
        assert row.at == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
        assert row.curve == pytest.approx([1, *(a for a, _ in wanted)], abs=1e-5)
        assert row.value == pytest.approx(np.mean([a for a, _ in wanted]), abs=1e-5)
        assert kept["absolute"][i] == pytest.approx([a for a, _ in wanted], abs=1e-5)
        assert kept["signed"][i] == pytest.approx([s for _, s in wanted], abs=1e-5)
        assert all(-1 <= v < 1 for v in kept["ssim"][i])
    assert table.provenance["passes"]["forward"] == 1 + 6 * 2


def test_the_report_names_what_the_curve_shows() -> None:
    net = networks.cnn()
    (plot,) = plots(evaluate(net, X, seewhy.explain(net, X, "gradient"), NAME))
    assert (plot.across, plot.up) == ("fraction of the layers, from the top", "similarity to the map")
    assert all(curve.note.startswith("mean ") for curve in plot.curves)


def test_undefined_numbers_are_null_in_json() -> None:
    net = networks.cnn()
    x = networks.batch((3, 8, 8))  # smaller than the window of structural similarity
    table = evaluate(net, x, seewhy.explain(net, x, "gradient"), ParameterRandomisation(similarity="ssim"))
    document = json.dumps(table.to_json(), allow_nan=False)
    assert json.loads(document)["rows"][0]["value"] is None
    assert table.curves() == []


@dataclass(frozen=True)
class Edges(Method):
    """An edge drawing: knows no model. Notes the classes that it is asked for."""

    name = "edges_of_the_input"
    title = "Edges"
    paper = METHODS["gradient"].paper
    asked = []  # noqa: RUF012

    @property
    def signed(self) -> bool:
        return False

    def cost(self, size: tuple[int, ...]) -> Cost:
        return Cost(1)

    def estimate(self, question: Question) -> Iterator[Estimate]:
        self.asked.append([d["index"] for d in question.target.descriptions])
        x = question.x.mean(1)
        yield Estimate((x - x.roll(1, 2)).abs())


@pytest.fixture
def edges(monkeypatch: pytest.MonkeyPatch) -> type[Edges]:
    METHODS.names()
    monkeypatch.setitem(METHODS._entries, Edges.name, Edges)
    Edges.asked.clear()
    return Edges


@pytest.mark.parametrize("similarity", ["absolute", "signed", "ssim"])
@pytest.mark.parametrize("mode", ["cascading", "independent", "all"])
def test_what_ignores_the_model_scores_one(edges: type[Edges], mode: str, similarity: str) -> None:
    net = networks.cnn()
    maps = edges()(net, X)
    table = evaluate(net, X, maps, ParameterRandomisation(mode=mode, similarity=similarity))  # type: ignore[arg-type]
    assert {row.method for row in table} == {Edges.name, *BASELINES}
    # The centre map, for one, is equal everywhere in its rings: ties share ranks, and agree all the same.
    assert [row.value for row in table] == pytest.approx([1] * len(table), abs=1e-6)


def test_the_class_stays_what_it_was(edges: type[Edges]) -> None:
    net = networks.cnn()
    evaluate(net, X, edges()(net, X), NAME, baselines=False)
    own = net(X).argmax(1).tolist()
    assert Edges.asked == [own] * 7
    network = Shuffled.of(Model(net), X[:1], 0)
    network.shuffle((4,))
    assert network.model.module(X).argmax(1).tolist() != own  # so that it could have been another


def drops(method: str) -> None:
    net = networks.cnn()
    (summary,) = evaluate(net, X, seewhy.explain(net, X, method), NAME, baselines=False).mean()
    assert summary.mean is not None
    assert summary.mean < 0.8


@pytest.mark.parametrize("method", ["gradient", "lrp"])
def test_what_reads_the_model_changes(method: str) -> None:
    drops(method)


def test_a_network_that_keeps_its_weights_would_be_seen() -> None:
    """The planted bug: nothing is randomised."""
    with mock.patch.object(Shuffled, "shuffle"), pytest.raises(AssertionError):
        drops("gradient")


def test_a_batch_equals_its_singles_and_a_seed_repeats() -> None:
    net = networks.vit()

    def values(x: Tensor, seed: int = 0) -> list[float]:
        return [
            row.value for row in evaluate(net, x, seewhy.explain(net, x), NAME, seed=seed, baselines=False)
        ]

    whole = values(X)
    assert [values(X[:1])[0], values(X[1:])[0]] == pytest.approx(whole, abs=1e-5)
    assert values(X) == whole
    assert values(X, seed=1) != whole


def test_the_model_is_as_found_also_after_an_error_and_a_cancel() -> None:
    net = networks.cnn()
    net[0].train()
    before = state_of(net)
    maps = seewhy.explain(net, X, "gradient")
    evaluate(net, X, maps, NAME)
    assert state_of(net) == before
    question = pose(net)

    def fails(model: Model) -> Tensor:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ParameterRandomisation().measure(replace(question, again=fails), maps.values)
    with pytest.raises(Cancelled):
        evaluate(net, X, maps, NAME, cancelled=lambda: True)
    assert state_of(net) == before


def test_progress_counts_stages() -> None:
    net, seen = networks.cnn(), []
    maps = seewhy.explain(net, X, "gradient")
    evaluate(net, X, maps, ParameterRandomisation(steps=3), baselines=False,
             progress=lambda *step: seen.append(step))  # fmt: skip
    assert [step for step in seen if step[2] == "Parameter randomisation"] == [
        (i, 4, "Parameter randomisation") for i in range(5)
    ]


def test_refusals() -> None:
    net = networks.cnn()
    maps = seewhy.explain(net, X, "occlusion", window=4)
    with pytest.raises(DoesNotFit, match="how the maps were made"):
        ParameterRandomisation().measure(pose(net), maps.values)
    unknown = maps.noting(method="mine")
    with pytest.raises(DoesNotFit, match="No method of that name is registered"):
        evaluate(net, X, unknown, NAME)
    partial = maps.noting(parameters={"window": 4})
    with pytest.raises(DoesNotFit, match="does not hold all of its parameters"):
        evaluate(net, X, partial, NAME)
    with pytest.raises(DoesNotFit, match="Its network holds none"):
        evaluate(nn.Sequential(nn.Flatten()), X, maps, ParameterRandomisation(), target=1)
    with pytest.raises(BadInput, match="Give at least 1"):
        ParameterRandomisation(steps=0)


def test_functions_as_targets_must_be_given_again() -> None:
    net = networks.cnn()

    def second(raw: Tensor) -> Tensor:
        return raw[:, 1]

    maps = seewhy.explain(net, X, "gradient", target=second)
    with pytest.raises(DoesNotFit, match="Give target="):
        again(maps, Model(net).prepare(X), Execution(), Passes())
    given = evaluate(net, X, maps, NAME, target=second, baselines=False)
    named = evaluate(net, X, seewhy.explain(net, X, "gradient", target=1), NAME, baselines=False)
    assert [r.value for r in given] == pytest.approx([r.value for r in named])


def test_models_that_cannot_be_copied_are_refused() -> None:
    net = networks.cnn()
    net.kept = net(X)  # a tensor that carries a graph
    with pytest.raises(DoesNotFit, match="cannot be copied"):
        Model(net).copy()
