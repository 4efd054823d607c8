"""CRP: against sums written out in float64, on networks of three families, and around layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import networks
import seewhy
from seewhy.errors import BadInput, DoesNotFit
from seewhy.execution import Execution
from seewhy.inputs.photos import demo_photos
from seewhy.methods import CRP, LRP
from seewhy.methods.relevance import conditions as module
from seewhy.methods.relevance.conditions import (
    Condition,
    Place,
    Strongest,
    Subspace,
    Units,
    conditional,
    parse,
)
from seewhy.methods.relevance.propagation import Relevance, Trace, follow
from seewhy.models.model import Model
from seewhy.question import Question, ask


class Opened:
    """A followed pass of a network with everything that conditions need."""

    def __init__(self, trace: Trace, places: dict[str, Place], question: Question) -> None:
        self.trace, self.places, self.question = trace, places, question

    def through(self, conditions: dict[str, Condition], *, bypass: bool = False) -> Relevance:
        return conditional(self.trace, self.places, conditions, bypass=bypass)


@contextmanager
def opened(
    net: nn.Module, x: Tensor, layers: list[str], target: int = 1, **rules: object
) -> Iterator[Opened]:
    model, method = Model(net), LRP(**{"composite": "epsilon", "epsilon": 1e-12, **rules})
    with model.untouched():
        question = ask(model, x, target, Execution(), "logit")
        trace = follow(question, 0, len(x), method.rules(model, x), method.softmax, layers)
        shape = tuple(x.shape[1:])
        yield Opened(trace, {n: Place.of(model, n, t, shape) for n, t in trace.layers.items()}, question)


# -- the written-out sum -------------------------------------------------------------------------------------


def test_a_map_through_units_is_the_written_out_sum() -> None:
    torch.manual_seed(0)
    first, second, third = (nn.Linear(a, b).double() for a, b in ((6, 5), (5, 4), (4, 3)))
    net = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.ReLU(), third).requires_grad_(False)
    x = torch.rand(1, 1, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        first.bias.fill_(1.0)
        second.bias.fill_(1.0)
        a = first(x.flatten(1)).relu()[0]
        b = second(a[None]).relu()[0]
    keep_a, keep_b = {0, 2, 4}, {1, 2, 3}
    by_hand = torch.zeros(6, dtype=torch.float64)
    for j in keep_b:  # epsilon rule: what j hands to i is a_i w_ij / z_j of what it has
        of_j = float(b[j] * third.weight[1, j])
        for i in keep_a:
            of_i = 0.0 if b[j] == 0 else float(a[i] * second.weight[j, i] / b[j]) * of_j
            for p in range(6):
                share = 0.0 if a[i] == 0 else float(x.flatten()[p] * first.weight[i, p] / a[i])
                by_hand[p] += share * of_i
    with opened(net, x, ["2", "4"]) as net_open:
        found = net_open.through({"2": Units(tuple(keep_a)), "4": Units(tuple(keep_b))})
        assert float(by_hand.abs().max()) > 1e-3
        torch.testing.assert_close(found.pixels.flatten(), by_hand, rtol=1e-8, atol=1e-11)
        other_order = net_open.through({"4": Units(tuple(keep_b)), "2": Units(tuple(keep_a))})
        assert torch.equal(other_order.pixels, found.pixels)


class Parallel(nn.Module):
    """Two layers beside each other, then one."""

    def __init__(self) -> None:
        super().__init__()
        self.l1, self.l2 = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.l3 = nn.Linear(4, 1, bias=False)
        with torch.no_grad():
            self.l1.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
            self.l2.weight.copy_(torch.tensor([[2.0, 3.0], [0.0, 0.0]]))
            self.l3.weight.copy_(torch.tensor([[1.0, 4.0, 5.0, 0.0]]))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return self.l3(torch.cat([self.l1(x).relu(), self.l2(x).relu()], 1))


def test_layers_beside_each_other() -> None:
    """By hand: R(l1) = [1, 4], R(l2) = [5, 0]; channel 0 of l1 is x0 + 2 x1, of l2 it is 2 x0 + 3 x1."""
    x = torch.tensor([-1.0, 1.0], dtype=torch.float64).reshape(1, 1, 1, 2)
    with opened(Parallel().double(), x, ["l1", "l2"], 0) as net:

        def pixels(conditions: dict[str, Condition], *, bypass: bool = False) -> list[float]:
            return [round(v, 6) for v in net.through(conditions, bypass=bypass).pixels.flatten().tolist()]

        assert pixels({}) == [-11, 21]
        assert pixels({"l1": Units((0,))}) == [-1, 2]
        assert pixels({"l1": Units((0,))}, bypass=True) == [-11, 17]
        assert pixels({"l1": Units((0,)), "l2": Units(())}, bypass=True) == [-1, 2]
        assert pixels({"l1": Units(())}) == [0, 0]
        with pytest.raises(DoesNotFit, match="beside each other"):
            net.through({"l1": Units((0,)), "l2": Units((0,))})


# -- conservation --------------------------------------------------------------------------------------------


def vgg() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, padding=1, bias=False),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1, bias=False),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(8 * 64, 12, bias=False),
        nn.ReLU(inplace=True),
        nn.Linear(12, 5, bias=False),
    )


class Residual(nn.Module):
    """A stem, two residual blocks with batch norm, pooling; of "efficient" with gates, SiLU, depthwise."""

    def __init__(self, *, efficient: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.efficient = efficient
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        groups = 8 if efficient else 1
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(2))
        self.gates = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(2))
        self.blocks = nn.ModuleList(nn.Identity() for _ in range(2))
        self.act = nn.SiLU() if efficient else nn.ReLU()
        self.head = nn.Linear(8, 5, bias=False)
        for norm in (self.stem_norm, *self.norms):
            nn.init.uniform_(norm.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem_norm(self.stem(x)))
        for conv, norm, gate, block in zip(self.convs, self.norms, self.gates, self.blocks, strict=True):
            y = self.act(norm(conv(x)))
            if self.efficient:
                y = y * gate(y.mean((2, 3), keepdim=True)).sigmoid()
            x = block(x + y)
        return self.head(x.mean((2, 3)))


NETS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "vgg": (vgg, ["1", "3", "6", "9"]),
    "resnet": (lambda: Residual(efficient=False), ["stem", "blocks.0", "blocks.1"]),
    "efficientnet": (lambda: Residual(efficient=True), ["stem", "blocks.0", "blocks.1"]),
}
"""Networks without constants, and layers through which everything passes."""


def additive(net: Opened, layers: list[str]) -> None:
    """Raise AssertionError unless channels of each layer add up to the whole map, and that to the score."""
    whole, score = net.trace.relevance(), net.question.clean.double()
    for name in layers:
        count = net.places[name].channels
        parts = [net.through({name: Units((c,))}) for c in range(count)]
        torch.testing.assert_close(
            torch.stack([p.pixels for p in parts]).sum(0), whole.pixels, rtol=1e-8, atol=1e-10
        )
        totals = net.places[name].totals(whole.layers[name])
        torch.testing.assert_close(totals.sum(1), score, rtol=1e-5, atol=1e-7)
        for c, part in enumerate(parts):
            torch.testing.assert_close(
                part.pixels.flatten(1).sum(1), totals[:, c], rtol=1e-5, atol=1e-7 * float(score.abs().max())
            )


@pytest.mark.parametrize(
    ("family", "composite"),
    [
        *((f, c) for f in NETS for c in ("epsilon", "gamma")),
        ("vgg", "epsilon_plus_flat"),  # with signed inputs a depthwise output may have no positive part
        ("resnet", "epsilon_plus_flat"),
    ],
)
def test_channels_add_up_to_the_whole_map_and_to_the_score(family: str, composite: str) -> None:
    build, layers = NETS[family]
    x = networks.batch((3, 16, 16)).double()
    with opened(build().double().eval(), x, layers, composite=composite) as net:
        additive(net, layers)


def test_that_sum_notices_a_gate_that_lets_others_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    true = Place._mask

    def leaky(self: Place, units: Units, output: Tensor) -> Tensor:
        return true(self, units, output).clamp_min(0.01)

    monkeypatch.setattr(module.Place, "_mask", leaky)
    build, layers = NETS["resnet"]
    x = networks.batch((3, 16, 16)).double()
    with opened(build().double().eval(), x, layers) as net, pytest.raises(AssertionError):
        additive(net, layers)


@pytest.mark.parametrize("family", ["resnet", "efficientnet"])
def test_what_goes_around_a_branch_is_left_out_or_kept(family: str) -> None:
    x = networks.batch((3, 16, 16)).double()
    with opened(NETS[family][0]().double().eval(), x, ["norms.1", "blocks.0"]) as net:
        whole = net.trace.relevance()
        everything = Units(tuple(range(8)))
        inside = net.through({"norms.1": everything})
        around = net.through({"norms.1": Units(())}, bypass=True)
        assert float(around.pixels.abs().max()) > 1e-3
        assert float(inside.pixels.abs().max()) > 1e-4
        torch.testing.assert_close(inside.pixels + around.pixels, whole.pixels, rtol=1e-8, atol=1e-10)
        kept = net.places["norms.1"].totals(inside.layers["norms.1"]).sum(1)
        torch.testing.assert_close(inside.pixels.flatten(1).sum(1), kept, rtol=1e-6, atol=1e-8)
        # Behind the branch, blocks.0 has only what came through it.
        torch.testing.assert_close(inside.layers["blocks.0"].flatten(1).sum(1), kept, rtol=1e-6, atol=1e-8)


# -- units, directions, the strongest ------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["cnn", "vit", "swin", "clip"])
def test_units_of_a_channel_add_up_to_it_on_every_layout(family: str) -> None:
    build, shape = networks.FAMILIES[family]
    net, x = build().double(), networks.batch(shape).double()
    model = Model(net)
    from seewhy.models.layers import default_layer

    layer = default_layer(model, shape).name
    with opened(net, x, [layer]) as it:
        place = it.places[layer]
        assert place.grid is not None
        cells = list(torch.cartesian_prod(*(torch.arange(s) for s in place.grid.cells)).tolist())
        each = [it.through({layer: Units((3,), (tuple(cell),))}) for cell in cells]
        together = it.through({layer: Units((3,) * len(cells), tuple(map(tuple, cells)))})
        torch.testing.assert_close(
            torch.stack([e.pixels for e in each]).sum(0), together.pixels, rtol=1e-7, atol=1e-11
        )
        whole = it.through({layer: Units((3,))})
        if place.grid.prefix == 0:
            torch.testing.assert_close(together.pixels, whole.pixels, rtol=1e-7, atol=1e-11)
        assert float(whole.pixels.abs().max()) > 0
        row = it.places[layer].cells(each[-1].layers[layer])
        assert int((row != 0).flatten(1).sum(1).max()) <= 1


def test_directions_are_channels_where_they_are_axes_and_complements_add_up() -> None:
    x = networks.batch((3, 16, 16)).double()
    with opened(vgg().double(), x, ["3"]) as net:
        axes = torch.eye(6, dtype=torch.float64)
        torch.testing.assert_close(
            net.through({"3": Subspace(-3 * axes[[4, 1]])}).pixels, net.through({"3": Units((1, 4))}).pixels
        )
        torch.manual_seed(4)
        directions = torch.randn(6, 6, dtype=torch.float64)
        basis, _ = torch.linalg.qr(directions)
        parts = [net.through({"3": Subspace(b)}).pixels for b in (basis.T[:2], basis.T[2:])]
        torch.testing.assert_close(sum(parts), net.trace.relevance().pixels, rtol=1e-8, atol=1e-10)
        skewed = Subspace(torch.randn(2, 2, dtype=torch.float64) @ basis.T[:2])
        torch.testing.assert_close(net.through({"3": skewed}).pixels, parts[0])
        with pytest.raises(BadInput, match="not linearly independent"):
            net.through({"3": Subspace(axes[[0, 0]])})
        with pytest.raises(BadInput, match=r"\(directions, 6 channels\)"):
            net.through({"3": Subspace(torch.eye(5))})


def test_the_strongest_are_those_with_the_largest_sums_sample_by_sample() -> None:
    x = networks.batch((3, 16, 16), n=4).double()
    with opened(vgg().double(), x, ["3"]) as net:
        totals = net.places["3"].totals(net.trace.relevance().layers["3"])
        found = net.through({"3": Strongest(2)}).pixels
        for i, row in enumerate(totals):
            best = tuple(sorted(range(6), key=lambda c, row=row: -float(row[c]))[:2])
            torch.testing.assert_close(found[i], net.through({"3": Units(best)}).pixels[i])


# -- as a method ---------------------------------------------------------------------------------------------


def test_the_method_says_which_channels_and_what_part_passed() -> None:
    x = networks.batch((3, 16, 16))
    method = CRP("blocks.1: top 2; blocks.0: 3, 5@1x2", composite="epsilon")
    result = method(NETS["resnet"][0]().eval(), x, 1)
    for i, notes in enumerate(result.provenance["inputs"]):
        channels = result.provenance["channels"][i]
        assert channels["blocks.0"] == [3, 5]
        assert len(channels["blocks.1"]) == 2
        part = float(result.values[i].sum()) / notes["score"]
        assert notes["reliability"]["passed"] == pytest.approx(part, rel=1e-3)
    alone = CRP("blocks.1: " + ", ".join(map(str, channels["blocks.1"])) + "; blocks.0: 3, 5@1x2")
    again = replace(alone, composite="epsilon")(NETS["resnet"][0]().eval(), x[-1:], 1)
    torch.testing.assert_close(again.values[0], result.values[-1])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("a.b: 17, 80", {"a.b": Units((17, 80))}),
        ("a: top; b: top 3;", {"a": Strongest(1), "b": Strongest(3)}),
        ("a: 4@3x5, 2", {"a": Units((4, 2), ((3, 5), None))}),
        ("a: 1@0x3x5; b:", {"a": Units((1,), ((0, 3, 5),)), "b": Units(())}),
    ],
)
def test_conditions_are_read(text: str, found: dict[str, Condition]) -> None:
    assert parse(text) == found


@pytest.mark.parametrize("text", ["17", ": 3", "a: x", "a: 3 4", "a: 1; a: 2", "a: 3@5", "a: -1", "a: top x"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="Asked for the conditions"):
        CRP(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blocks.1: 8", "It has channels 0 to 7"),
        ("blocks.1: 3@8x0", "It has 8 x 8 cells"),
        ("head: 3@0x0", "It has no cells"),
        ("blocks.2: 0", "no such layer"),
    ],
)
def test_what_the_layer_does_not_have_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        CRP(text)(NETS["resnet"][0]().eval(), networks.batch((3, 16, 16)), 1)


# -- a real network ------------------------------------------------------------------------------------------


@pytest.mark.real
def test_channels_of_a_real_network_add_up() -> None:
    model = seewhy.load("efficientnet-lite0")
    x = model.prepare(demo_photos()["cat"]).tensor
    rules = LRP(biases="share")
    with model.untouched():
        question = ask(model, x, None, Execution(), "logit")
        trace = follow(question, 0, 1, rules.rules(model, x), "taylor", ["_blocks.10", "_swish"])
        places = {n: Place.of(model, n, t, tuple(x.shape[1:])) for n, t in trace.layers.items()}
        whole = trace.relevance()
        # The head's bias is shared out: what reaches the last features is the score.
        last = places["_swish"].totals(whole.layers["_swish"]).sum(1)
        torch.testing.assert_close(last, question.clean, rtol=1e-4, atol=0)
        order = torch.randperm(112, generator=torch.Generator().manual_seed(0)).tolist()
        parts = [
            conditional(trace, places, {"_blocks.10": Units(tuple(order[i::4]))}).pixels for i in range(4)
        ]
    gap = (torch.stack(parts).sum(0) - whole.pixels).abs().max()
    assert float(gap) <= 1e-4 * float(whole.pixels.abs().max())
