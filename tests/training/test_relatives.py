"""Training of TAME, T-TAME, L-CAM and real-time saliency: terms, limits, what stays as it was, resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import networks
import trained
from seewhy.errors import BadInput, Cancelled, DoesNotFit
from seewhy.execution import Execution
from seewhy.methods import METHODS
from seewhy.methods.learned.explainer import auxiliary_network
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.training.loop import train
from seewhy.training.schedule import Schedule

NAMES = trained.NAMES


def network_for(name: str) -> nn.Module:
    return networks.vit() if name == "ttame" else networks.cnn()


# -- terms of the loss ---------------------------------------------------------


def softmax_loss(logits: np.ndarray, c: int) -> float:
    return float(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[c])


def looped_area(m: np.ndarray) -> float:
    return sum((v + 5e-4) ** 0.3 for v in m.flat) / m.size


def looped_variation(m: np.ndarray) -> float:
    """Of `(n, h, w)` masks: squares of neighbours' differences, and 0.3 of the squares on the frame."""
    total = 0.0
    for one in m:
        h, w = one.shape
        for i in range(h):
            for j in range(w):
                total += (one[i + 1, j] - one[i, j]) ** 2 if i + 1 < h else 0.0
                total += (one[i, j + 1] - one[i, j]) ** 2 if j + 1 < w else 0.0
                total += 0.3 * one[i, j] ** 2 * ((i == 0) + (i == h - 1) + (j == 0) + (j == w - 1))
    return total / (2 * len(m))


def double(t: Tensor) -> np.ndarray:
    return t.detach().double().numpy()


@pytest.mark.parametrize("hide", ["image", "features"])
def test_terms_of_lcam_equal_loops(hide: str) -> None:
    network, x = networks.cnn(), networks.batch((3, 16, 16), n=3)
    trainee = trained.training("lcam", hide=hide).begin(Model(network), (3, 16, 16), 5, 0)
    with torch.no_grad():
        features = network[:6](x)
        classes = network(x).argmax(1)
        z = torch.einsum("nchw,nc->nhw", features, trainee.module.fusion[classes])
        m = torch.sigmoid(z + trainee.module.bias[classes][:, None, None])
        if hide == "features":
            logits = network[6:](features * m[:, None])
        else:
            logits = network(x * nn.functional.interpolate(m[:, None], size=(16, 16), mode="bilinear"))
    ce = np.mean([softmax_loss(double(row), int(c)) for row, c in zip(logits, classes, strict=True)])
    wanted = 1.5 * ce + 2 * looped_area(double(m)) + 0.01 * looped_variation(double(m))
    step = trainee.step(x)
    assert step.loss.item() == pytest.approx(wanted, rel=1e-5)
    assert step.classes.tolist() == classes.tolist()
    step.loss.backward()
    assert trainee.module.fusion.grad is not None
    assert trainee.module.fusion.grad[classes].abs().max() > 0


def test_tame_hides_behind_black_and_ttame_behind_the_mean() -> None:
    look = Preprocessing((16, 16), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    model, x = Model(networks.cnn(), preprocess=look), networks.batch((3, 16, 16))
    from seewhy.training.tame import TAMETraining
    from seewhy.training.ttame import TTAMETraining

    nothing = torch.zeros(2, 8, 8)
    black = TAMETraining().begin(model, (3, 16, 16), 5, 0).masked(x, nothing)
    assert torch.equal(look.display(black[0]), torch.zeros(3, 16, 16, dtype=torch.uint8))
    mean = TTAMETraining(stages=("5",)).begin(model, (3, 16, 16), 5, 0).masked(x, nothing)
    assert float(mean.abs().max()) == 0


# -- limits ---------------------------------------------------------

LIMITS = {
    "tame": {"border": 0.0},
    "lcam": {"border": 0.0},
    "realtime_saliency": {"objective": "probability", "selector": 0.1, "selector_fakes": 0.0, "fakes": 0.0},
}


def mean_mask(name: str, **weights: float) -> float:
    """Train where all that a mask shows speaks for the answer; return the masks' mean."""
    model, source = Model(trained.Evidence()), trained.Noise(signs=True)
    training = trained.training(name, tv=0.0, **LIMITS[name], **weights)
    schedule = Schedule(80, 4, 0.1, weight_decay=0.0, checkpoint=0, precision="fp32")
    seen: list[Any] = []
    begin = type(training).begin

    def kept(*arguments: Any) -> Any:
        seen.append(begin(*arguments))
        return seen[0]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(training), "begin", kept)
        train(training, model, source, schedule)
    trainee = seen[0]
    x = source.batch(5, torch.arange(8))
    with torch.no_grad():
        features, classes = trainee._features(x), model.answer(x).output.argmax(1)
        if name == "realtime_saliency":
            return float(trainee.module(features, classes).mean())
        return float(trainee.module(features[0], classes).sigmoid().mean())


@pytest.mark.parametrize("name", LIMITS)
def test_without_the_area_masks_show_all(name: str) -> None:
    assert mean_mask(name, area=0.0) > 0.9


@pytest.mark.parametrize("name", LIMITS)
def test_without_the_answer_masks_show_nothing(name: str) -> None:
    off = {"preserve": 0.0, "destroy": 0.0} if name == "realtime_saliency" else {"ce": 0.0}
    assert mean_mask(name, **off) < 0.1


# -- what stays as it was ---------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_frozen_networks_are_left_bit_for_bit(name: str) -> None:
    network = network_for(name).train()  # as a user might leave it
    training = trained.training(name)
    frozen = [network] + (
        [auxiliary_network(training.auxiliary).module] if hasattr(training, "auxiliary") else []
    )
    before = [trained.bits(net) for net in frozen]
    made = train(training, Model(network), trained.Noise(), Schedule(3, 4, checkpoint=0))
    assert [trained.bits(net) for net in frozen] == before
    assert network.training
    with torch.no_grad():  # a planted bug: one pass in training mode moves the running statistics
        network(networks.batch((3, 16, 16)))
    assert name == "ttame" or trained.bits(network) != before[0]
    assert sum(made.coverage) <= 12


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_equals_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    training, model, source = trained.training(name), Model(network_for(name)), trained.Noise()
    schedule = Schedule(8, 4, checkpoint=2, precision="fp32")
    whole = train(training, model, source, schedule)

    for stop in (3, 7):  # in the selector's part of real-time saliency, and behind it

        def progress(done: int, total: int, what: str, stop: int = stop) -> None:
            if done == stop:
                raise Cancelled("stop")

        with pytest.raises(Cancelled, match="checkpoint"):
            train(training, model, source, schedule, Execution(progress=progress), out=tmp_path / "e")
    resumed = train(training, model, source, schedule, out=tmp_path / "e")
    assert resumed.coverage == whole.coverage
    assert set(resumed.tensors) == set(whole.tensors)
    assert all(torch.equal(t, whole.tensors[k]) for k, t in resumed.tensors.items())
    other = train(training, model, source, schedule, Execution(seed=1))
    assert any(not torch.equal(t, whole.tensors[k]) for k, t in other.tensors.items() if k != "covered")


@pytest.mark.parametrize("name", NAMES)
def test_a_trained_file_explains_and_looks_are_taken(name: str, tmp_path: Path) -> None:
    network = network_for(name)
    schedule = Schedule(8, 4, look=2, held_out=4, checkpoint=0, precision="fp32")
    made = train(trained.training(name), Model(network), trained.Noise(), schedule)
    steps = [entry["step"] for entry in made.record["looks"]]
    assert steps == ([8] if name == "realtime_saliency" else [2, 4, 6, 8])  # once masks are trained
    covered = max(range(5), key=lambda c: made.coverage[c])
    method = METHODS[name].make(explainer=str(made.save(tmp_path / "e")))
    with pytest.warns(UserWarning, match=f"Only {made.coverage[covered]} images"):
        result = method(network, networks.batch((3, 16, 16)), covered)
    assert result.values.flatten(1).std(1).min() > 0
    assert result.provenance["explainer"]["settings"]["method"] == name


# -- refusals ---------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_networks_that_only_run_forward_are_refused(name: str) -> None:
    model = Model(network_for(name), differentiable=False)
    with pytest.raises(DoesNotFit):
        train(trained.training(name), model, trained.Noise(), Schedule(2, 4))


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("tame", {"ce": -1.0}, "0 or more"),
        ("ttame", {"power": 0.0}, "more than 0"),
        ("lcam", {"area": -2.0}, "0 or more"),
        ("realtime_saliency", {"fakes": 1.0}, "less than 1"),
        ("realtime_saliency", {"tv": -1.0}, "0 or more"),
        ("realtime_saliency", {"widths": (0,)}, "1 or more"),
    ],
)
def test_bad_parameters_are_refused(name: str, parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(BadInput, match=text):
        trained.training(name, **parameters)
