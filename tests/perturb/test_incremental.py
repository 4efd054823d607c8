"""Passes on patches give the answers of whole passes, and cost what was counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import networks
from seewhy.attribution import Attribution
from seewhy.errors import Cancelled
from seewhy.execution import Execution
from seewhy.methods.masking.occlusion import Occlusion
from seewhy.models.model import Model
from seewhy.perturb.edits import Edits, Jobs
from seewhy.perturb.incremental import boxes, passing, scoring
from seewhy.perturb.incremental.passing import Passing
from seewhy.perturb.incremental.plan import blocks, planned
from seewhy.perturb.incremental.recording import Recording
from seewhy.perturb.incremental.scoring import WindowScorer
from seewhy.perturb.windows import WindowEdits, Windows
from seewhy.question import ask
from seewhy.targets import Class, Neuron


class Layers(nn.Module):
    """A network out of pieces, and the mean over what is left."""

    def __init__(self, *pieces: nn.Module, width: int = 6) -> None:
        super().__init__()
        self.pieces, self.head = nn.Sequential(*pieces), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pieces(x).flatten(2).mean(2))


class Residual(nn.Module):
    """A sum of two branches, written in place or not."""

    def __init__(self, inner: nn.Module, outer: nn.Module | None = None, *, in_place: bool = False) -> None:
        super().__init__()
        self.inner, self.outer, self.in_place = inner, outer or nn.Identity(), in_place

    def forward(self, x: Tensor) -> Tensor:
        y, x = self.inner(x), self.outer(x)
        if self.in_place:
            y += x
            return y.relu_()
        return functional.relu(x + y)


class Branches(nn.Module):
    """Branches side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([b(x) for b in self.branches], 1)


class Gate(nn.Module):
    """Squeeze and excite: every cell depends on every other from here on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(functional.adaptive_avg_pool2d(x, 1)).sigmoid()


class Shifted(nn.Module):
    """Padding of another width on each side, and arithmetic with constants."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.randn(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad((x - self.mean) / 0.5, (0, 1, 2, 1))


def norm(width: int) -> nn.BatchNorm2d:
    made = nn.BatchNorm2d(width)
    for t in (made.weight.data, made.bias.data, made.running_mean):
        t.uniform_(-1, 1)
    return made


def conv(a: int, b: int, k: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(a, b, k, **options)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: Layers(conv(3, 6, padding=1), nn.ReLU(), conv(6, 6, 5, padding=2, stride=2), nn.GELU()),
    "no padding": lambda: Layers(conv(3, 6, 3), nn.ReLU(), conv(6, 6, 2, stride=2), nn.SiLU()),
    "normalised": lambda: Layers(
        conv(3, 6, padding=1, bias=False), norm(6), nn.ReLU6(inplace=True), conv(6, 6)
    ),
    "residual": lambda: Layers(
        conv(3, 6, 7, padding=3, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        Residual(nn.Sequential(conv(6, 6, padding=1), nn.ReLU(), conv(6, 6, padding=1))),
        Residual(conv(6, 6, padding=1, stride=2), conv(6, 6, 1, stride=2), in_place=True),
    ),
    "depthwise": lambda: Layers(
        conv(3, 6, padding=1),
        nn.Hardswish(),
        conv(6, 6, 5, padding=2, groups=6),
        nn.LeakyReLU(),
        conv(6, 6, 1),
        conv(6, 6, padding=1, groups=2),
    ),
    "dilated": lambda: Layers(
        conv(3, 6, padding=2, dilation=2), nn.Tanh(), conv(6, 6, padding=3, dilation=3)
    ),
    "same": lambda: Layers(
        conv(3, 6, 4, padding="same"), nn.ReLU(), conv(6, 6, 2, padding="same", dilation=2)
    ),
    "pooled": lambda: Layers(
        conv(3, 6, padding=1), nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(2, 2, ceil_mode=True), conv(6, 6, 1)
    ),
    "stride 3": lambda: Layers(
        conv(3, 6, 3, stride=3), nn.ReLU(), conv(6, 6, 1, stride=2), conv(6, 6, padding=1)
    ),
    "concatenated": lambda: Layers(
        Branches(
            conv(3, 2, 1), conv(3, 2, 5, padding=2), nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(3, 2, 1))
        ),
        nn.ReLU(inplace=True),
        conv(6, 6, padding=1),
    ),
    "gated": lambda: Layers(conv(3, 6, padding=1), nn.ReLU(), Gate(6), conv(6, 6, padding=1)),
    "shifted": lambda: Layers(Shifted(), conv(3, 6), nn.Dropout(), conv(6, 6, padding=(0, 2), stride=(2, 1))),
    "fully convolutional": lambda: nn.Sequential(conv(3, 6, padding=1), nn.ReLU(), conv(6, 4, 3)),
}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]().double().eval()


def passing_of(net: nn.Module, x: Tensor, windows: Windows, batch: int, until: int | None = None) -> Passing:
    """Patches as far as they go, whether that pays or not, unless told."""
    recording = Recording(net, x)
    with FlopCounterMode(display=False) as counter:
        net(x)
    plan = planned(recording, windows, blocks(windows.counts, batch), counter.get_total_flops() // 2)
    if until != -1:
        until = len(plan.nodes) if until is None else until
        plan = replace(plan, until=until, around=frozenset(range(until)))
    return Passing(net, plan, recording.clean)


def spread(cut: list[tuple[range, ...]], most: int = 6) -> list[tuple[range, ...]]:
    """Some of the blocks, the first and the last among them."""
    return [cut[round(i)] for i in torch.linspace(0, len(cut) - 1, min(most, len(cut))).tolist()]


def compared(
    net: nn.Module, windows: Windows, *, batch: int = 4, until: int | None = None
) -> tuple[float, float]:
    """Largest difference from whole passes, over some blocks of windows, and the largest change."""
    gap = change = 0.0
    x = torch.randn(1, 3, *windows.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        walk, clean = passing_of(net, x, windows, batch, until), net(x)
        for block in spread(list(product(*blocks(windows.counts, batch)))):
            positions = list(product(*block))
            edited = x.repeat(len(positions), 1, 1, 1)
            for one, (r, c) in zip(edited, positions, strict=True):
                (h, w), (dy, dx) = windows.window, windows.stride
                one[:, r * dy : r * dy + h, c * dx : c * dx + w] = -3.0
            wanted, found = net(edited), walk.run(edited, list(torch.tensor(positions).T))
            off = (found - wanted).abs().nan_to_num(nan=torch.inf)
            gap = max(gap, float(off.max()))
            change = max(change, float((wanted - clean).abs().max()))
    return gap, change


LAYOUTS = [
    Windows((19, 22), (5, 4), (3, 4)),
    Windows((24, 21), (1, 2), (1, 2)),
    Windows((18, 25), (9, 3), (2, 1)),
]


@pytest.mark.parametrize("windows", LAYOUTS, ids=lambda w: f"{w.window} every {w.stride}")
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_patches_give_the_answers_of_whole_passes(name: str, windows: Windows) -> None:
    gap, change = compared(network(name), windows, batch=6)
    assert gap < 1e-12
    assert change > 1e-4


@pytest.mark.parametrize("name", ["residual", "concatenated", "gated"])
def test_whole_maps_may_take_over_anywhere(name: str) -> None:
    net, windows = network(name), Windows((19, 22), (5, 4), (3, 4))
    nodes = len(Recording(net, torch.zeros(1, 3, 19, 22, dtype=torch.float64)).nodes)
    for until in range(1, nodes + 1, 2):
        assert compared(net, windows, until=until)[0] < 1e-12
    assert compared(net, windows, until=-1)[0] < 1e-12, "and where the plan says"


def test_a_box_that_is_one_cell_short_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = boxes.Slide.reached
    windows = Windows((20, 20), (4, 4), (4, 4))

    def short(self: boxes.Slide, changed: boxes.Changed, size: int) -> boxes.Changed:
        found = right(self, changed, size)
        less = self.kernel > 1 and int((found.hi - found.lo).min()) > 1
        return replace(found, hi=found.hi - 1) if less else found

    monkeypatch.setattr(boxes.Slide, "reached", short)
    assert compared(network("plain"), windows)[0] > 1e-6
    assert compared(network("residual"), windows)[0] > 1e-6


def test_another_edge_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = Windows((9, 9), (3, 3), (3, 3))
    # All that the maximum sees is below 0, which must not lie beyond the edge.
    torch.manual_seed(0)
    low = Layers(nn.LogSigmoid(), nn.MaxPool2d(3, 1, 1), conv(3, 6)).double().eval()
    assert compared(low, windows)[0] < 1e-12
    right = passing.Store.take
    monkeypatch.setattr(passing.Store, "take", lambda self, c, s, b, _: right(self, c, s, b, 0.0))
    assert compared(low, windows)[0] > 1e-6
    monkeypatch.setattr(passing.Store, "take", lambda self, c, s, b, _: right(self, c, s, b, -torch.inf))
    assert compared(network("plain"), Windows((20, 20), (4, 4), (4, 4)))[0] > 1e-6, "convolutions see 0"


@pytest.mark.parametrize("name", ["residual", "depthwise", "concatenated", "pooled", "stride 3"])
def test_what_is_done_is_what_was_counted(name: str) -> None:
    net, windows, batch = network(name), Windows((24, 21), (4, 4), (3, 2)), 4
    x = torch.randn(1, 3, 24, 21, dtype=torch.float64)
    with torch.inference_mode():
        walk = passing_of(net, x, windows, batch, until=-1)
        with FlopCounterMode(display=False) as counter:
            for block in product(*blocks(windows.counts, batch)):
                positions = list(product(*block))
                walk.run(x.repeat(len(positions), 1, 1, 1), list(torch.tensor(positions).T))
        with FlopCounterMode(display=False) as bare:
            net(x.repeat(prod(windows.counts), 1, 1, 1))
    assert counter.get_total_flops() == 2 * walk.plan.patched
    assert bare.get_total_flops() == 2 * walk.plan.whole
    assert walk.plan.patched < walk.plan.whole


def test_windows_of_16_pixels_more_than_halve_the_multiply_adds_of_resnet_50() -> None:
    import torchvision

    net, x = torchvision.models.resnet50().eval(), torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        recording = Recording(net, x)
        with FlopCounterMode(display=False) as counter:
            net(x)
    for window, least in ((16, 2.5), (32, 2.0)):
        windows = Windows((224, 224), (window, window), (window // 2, window // 2))
        cut = blocks(windows.counts, 8)
        assert planned(recording, windows, cut, counter.get_total_flops() // 2).saving > least


# -- networks that cannot be followed ------------------------------------------------------------------------


class Peeking(nn.Module):
    """Its code depends on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return (y if float(y.amax()) > 100 else y.relu()).mean((2, 3))


class Choosy(nn.Module):
    """Does another thing to single inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.conv = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.conv(y.sigmoid() if len(y) == 1 else y.relu()).mean((2, 3))


class Hiding(nn.Module):
    """Hides a step from everyone who follows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        with torch._C.DisableTorchFunctionSubclass():
            return (y * 2).mean((2, 3))


def occlusion(net: nn.Module, *, incremental: bool | None, n: int = 2, **options: Any) -> Attribution:
    method = Occlusion(window=4, stride=2, incremental=incremental)
    return method(Model(net), networks.batch((3, 16, 16), n=n), Class(1, "logit"), Execution(**options))


@pytest.mark.parametrize(
    ("net", "because"),
    [(Peeking, "looks at values"), (Choosy, "the same to every input"), (Hiding, "network's own")],
    ids=["values", "choosy", "hiding"],
)
def test_networks_that_cannot_be_followed_are_passed_whole(net: type[nn.Module], because: str) -> None:
    torch.manual_seed(0)
    made = net().eval()
    found = occlusion(made, incremental=True)
    told = found.provenance["incremental"]
    assert told["used"] is False
    assert because in told["because"]
    assert found.provenance["passes"]["forward"] == 50
    assert torch.equal(found.values, occlusion(made, incremental=False).values)


def test_a_network_that_reads_past_the_session_reads_nan() -> None:
    net = Hiding().eval()
    with torch.inference_mode():
        answer = Recording(net, torch.randn(1, 3, 8, 8)).answer
    assert bool(answer.isnan().all())


# -- the method ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", ["mean", "constant:127.5", "blur:10", "harmonic"])
@pytest.mark.parametrize("incremental", [True])
def test_occlusion_is_the_same_map(operator: str, incremental: bool) -> None:
    from seewhy.models.preprocessing import Preprocessing

    model, x = (
        Model(networks.cnn().eval(), preprocess=Preprocessing(size=(17, 14))),
        networks.batch((3, 17, 14), n=3),
    )
    found, wanted = (
        Occlusion(window=(5, 4), stride=(3, 2), operator=operator, incremental=asked)(model, x, 1)
        for asked in (incremental, False)
    )
    assert float((found.values - wanted.values).abs().max()) < 1e-6
    assert float(wanted.values.abs().max()) > 1e-3
    told = found.provenance["incremental"]
    assert told["used"] is True
    assert told["times_fewer_multiply_adds"] > 2
    assert "incremental" not in found.provenance["scoring"]
    assert found.provenance["passes"] == wanted.provenance["passes"]


def test_clips_are_the_same_map() -> None:
    model, x = Model(networks.cnn3d().eval()), networks.batch((3, 8, 16, 16), n=2)
    found, wanted = (
        Occlusion(window=(2, 4, 4), stride=(2, 4, 2), incremental=asked)(model, x, 1)
        for asked in (True, False)
    )
    assert found.provenance["incremental"]["used"] is True
    assert float((found.values - wanted.values).abs().max()) < 1e-6


def test_a_batch_equals_its_samples_and_any_batch_size() -> None:
    model, x = Model(networks.cnn().eval()), networks.batch((3, 16, 16), n=3)
    method = Occlusion(window=4, stride=2, incremental=True)
    together = method(model, x, 1)
    assert together.provenance["incremental"]["used"] is True
    for size in (5, 512):
        other = method(model, x, 1, Execution(batch_size=size)).values
        assert float((other - together.values).abs().max()) < 1e-6
    for i in (0, 2):
        alone = method(model, x[i : i + 1], together.provenance["inputs"][i]["target"]["index"]).values
        assert float((alone - together.values[i]).abs().max()) < 1e-6


def test_bf16_copies_run_on_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    found, wanted = (
        occlusion(networks.cnn(), incremental=asked, precision="bf16") for asked in (True, False)
    )
    assert found.provenance["incremental"]["used"] is True
    assert found.provenance["scoring"]["precision"] == "bf16"
    scale = float(wanted.values.abs().max())
    assert float((found.values - wanted.values).abs().max()) < 0.1 * scale


def test_it_is_taken_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    net = networks.cnn()
    told = occlusion(net, incremental=None).provenance["incremental"]
    assert "save too little" in told["because"], "a tiny network"
    monkeypatch.setattr(scoring, "_SAVED", 1)
    assert occlusion(net, incremental=None).provenance["incremental"]["used"] is True
    monkeypatch.setattr(scoring, "_COUNT", 50)
    assert "too few windows" in occlusion(net, incremental=None).provenance["incremental"]["because"]
    assert occlusion(networks.vit(), incremental=None).provenance["incremental"]["used"] is False
    assert occlusion(net, incremental=False).provenance["incremental"]["because"] == "so it was asked"


def test_a_target_that_reads_a_layer_is_passed_whole() -> None:
    model, x = Model(networks.cnn().eval()), networks.batch((3, 16, 16), n=1)
    found = Occlusion(window=4, incremental=True)(model, x, Neuron("3", 1))
    assert "reads layers" in found.provenance["incremental"]["because"]


def test_the_trial_sees_a_wrong_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    right = passing.Store.take

    def wrong(self: passing.Store, *args: object) -> Tensor:
        return right(self, *args).roll(1, -1)  # type: ignore[arg-type]

    monkeypatch.setattr(passing.Store, "take", wrong)
    found = occlusion(networks.cnn(), incremental=True)
    assert "not the network's own" in found.provenance["incremental"]["because"]


def test_what_was_tried_is_forgotten_when_a_weight_changes() -> None:
    net = networks.cnn()
    assert occlusion(net, incremental=True).provenance["incremental"]["used"] is True
    with torch.no_grad():
        net[3].weight.mul_(-2)
    found, wanted = (occlusion(net, incremental=asked).values for asked in (True, False))
    assert float((found - wanted).abs().max()) < 1e-5


class Bursting(WindowEdits):
    """Memory does not suffice for more than two edits."""

    def apply(self, x: Tensor, jobs: Jobs) -> Tensor:
        if len(jobs) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return super().apply(x, jobs)


def scored(edits: type[Edits], **options: Any) -> tuple[WindowScorer, Tensor]:
    x = networks.batch((3, 16, 16), n=2)
    question = ask(Model(networks.cnn().eval()), x, 1, Execution(**options), "logit")
    scorer = WindowScorer(question, incremental=True)
    with question.model.untouched():
        return scorer, scorer.windows(edits(Windows((16, 16), (4, 4), (2, 2)), None))  # type: ignore[call-arg]


def test_memory_that_runs_out_halves_the_batch() -> None:
    plain, wanted = scored(WindowEdits)
    short, found = scored(Bursting)
    assert short.notes()["incremental"]["used"] is True
    assert short.notes()["batch_halved_to"] <= 4
    assert float((found - wanted).abs().max()) < 1e-6
    assert "batch_halved_to" not in plain.notes()


def test_progress_is_told_and_cancelling_honoured() -> None:
    said: list[tuple[int, int, str]] = []
    scored(WindowEdits, batch_size=8, progress=lambda *now: said.append(now))
    windows = [s for s in said if s[2] == "windows"]
    assert windows[0][:2] == (0, 98)
    assert windows[-1][:2] == (98, 98)
    assert len(windows) > 10
    with pytest.raises(Cancelled):
        scored(WindowEdits, batch_size=8, cancelled=lambda: len(said) > 0)
