"""On an accelerator: precision, memory, replay and repeatability, with real weights where digits matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import networks
import seewhy
from seewhy.agreement import Agreement
from seewhy.batching import default_batch_size
from seewhy.concepts import MACO, FeatureVisualisation
from seewhy.concepts.views import Crops, Transforms
from seewhy.errors import NotFinite
from seewhy.execution import Execution
from seewhy.inputs.photos import demo_photos
from seewhy.methods.optimised import descent
from seewhy.methods.optimised.replay import Replayed
from seewhy.models.check_sums import _KNOWN
from seewhy.models.model import Model
from seewhy.models.tensor_float import without_tensor_float
from seewhy.models.weights import sweep
from seewhy.targets import Neuron

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator here"),
]


@pytest.fixture(scope="module", params=["efficientnet-lite0", "mobilenet-v2"])
def real(request: pytest.FixtureRequest) -> Model:
    model = seewhy.load(request.param)
    model.module.to("cuda")
    return model


@pytest.fixture(autouse=True)
def _all_precisions(_single_precision: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seewhy.perturb.calibration._halves", lambda _: ("fp16", "bf16"))


def rise(model: Model, **options: Any) -> seewhy.Attribution:
    return seewhy.explain(model, list(demo_photos().values())[:3], method="rise", masks=4000, **options)


def test_half_precision_is_chosen_and_keeps_the_ranking(real: Model) -> None:
    exact, fast = rise(real, precision="fp32"), rise(real)
    assert fast.provenance["scoring"]["precision"] == "fp16"
    spearman = Agreement.of(exact.values, fast.values).spearman
    print(real.name, "fp16 against fp32, rank correlation", spearman.tolist())
    assert float(spearman.min()) >= 0.999


def test_the_same_run_gives_the_same_bits(real: Model) -> None:
    assert torch.equal(rise(real).values, rise(real).values)


def test_batches_agree_within_the_stated_tolerance(real: Model) -> None:
    photos = list(demo_photos().values())[:3]
    for precision, slack in (("fp32", 0.0), ("auto", None)):
        maps = [rise(real, precision=precision, batch_size=b) for b in (1024, 100)]
        tolerance = maps[0].provenance["scoring"]["largest"] if slack is None else 1e-5
        single = seewhy.explain(real, photos[1], method="rise", masks=4000, precision=precision)
        assert float((maps[0].values - maps[1].values).abs().max()) <= tolerance
        assert float((maps[0].values[1:2] - single.values).abs().max()) <= tolerance


def test_running_out_of_memory_halves_the_batch(real: Model) -> None:
    class Tight(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = real.module

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 300:
                torch.empty(1 << 50, device="cuda")  # more than there is
            out: Tensor = self.net(x)
            return out

    x = real.prepare(demo_photos()["cat"]).tensor
    tight = Model(Tight())
    options: dict[str, Any] = {"method": "rise", "masks": 1000, "target": 3, "precision": "fp32"}
    halved = seewhy.explain(tight, x, **options)
    assert halved.provenance["batch_halved_to"] <= 300
    whole = seewhy.explain(Model(real.module), x, batch_size=halved.provenance["batch_halved_to"], **options)
    assert float((whole.values - halved.values).abs().max()) < 1e-5


def test_memory_is_flat_in_masks_and_near_that_of_bare_passes(real: Model) -> None:
    x = real.prepare(demo_photos()["cat"]).tensor.cuda()
    batch = default_batch_size(x)

    def peak(work: Callable[[], object]) -> int:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated()

    def bare() -> None:
        with torch.inference_mode():
            real.module(x.expand(batch, -1, -1, -1).contiguous())

    seewhy.explain(real, x, method="rise", masks=2048, precision="fp32")
    few, many = (
        peak(lambda n=n: seewhy.explain(real, x, method="rise", masks=n, precision="fp32"))
        for n in (2048, 8192)
    )
    print(real.name, "peak bytes: bare", peak(bare), "2048 masks", few, "8192 masks", many)
    assert many <= 1.02 * few
    assert many <= 1.15 * peak(bare)


def test_images_are_optimised_and_views_repeat_bit_by_bit(real: Model) -> None:
    channel = Neuron("_blocks.10" if real.name == "efficientnet-lite0" else "features.13", 17)
    photos = list(demo_photos().values())
    for method in (FeatureVisualisation(steps=32), MACO(steps=16, views=4)):
        with without_tensor_float():
            (found,) = method(real, channel, photos).visualisations
        assert found.reached_in_views[0] > found.start_in_views[0]
        (cpu,) = replace(method, steps=1)(seewhy.load(real.name), channel, photos).visualisations
        assert found.start == pytest.approx(cpu.start, rel=1e-2, abs=1e-2)
    pixels = torch.rand(2, 3, 224, 224, device="cuda").requires_grad_()
    weights = torch.randn(8, 3, 224, 224, device="cuda")
    for shown in (Transforms(), Crops()):
        slopes = [
            torch.autograd.grad((shown(pixels, 1, 2, 9, range(4)) * weights).sum(), pixels)[0]
            for _ in range(2)
        ]
        assert torch.equal(*slopes)


def test_replayed_descent_equals_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(networks.cnn().cuda().eval())
    x = networks.batch((3, 32, 32), n=2).cuda()

    def maps() -> Tensor:
        return seewhy.explain(model, x, method="extremal_perturbation", steps=40, target=1).values

    recorded: list[bool] = []

    class Watched(Replayed):
        def __call__(self, phase: int) -> Tensor:
            result = super().__call__(phase)
            recorded.append(not self.refused)
            return result

    monkeypatch.setattr(descent, "Replayed", Watched)
    replayed = maps()
    assert recorded
    assert all(recorded)
    monkeypatch.setattr("seewhy.methods.optimised.replay.Replayed._record", lambda self, phase: False)
    plain = maps()
    assert float((replayed - plain).abs().max()) < 1e-3


def test_a_look_at_the_weights_tells_every_change() -> None:
    net = networks.cnn().cuda()
    before = sweep(net).settle()
    weight = next(net.parameters()).data
    with torch.no_grad():
        first, last = weight.flatten()[0].clone(), weight.flatten()[-1].clone()
        weight.view(-1)[0], weight.view(-1)[-1] = last, first
    assert sweep(net).settle() != before, "an exchange"
    weight.view(-1)[0], weight.view(-1)[-1] = first, last
    assert sweep(net).settle() == before


def test_a_look_that_is_replayed_sees_what_lies_there_now_and_where_weights_went() -> None:
    net = networks.cnn().cuda()
    looks = [sweep(net).settle() for _ in range(4)]
    assert _KNOWN[net]._graph is not None
    assert len(set(looks)) == 1
    weight = next(net.parameters())
    own = weight.data.clone()
    weight.data.view(-1)[3] += 1
    assert sweep(net).settle() != looks[0]
    weight.data.copy_(own)
    weight.data = weight.data.transpose(2, 3)
    assert sweep(net).settle() != looks[0], "other weights in the same place"
    weight.data = weight.data.transpose(2, 3)
    kept, first = sweep(net), weight.data
    weight.data = first.clone()
    first.zero_()
    assert sweep(net).settle() == kept.settle() == looks[0], "elsewhere, alike"
    weight.data.zero_()
    assert sweep(net).settle() != looks[0]
    with torch.inference_mode():
        assert sweep(net).settle() == sweep(net).settle() == sweep(net).settle()


def test_an_execution_moves_the_model_there_and_back() -> None:
    net = networks.cnn()
    found = seewhy.explain(net, networks.batch((3, 32, 32)), method="rise", masks=40, target=1, device="cuda")
    here = seewhy.explain(net, networks.batch((3, 32, 32)), method="rise", masks=40, target=1)
    assert next(net.parameters()).device.type == "cpu"
    assert float((found.values - here.values).abs().max()) < 1e-4
    assert Execution().precision == "auto"


def test_what_is_checked_behind_the_backward_pass_is_still_found() -> None:
    net, x = networks.cnn().to("cuda"), networks.batch((3, 16, 16)).to("cuda")
    sound = seewhy.explain(net, x, target=1)  # Grad-CAM; its layer is known from now on
    here = seewhy.explain(networks.cnn(), x.cpu(), target=1)
    torch.testing.assert_close(sound.values, here.values, rtol=1e-3, atol=1e-4)
    assert sound.provenance["weights_sha256"] == here.provenance["weights_sha256"]
    next(net.parameters()).data.view(-1)[0] = torch.nan
    with pytest.raises(NotFinite, match=r"Its weight '0\.weight'"):
        seewhy.explain(net, x, target=1)
