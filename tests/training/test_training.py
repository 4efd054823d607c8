"""The training loop: what losses lead to, frozen networks, checkpoints, cancelling, coverage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import explainers
import networks
from seewhy.conformance import state_of
from seewhy.errors import BadInput, Cancelled, DoesNotFit, NotFinite
from seewhy.execution import Execution
from seewhy.methods.learned.explainer import Explainer, auxiliary_network
from seewhy.models.model import Model
from seewhy.training import masks
from seewhy.training.attention import PTAMETraining
from seewhy.training.checkpoints import place
from seewhy.training.coverage import table
from seewhy.training.loggers import Lines
from seewhy.training.loop import arithmetic, train
from seewhy.training.schedule import Schedule

QUICK = Schedule(steps=12, batch=4, precision="fp32", checkpoint=5)


def training(**parameters: object) -> PTAMETraining:
    return PTAMETraining(explainers.auxiliary(), **parameters)  # type: ignore[arg-type]


def trained(out: Path | None = None, schedule: Schedule = QUICK, **run: object) -> Explainer:
    model = Model(networks.cnn())
    return train(training(), model, explainers.Images(), schedule, Execution(**run), out=out)  # type: ignore[arg-type]


def same(a: Explainer, b: Explainer) -> bool:
    return a.coverage == b.coverage and all(torch.equal(a.tensors[k], b.tensors[k]) for k in a.tensors)


def mask_after(steps: int, **weights: float) -> torch.Tensor:
    """Train a head for some steps and return its masks."""
    trainee = explainers.begun(networks.cnn(), **weights)
    source = explainers.Images()
    optimiser = torch.optim.AdamW(trainee.module.parameters(), lr=0.05)
    for step in range(steps):
        optimiser.zero_grad()
        trainee.step(source.batch(0, torch.arange(step * 8, step * 8 + 8))).loss.backward()
        optimiser.step()
    x = source.batch(0, torch.arange(8))
    with torch.no_grad():
        features, _ = trainee._features(x)  # type: ignore[attr-defined]
        classes = trainee.model.answer(x).output.argmax(1)  # type: ignore[attr-defined]
        return trainee.module(features, classes).sigmoid()


def test_without_a_price_for_area_everything_is_shown() -> None:
    """The network's own answer is surest on the whole input where hiding costs."""

    class Bright(torch.nn.Module):
        """Two classes; the more is shown, the surer the answer."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen = x.abs().mean((1, 2, 3))
            return torch.stack([8 * seen, torch.zeros_like(seen)], 1)

    trainee = explainers.begun(Bright(), ce=1.0, area=0.0)
    source = explainers.Images()
    optimiser = torch.optim.AdamW(trainee.module.parameters(), lr=0.1)
    x = source.batch(0, torch.arange(16))
    for _ in range(30):
        optimiser.zero_grad()
        trainee.step(x).loss.backward()
        optimiser.step()
    features, _ = trainee._features(x)  # type: ignore[attr-defined]
    mask = trainee.module(features, torch.zeros(16, dtype=torch.long)).sigmoid()
    assert float(mask.detach().mean()) > 0.9


def test_without_a_price_for_the_answer_nothing_is_shown() -> None:
    assert float(mask_after(30, ce=0.0, area=1.0).mean()) < 0.05
    assert float(mask_after(0, ce=0.0, area=1.0).mean()) > 0.2  # it was not so from the beginning


@pytest.mark.parametrize("objective", ["paper", "shown", "surer", "ranked"])
def test_frozen_networks_are_left_bit_for_bit(objective: str) -> None:
    model = Model(networks.cnn())
    model.module.train()
    next(model.module.parameters()).requires_grad_(False)
    helper = auxiliary_network(explainers.auxiliary())
    before = state_of(model.module), state_of(helper.module)
    train(training(objective=objective, shared=True), model, explainers.Images(), QUICK)
    assert (state_of(model.module), state_of(helper.module)) == before


class Brightness(torch.nn.Module):
    """Two classes; the log-odds of the first are `factor` times the mean of the input's magnitude."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x.abs().mean((1, 2, 3))
        return torch.stack([self.factor * seen, torch.zeros_like(seen)], 1)


def test_surer_asks_for_the_log_odds_that_the_mask_costs() -> None:
    trainee = explainers.begun(Brightness(8), ce=1.0, area=0.0, objective="surer")
    x = explainers.Images().batch(0, torch.arange(6))
    masks: list[torch.Tensor] = []
    masked = trainee.masked  # type: ignore[attr-defined]
    trainee.masked = lambda x, m: masks.append(masked(x, m)) or masks[0]  # type: ignore[attr-defined]
    found = float(trainee.step(x).numbers["ce"])
    lost = 8 * (x.abs().mean((1, 2, 3)) - masks[0].detach().abs().mean((1, 2, 3)))
    assert found == pytest.approx(float(lost.exp().log1p().mean()), rel=1e-5)


def test_surer_cuts_as_the_metrics_do_and_cells_below_the_cut_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(64, 3, 16, 16, generator=generator)
    mask = torch.rand(64, 10, 10, generator=generator).requires_grad_()
    cut = masks.cut(mask, x, sharp=True)
    assert set((cut > 0).sum((1, 2)).tolist()) == {100, 50, 15}
    assert torch.equal(cut[cut > 0], mask[cut > 0])
    cut.sum().backward()
    assert bool((mask.grad[cut.detach() == 0] > 0).any())


def test_surer_learns_from_inputs_whose_answer_is_sure_and_cross_entropy_does_not() -> None:
    slopes = {}
    for objective in ("shown", "surer"):
        trainee = explainers.begun(Brightness(400), ce=1.0, area=0.0, objective=objective)
        trainee.step(explainers.Images().batch(0, torch.arange(8))).loss.backward()
        slopes[objective] = sum(float(p.grad.abs().sum()) for p in trainee.module.parameters())
    assert slopes["shown"] < 1e-6 < 1e-2 < slopes["surer"]


def test_a_leak_into_running_statistics_would_be_seen() -> None:
    model = Model(networks.cnn())
    before = state_of(model.module)
    model.module.train()(explainers.Images().x)
    model.module.eval()
    assert state_of(model.module) != before


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = trained()
    for stop in (3, 5, 7):
        out = tmp_path / f"{stop}.safetensors"
        calls: list[int] = []
        with pytest.raises(Cancelled, match=f"{stop} of 12 steps.*the same call goes on"):
            trained(out, cancelled=lambda stop=stop, calls=calls: len(calls) >= stop or calls.append(0))  # type: ignore[misc]
        assert place(out).exists()
        assert same(trained(out), whole)


def test_a_run_that_forgets_its_optimiser_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, calls = tmp_path / "e.safetensors", list[int]()
    with pytest.raises(Cancelled):
        trained(out, cancelled=lambda: len(calls) > 5 or calls.append(0))
    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", lambda *_: None)
    assert not same(trained(out), trained())


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    out = tmp_path / "e.safetensors"
    code = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(explainers.__file__).parent)!r})
        import torch
        torch.set_num_threads({torch.get_num_threads()})  # sums of other threads differ in a last bit
        import explainers, networks
        from pathlib import Path
        from seewhy.execution import Execution
        from seewhy.models.model import Model
        from seewhy.training.attention import PTAMETraining
        from seewhy.training.loop import train
        from seewhy.training.schedule import Schedule
        def kill(done, total, what):
            if done == 8:
                os.kill(os.getpid(), signal.SIGKILL)
        train(PTAMETraining(explainers.auxiliary()), Model(networks.cnn()), explainers.Images(),
              Schedule(steps=12, batch=4, precision="fp32", checkpoint=5), Execution(progress=kill),
              out=Path({str(out)!r}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert place(out).exists()
    assert same(trained(out), trained())


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    out, calls = tmp_path / "e.safetensors", list[int]()
    with pytest.raises(Cancelled):
        trained(out, cancelled=lambda: len(calls) > 2 or calls.append(0))
    with pytest.raises(BadInput, match="begun with other parameters, data or weights"):
        trained(out, replace(QUICK, rate=1e-4))
    with pytest.raises(BadInput, match="begun with other parameters"):
        trained(out, seed=3)
    place(out).write_bytes(b"no checkpoint")
    with pytest.raises(BadInput, match="damaged"):
        trained(out)


def test_labels_are_the_models_own_answers() -> None:
    """Coverage counts what the model says to each image, and a source has no labels that could leak."""
    model, source = Model(networks.vit()), explainers.Images()
    explainer = train(training(), model, source, replace(QUICK, steps=6))
    seen = source.batch(0, torch.arange(24))
    with model.untouched(), torch.no_grad():
        answers = model.answer(seen).output.argmax(1)
    assert explainer.coverage == tuple(torch.bincount(answers, minlength=5).tolist())
    assert table(explainer.coverage)["images"] == 24


def test_a_planted_leak_of_labels_fails() -> None:
    """A step that trained the classes of its own choice would be told by the coverage."""
    model, source = Model(networks.vit()), explainers.Images()

    class Leaking(PTAMETraining):
        def begin(self, *arguments: object) -> object:  # type: ignore[override]
            trainee = super().begin(*arguments)  # type: ignore[arg-type]
            step = trainee.step
            trainee.step = lambda x: replace(step(x), classes=torch.zeros(len(x), dtype=torch.long))  # type: ignore[method-assign]
            return trainee

    honest = train(training(), model, source, replace(QUICK, steps=6))
    leaky = train(Leaking(explainers.auxiliary()), model, source, replace(QUICK, steps=6))
    assert leaky.coverage == (24, 0, 0, 0, 0)
    assert leaky.coverage != honest.coverage


def test_looks_keep_the_best_and_patience_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([1.0, 5.0, 4.0, 3.0, 2.0, 9.0])
    monkeypatch.setattr("seewhy.training.held_out.look", lambda *_: {"score": next(scores)})
    schedule = replace(QUICK, steps=12, look=2, held_out=4, patience=2)
    explainer = trained(schedule=schedule)
    assert explainer.record["steps"] == 8
    assert [entry["score"] for entry in explainer.record["looks"]] == [1.0, 5.0, 4.0, 3.0]


@pytest.mark.parametrize("criterion", ["ad_ic", "road"])
def test_a_look_measures_the_maps_that_the_method_gives(criterion: str, tmp_path: Path) -> None:
    import seewhy
    from seewhy.metrics.faithfulness.average_drop import AverageDrop
    from seewhy.metrics.faithfulness.road import ROAD

    model, source = Model(networks.cnn()), explainers.Images()
    schedule = replace(QUICK, steps=4, look=4, held_out=4, criterion=criterion)  # type: ignore[arg-type]
    explainer = train(training(), model, source, schedule)
    explainer = explainers.with_coverage(explainer, tuple(max(c, 200 * (c > 0)) for c in explainer.coverage))
    file = explainer.save(tmp_path / "e")
    x = source.held_out()
    with model.untouched(), torch.no_grad():
        classes = model.answer(x).output.argmax(1)
    maps = seewhy.explain(model, x, "ptame", classes.tolist(), explainer=str(file))
    metric = ROAD() if criterion == "road" else AverageDrop(keep=50.0)
    table = seewhy.evaluate(model, x, maps, metric, classes.tolist(), baselines=False, precision="fp32")
    look = explainer.record["looks"][-1]
    expected = look["score"] if criterion == "road" else look["ad50"]
    assert table.mean()[0].mean == pytest.approx(
        expected, rel=0.02, abs=0.02
    )  # the file is in half precision


def test_numbers_are_logged_and_a_second_run_takes_none_back(tmp_path: Path) -> None:
    import json

    lines = Lines(tmp_path / "log.jsonl")
    train(training(), Model(networks.cnn()), explainers.Images(), QUICK, loggers=[lines])
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [10, 12]
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 1')
    lines.resume(11)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [10]


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    class Broken(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean((2, 3)) * (torch.nan if torch.is_grad_enabled() and x.requires_grad else 1)

    with pytest.raises(NotFinite, match="The loss became nan"):
        train(training(), Model(Broken()), explainers.Images(), QUICK)


def test_models_that_cannot_be_trained_for_are_refused() -> None:
    forward_only = Model(networks.cnn(), differentiable=False)
    with pytest.raises(DoesNotFit, match="only runs forward"):
        train(training(), forward_only, explainers.Images(), QUICK)
    with pytest.raises(BadInput, match="which are no classes"):
        train(training(), Model(networks.cnn(), kind="embedding"), explainers.Images(), QUICK)
    with pytest.raises(BadInput, match="Code is not run"):
        train(PTAMETraining("mine.py:net"), Model(networks.cnn()), explainers.Images(), QUICK)
    with pytest.raises(BadInput, match="not provided to this process"):
        train(PTAMETraining("weights:0123"), Model(networks.cnn()), explainers.Images(), QUICK)


def test_half_precision_is_for_frozen_passes_only() -> None:
    half = trained(schedule=replace(QUICK, precision="bf16"))
    single = trained()
    assert arithmetic("bf16", torch.device("cpu")) is torch.bfloat16
    assert arithmetic("fp32", torch.device("cpu")) is None
    with pytest.raises(BadInput, match="fp16 on a processor"):
        arithmetic("fp16", torch.device("cpu"))
    assert half.record["loss"] == pytest.approx(single.record["loss"], rel=0.05)
    assert half.record["loss"] != single.record["loss"]
