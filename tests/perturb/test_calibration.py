"""The trial before a long run: which copy of the network scores, and that it is a true one."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.execution import Execution
from seewhy.models import onednn
from seewhy.models.model import Model
from seewhy.models.replica import replicate
from seewhy.perturb import calibration
from seewhy.perturb.calibration import Calibration, calibrate, forget
from seewhy.perturb.masks import MaskEdits, RandomGrids
from seewhy.perturb.scorer import Scorer
from seewhy.question import Question, ask
from seewhy.targets import Neuron

SHAPE = (3, 16, 16)


def pose(net: nn.Module | None = None, target: object = 1, n: int = 2, **options: object) -> Question:
    model = Model(net or networks.normalised())
    return ask(model, networks.batch(SHAPE, n=n), target, Execution(**options), "probability")  # type: ignore[arg-type]


def masks(count: int = 200) -> MaskEdits:
    return MaskEdits(RandomGrids(SHAPE[1:], (3, 3), count, 0.5, seed=0), None)


def found(question: Question, edits: MaskEdits | None = None) -> Calibration:
    return calibrate(question, edits or masks(), None, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_replica_gives_the_same_answers(dtype: torch.dtype) -> None:
    net, x = networks.normalised(), networks.batch(SHAPE, n=4)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    replica = replicate(net, x, dtype, fold=True)
    assert replica.folded == 2
    with torch.no_grad():
        gap = float((net(x) - replica.module(x.to(dtype)).float()).abs().max() / net(x).abs().max())
    assert gap < (1e-5 if dtype == torch.float32 else 0.03)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items()), "the original is not touched"


def test_what_is_called_twice_is_not_folded() -> None:
    net, x = networks.normalised(twice=True), networks.batch(SHAPE)
    replica = replicate(net, x, torch.float32, fold=True)
    assert replica.folded == 1
    with torch.no_grad():
        assert torch.allclose(net(x), replica.module(x), atol=1e-4)


def test_a_network_that_reads_what_was_folded_is_copied_without_folding() -> None:
    question = pose(networks.normalised(peek=True))
    replica = replicate(question.model.module, question.x, torch.float32, fold=True)
    with torch.no_grad():
        assert not torch.allclose(question.model.module(question.x), replica.module(question.x), atol=1e-3)
    chosen = found(question)
    assert chosen.replica is not None
    assert chosen.replica.folded == 0
    assert chosen.facts["tried"]["fp32, folded"]["noise"] > 1e-3


@pytest.mark.parametrize("precision", ["fp32", "auto", "bf16"])
def test_scores_of_the_chosen_copy_are_those_of_the_network(precision: str) -> None:
    exact = pose(precision="fp32")
    own = torch.stack([exact.scores(e).detach() for e in _edited(exact)], 1)
    scorer = Scorer(pose(precision=precision))
    table = scorer.table(masks())
    facts = scorer.notes()["scoring"]
    assert facts["folded"] == 2
    tolerance = 1e-5 if facts["precision"] == "fp32" else 2 * facts["largest"]
    assert float((table - own).abs().max()) <= tolerance


def _edited(question: Question) -> list[Tensor]:
    from seewhy.perturb.edits import Jobs

    edits, n = masks(), len(question.x)
    jobs = Jobs.between(0, n * edits.count, n, question.x.device)
    return list(edits.apply(question.x, jobs).reshape(edits.count, n, *SHAPE))


def test_half_precision_is_taken_when_it_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_halves", lambda _: ("bf16",))
    assert found(pose()).facts["tried"]["bf16"]["noise"] > 0
    monkeypatch.setattr(calibration, "_CLOSE", 1.0)
    assert found(pose()).precision == "bf16"
    monkeypatch.setattr(calibration, "_CLOSE", 1e-9)
    chosen = found(pose())
    assert chosen.precision == "fp32"
    assert chosen.replica is not None


def test_halves_that_overflow_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loud(nn.Module):
        """Its answer is finite, but a number on the way is beyond fp16."""

        def __init__(self) -> None:
            super().__init__()
            self.net = networks.normalised()

        def forward(self, x: Tensor) -> Tensor:
            return (self.net(x) + 1e6) - 1e6 if x.dtype == torch.float32 else self.net(x) * 1e6

    monkeypatch.setattr(calibration, "_halves", lambda _: ("fp16",))
    chosen = found(pose(Loud()))
    assert chosen.precision == "fp32"
    assert "failed" in chosen.facts["tried"]["fp16"] or chosen.facts["tried"]["fp16"]["noise"] > 0.05


def test_a_network_that_cannot_be_copied_scores_itself() -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = networks.normalised()

        def __deepcopy__(self, memo: object) -> nn.Module:
            raise RuntimeError("there is only one")

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    chosen = found(pose(Single()))
    assert chosen.replica is None
    assert "there is only one" in chosen.facts["tried"]["fp32"]["failed"]


def test_a_trial_is_made_once_and_again_when_weights_change() -> None:
    net = networks.normalised()
    first = found(pose(net))
    assert found(pose(net)) is first, "kept with the network, for every Model of it"
    with torch.no_grad():
        net.head.weight[0, 0] += 1
    assert found(pose(net)) is not first


def test_trial_passes_are_reported_apart() -> None:
    question = pose()
    before = question.passes.forward
    facts = found(question).facts
    assert question.passes.forward == before
    assert facts["trial_passes"] == 16


def test_short_runs_make_no_trial_but_use_an_earlier_one() -> None:
    net = networks.normalised()
    assert found(pose(net, n=1), masks(20)).replica is None
    assert found(pose(net, precision="fp32")).replica is not None
    assert found(pose(net, n=1, precision="fp32"), masks(20)).replica is not None


def test_runs_whose_trials_are_kept_apart_share_the_copy() -> None:
    net = networks.normalised()
    question = pose(net, precision="fp32")
    first = found(question)
    trials = forget(question.model)
    second = found(pose(net, precision="fp32"))
    assert second is not first, "a trial of its own"
    assert second.replica is first.replica is not None
    alive = weakref.ref(first.replica)
    with torch.no_grad():
        net.head.weight[0, 0] += 1
    assert found(pose(net, precision="fp32")).replica is not first.replica
    del first, second
    trials.clear()
    forget(question.model)
    gc.collect()
    assert alive() is None, "kept by the runs alone"


def test_targets_inside_the_network_are_read_from_an_unfolded_copy() -> None:
    target = Neuron("conv1", 2)
    chosen = found(pose(target=target))
    assert chosen.replica is None or chosen.replica.folded == 0


def test_other_types_of_weights_are_left_alone() -> None:
    question = ask(
        Model(networks.normalised().double()), networks.batch(SHAPE).double(), 1, Execution(), "probability"
    )
    assert found(question).facts == {"precision": "float64"}
    assert found(question).replica is None


@pytest.mark.slow
def test_the_compiled_copy_scores_alike_and_pads_the_last_batch() -> None:
    plain = Scorer(pose(precision="fp32", batch_size=16)).table(masks(50))
    scorer = Scorer(pose(precision="fp32", batch_size=16, compiled=True))
    table = scorer.table(masks(50))
    facts = scorer.notes()["scoring"]
    if "compile_failed" in facts:
        pytest.skip(facts["compile_failed"])
    assert facts["compile_seconds"] > 0
    assert float((plain - table).abs().max()) < 1e-5


def fusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this processor for an accelerator, where biases of their own cost something."""
    monkeypatch.setattr(calibration, "_biases_cost", lambda _: True)
    monkeypatch.setattr(calibration, "_halves", lambda _: ("bf16",))
    monkeypatch.setattr(calibration, "_CLOSE", 1.0)


def test_a_device_that_fuses_scores_with_a_fused_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    fusing(monkeypatch)
    exact = pose(networks.cnn(), precision="fp32")
    own = torch.stack([exact.scores(e).detach() for e in _edited(exact)], 1)
    for precision, tolerance in (("fp32", 1e-5), ("auto", 0.05)):
        scorer = Scorer(pose(networks.cnn(), precision=precision))
        assert float((scorer.table(masks()) - own).abs().max()) <= tolerance
        facts = scorer.notes()["scoring"]
        assert (facts["folded"], facts["fused"]) == (2, 2)
        assert facts["precision"] == ("fp32" if precision == "fp32" else "bf16")


def test_an_untrue_fused_copy_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the fused convolution forgets to rectify."""
    fusing(monkeypatch)
    monkeypatch.setitem(onednn.KERNELS, nn.ReLU, ("none", []))
    chosen = found(pose(networks.cnn(), precision="fp32"))
    assert chosen.facts["tried"]["fp32, folded, fused"]["noise"] > 1e-3
    assert chosen.replica is not None
    assert chosen.replica.fused == 0


def test_halves_that_nothing_is_fused_in_are_not_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bias of its own costs such a device more than the normalisation."""
    fusing(monkeypatch)

    class Smooth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = networks.normalised()

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.net.bn1(self.net.conv1(x))
            z: Tensor = self.net.head(nn.functional.gelu(y).mean((2, 3)))
            return z

    chosen = found(pose(Smooth().eval()))
    assert chosen.precision == "bf16"
    assert chosen.replica is not None
    assert (chosen.replica.folded, chosen.replica.fused) == (0, 0)


def test_a_fused_copy_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    fusing(monkeypatch)
    scorer = Scorer(pose(networks.cnn(), compiled=True))
    scorer.table(masks())
    assert "compile_seconds" not in scorer.notes()["scoring"]
