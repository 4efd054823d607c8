"""The auxiliary network's evidence: against Zhou's map and differences in float64, and in a file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import explainers
import networks
import seewhy
from seewhy.errors import BadInput, DoesNotFit, UnreadableInput
from seewhy.methods.learned.attention_head import AttentionHead
from seewhy.methods.learned.evidence import evidence_stages, with_evidence
from seewhy.methods.learned.explainer import Explainer, open_explainer, provide
from seewhy.methods.learned.ptame import PTAME, shares_below
from seewhy.methods.learned.stages import Features, Stage, find_stages
from seewhy.models.model import Model
from seewhy.training.attention import PTAMETraining
from seewhy.training.loop import train
from seewhy.training.masks import Objective
from seewhy.training.schedule import Schedule

NAMES = ("ant", "bee", "cat", "dog", "elk")
OTHERS = ("ant", "bee", "cow", "dog", "elk")


def helper(names: tuple[str, ...] = NAMES) -> Model:
    """A network that ends in an average over cells and a linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(4)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, stride=2),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 9, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(9, 5),
        )
    return Model(net.eval().requires_grad_(False), labels=names)


def images(n: int = 4) -> Tensor:
    return networks.batch((3, 16, 16), n=n, seed=6)


def class_map(net: nn.Sequential, x: Tensor, c: int) -> Tensor:
    """Zhou et al., of log(p / (1 - p)) in place of the score, float64; of mean 0 and deviation 1.

    The slope of the log-odds in score j is 1 for the class, and minus the share that j has of the others.
    """
    with torch.no_grad():
        features = net[:5].double()(x.double())
        scores = net[5:].double()(features)[0]
        others = scores.clone()
        others[c] = float("-inf")
        slope = -others.softmax(0)
        slope[c] = 1
        return standard((features * (slope @ net[7].weight)[:, None, None]).sum(1))


def odds_times_slope(net: nn.Sequential, x: Tensor, c: int) -> Tensor:
    """The same at the first rectifier, its slope by differences of the log-odds in float64."""
    front, rest = net[:3].double(), net[3:].double()
    with torch.no_grad():
        cells = front(x.double())
        step = 1e-6 * torch.eye(cells.numel(), dtype=torch.float64).reshape(-1, *cells.shape[1:])
        scores = rest(torch.cat([cells + step, cells - step]))
        p = scores.softmax(1)[:, c]
        above, below = (p / (1 - p)).log().chunk(2)
        slope = ((above - below) / 2e-6).reshape(cells.shape)
        return standard((slope * cells).sum(1))


def standard(found: Tensor) -> Tensor:
    found = found - found.mean((1, 2), keepdim=True)
    return found / found.square().mean((1, 2), keepdim=True).sqrt()


def layered(count: int) -> tuple[Features, tuple[Stage, ...]]:
    auxiliary = helper()
    stages = find_stages(auxiliary, (3, 16, 16), ("2", "4"))
    return Features(auxiliary, stages), evidence_stages(auxiliary, helper(), stages, (3, 16, 16), count)


def test_evidence_is_slope_times_activation_of_the_log_odds() -> None:
    x = images()
    classes = torch.tensor([[0, 3], [1, 1], [2, 4], [4, 0]])
    (*maps, fine, last), output = with_evidence(*layered(2), x, classes)
    own = with_evidence(*layered(2), x, None)[0][-1]
    torch.testing.assert_close(own, with_evidence(*layered(2), x, output.argmax(1)[:, None])[0][-1])
    assert [m.shape[1] for m in maps] == [6, 9]
    assert not any(m.requires_grad for m in (*maps, fine, last))
    for i in range(4):
        for k in range(2):
            c = int(classes[i, k])
            for found, reference in ((last, class_map), (fine, odds_times_slope)):
                want = reference(helper().module, x[i : i + 1], c)[0]
                torch.testing.assert_close(found[i, k].double(), want, rtol=1e-3, atol=1e-4)


def test_evidence_of_another_class_or_of_the_score_is_another() -> None:
    """Planted bugs: the slope of the wrong class, and that of the score, are noticed."""
    x = images()
    found = with_evidence(*layered(1), x, torch.ones(4, 1, dtype=torch.long))[0][-1]
    net = helper().module
    assert not torch.allclose(found[0, 0].double(), class_map(net, x[:1], 0)[0], atol=0.1)
    with torch.no_grad():
        score = standard((net[:5](x[:1].double()) * net[7].weight[1][:, None, None]).sum(1))[0]
    assert not torch.allclose(found[0, 0].double(), score, atol=0.1)


def test_evidence_in_more_layers_than_there_are_is_refused() -> None:
    with pytest.raises(DoesNotFit, match="It has 2 to read it in: 2, 4"):
        layered(3)
    with pytest.raises(BadInput, match="0 or more"):
        PTAMETraining("any", evidence=-1)


@pytest.mark.parametrize("names", [OTHERS, None])
def test_networks_of_other_classes_are_refused(names: tuple[str, ...] | None) -> None:
    with pytest.raises(DoesNotFit, match="do not name the same classes"):
        evidence_stages(helper(), Model(networks.cnn(), labels=names), (), (3, 16, 16), 1)


def test_the_head_adds_evidence_to_its_map() -> None:
    head = AttentionHead((6, 9), 5, shared=True, evidence=2).eval()
    features = [torch.randn(2, c, n, n) for c, n in ((6, 8), (9, 4), (1, 8), (1, 4))]
    classes = torch.tensor([1, 3])
    wide = interpolate(features[-1], (8, 8), mode="bilinear")[:, 0]
    beginning = 0.5 * features[2][:, 0] + wide  # a layer counts half as much as the one behind it
    torch.testing.assert_close(head(features, classes), beginning)
    with torch.no_grad():
        head.fusion.normal_()
        head.shared.normal_()
        head.trust.copy_(torch.tensor([0.2, 0.4]))
    bare = AttentionHead((6, 9), 5, shared=True)
    bare.load_state_dict({k: v for k, v in head.state_dict().items() if k != "trust"})
    bare.eval()
    added = 0.2 * features[2][:, 0] + 0.4 * wide
    torch.testing.assert_close(head(features, classes), bare(features[:2], classes) + added)
    factors = torch.arange(5.0)[:, None, None]
    several = [*features[:2], *(e.expand(-1, 5, -1, -1) * factors for e in features[2:])]
    every = head.every(several, torch.arange(5))
    for c in range(5):
        one = [*features[:2], *(e[:, c : c + 1] for e in several[2:])]
        torch.testing.assert_close(every[:, c], head(one, torch.full((2,), c)), rtol=1e-4, atol=1e-5)
    again, row = AttentionHead.unpacked(head.packed([3, 0, 9, 0, 1]), 5)
    torch.testing.assert_close(
        again(features, row[torch.tensor([2, 2])]), head(features, torch.tensor([2, 2]))
    )


def trained(objective: Objective = "ranked", *, evidence: int = 2) -> tuple[Explainer, Model]:
    model = Model(networks.cnn(), labels=NAMES)
    training = PTAMETraining(
        provide(helper()), stages=("2", "4"), ce=1.0, objective=objective, shared=True, evidence=evidence
    )
    schedule = Schedule(steps=6, batch=4, precision="fp32", checkpoint=0)
    return train(training, model, explainers.Images(), schedule), model


def test_an_explainer_that_takes_evidence_explains(tmp_path: Path) -> None:
    made, model = trained()
    file = made.save(tmp_path / "e")
    x = images()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of coverage
        asked = seewhy.explain(model, x, "ptame", 3, explainer=str(file))
        singles = torch.cat(
            [seewhy.explain(model, one[None], "ptame", 3, explainer=str(file)).native for one in x]
        )
        power = seewhy.explain(model, x, "ptame", 3, explainer=str(file), gamma=0.5)
    torch.testing.assert_close(asked.native, singles, atol=2e-2, rtol=0)  # ranks: near ties may turn
    torch.testing.assert_close(power.native, asked.native.sqrt())
    every = PTAME(explainer=str(file)).all_classes(model, x, [1, 3])
    torch.testing.assert_close(shares_below(every[:, 1]), asked.native, atol=2e-2, rtol=0)
    assert made.auxiliary is not None
    assert made.auxiliary["evidence"] == ["2", "4"]
    assert made.tensors["trust"].tolist() == [0.5, 1]  # not trained


@pytest.mark.parametrize("evidence", [0, 2])
def test_a_network_that_is_its_own_auxiliary_is_asked_once_a_step(evidence: int) -> None:
    model = helper()
    training = PTAMETraining(
        provide(helper()), stages=("2", "4"), ce=1.0, objective="ranked", evidence=evidence
    )
    steps = []
    for itself in (True, False):
        trainee = training.begin(model, (3, 16, 16), 5, 0)
        assert trainee.itself
        trainee.itself = itself
        with model.untouched(), count_calls(model.module, trainee.features.model.module) as calls:
            steps.append(trainee.step(images()))
        assert len(calls) == (2 if itself else 3)
    torch.testing.assert_close(steps[0].loss, steps[1].loss)
    assert torch.equal(steps[0].classes, steps[1].classes)
    assert (
        not PTAMETraining(provide(helper()), stages=("2", "4"))
        .begin(Model(networks.cnn(), labels=NAMES), (3, 16, 16), 5, 0)
        .itself
    )


@contextmanager
def count_calls(*modules: nn.Module) -> Iterator[list[int]]:
    """Yield a list that grows by one with each call of one of the modules."""
    calls: list[int] = []
    hooks = [m.register_forward_hook(lambda *_: calls.append(1)) for m in modules]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def test_evidence_of_an_earlier_form_is_refused(tmp_path: Path) -> None:
    made, _ = trained()
    assert made.auxiliary is not None
    file = replace(made, auxiliary={**made.auxiliary, "evidence": "4"}).save(tmp_path / "old")
    with pytest.raises(UnreadableInput, match="read no more"):
        open_explainer(file)


def test_own_rows_learn_at_a_tenth_of_the_rate() -> None:
    """Adam's first step moves each weight by the rate, whatever its slope."""
    model = Model(networks.cnn(), labels=NAMES)
    training = PTAMETraining(
        provide(helper()), stages=("2", "4"), ce=1.0, objective="ranked", shared=True, evidence=1
    )
    schedule = Schedule(steps=1, batch=8, rate=1e-2, precision="fp32", checkpoint=0, weight_decay=0)
    made = train(training, model, explainers.Images(), schedule).tensors["fusion"]
    shared, own = made[-1], made[:-1] - made[-1]
    assert float(shared.abs().max()) > 0
    assert float(own.abs().max()) == pytest.approx(0.1 * float(shared.abs().max()), rel=1e-3)


def test_the_warning_says_what_an_uncovered_class_is_explained_by() -> None:
    plain, guessing = trained("paper", evidence=0)[0], trained()[0]
    index = guessing.coverage.index(0)
    assert "what its auxiliary network holds for it" in guessing.warning(index, "elk", "rise")
    assert "auxiliary" not in plain.warning(index, "elk", "rise")


def test_ranks_are_shares_of_lower_cells() -> None:
    z = torch.tensor([[[3.0, 1.0], [1.0, 7.0]], [[0.0, 0.0], [0.0, 0.0]]])
    want = torch.tensor([[[2 / 3, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    torch.testing.assert_close(shares_below(z), want)


@pytest.mark.parametrize("gamma", [0, -1.0])
def test_a_power_that_turns_the_order_is_refused(gamma: float) -> None:
    with pytest.raises(BadInput, match="more than 0"):
        PTAME(gamma=gamma)
