"""Evaluate: attributions and baselines side by side, under the target that was explained."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

import networks
from seewhy.attribution import Attribution
from seewhy.errors import BadInput, Cancelled, DoesNotFit, UnknownName
from seewhy.execution import Execution
from seewhy.methods.masking.occlusion import Occlusion
from seewhy.methods.masking.rise import RISE
from seewhy.metrics.base import METRICS
from seewhy.metrics.baselines import BASELINES
from seewhy.metrics.evaluation import evaluate, list_metrics
from seewhy.metrics.faithfulness.deletion import Deletion
from seewhy.metrics.table import Row, Table
from seewhy.models.model import Model
from seewhy.question import ask
from seewhy.targets import Class, Neuron, Output, Similarity, Target, Top, contrast

QUICK = (Deletion(steps=16), METRICS["insertion"](steps=16))  # type: ignore[call-arg]


def explained(n: int = 3, target: object = 1) -> tuple[Model, Tensor, Attribution]:
    model, x = Model(networks.cnn().eval()), networks.batch((3, 16, 16), n=n)
    return model, x, Occlusion(window=4)(model, x, target)  # type: ignore[arg-type]


def test_rows_of_every_sample_method_and_metric() -> None:
    model, x, occlusion = explained()
    rise = RISE(masks=50)(model, x, 1)
    table = evaluate(model, x, [occlusion, rise, rise], QUICK)
    methods = ["occlusion", "rise", "rise (2)", *BASELINES]
    assert [(r.sample, r.method, r.metric) for r in table] == [
        (f"input {i}", m, k) for i in range(3) for m in methods for k in ("deletion", "insertion")
    ]
    assert {r.method for r in table if r.baseline} == set(BASELINES)
    assert all(0 <= r.value <= 1 for r in table)
    question = ask(model, x, 1, Execution(), "probability")
    alone = QUICK[0].measure(question, rise.values).values.tolist()
    assert [r.value for r in table if (r.method, r.metric) == ("rise", "deletion")] == pytest.approx(
        alone, abs=1e-6
    )
    assert table.provenance["passes"]["forward"] == 1 + 6 * 2 * 17


def test_one_attribution_one_metric_without_baselines() -> None:
    model, x, occlusion = explained()
    table = evaluate(model.module, x, occlusion, "deletion", baselines=False, batch_size=100)
    assert {(r.method, r.metric) for r in table} == {("occlusion", "deletion")}
    assert len(table) == 3


@pytest.mark.parametrize("target", [1, [0, 2, 1], Top(2), Class(3, "logit")])
def test_the_explained_target_is_measured(target: object) -> None:
    model, x, occlusion = explained(target=target)
    found = evaluate(model, x, occlusion, QUICK)
    classes = [entry["target"]["index"] for entry in occlusion.provenance["inputs"]]
    given = evaluate(model, x, occlusion, QUICK, target=classes)
    assert [r.value for r in found] == [r.value for r in given]
    assert [r.value for r in found] != [r.value for r in evaluate(model, x, occlusion, QUICK, target=4)]
    assert found.provenance["inputs"][0]["target"]["score"] == "probability"


def test_targets_without_classes() -> None:
    x = networks.batch((3, 16, 16))
    for kind, target in (("regression", Output(2)), ("embedding", Similarity())):
        model = Model(networks.cnn().eval(), kind=kind)  # type: ignore[arg-type]
        result = Occlusion(window=4)(model, x, target)
        assert len(evaluate(model, x, result, QUICK)) == 2 * 2 * 4


@pytest.mark.parametrize(
    "target", [contrast(0, 1), 2 * Class(0) - Output(3), Neuron("8", 2), Neuron("3", 1, (2, 3))]
)
def test_composed_and_inner_targets_are_rebuilt(target: Target) -> None:
    model, x, result = explained(target=target)
    assert [r.value for r in evaluate(model, x, result, QUICK)] == [
        r.value for r in evaluate(model, x, result, QUICK, target=target)
    ]


def test_curves_are_means_over_the_samples_and_end_up_with_the_areas() -> None:
    model, x, result = explained()
    table = evaluate(model, x, result, QUICK)
    curves = {(c.method, c.metric): c for c in table.curves()}
    assert len(curves) == 2 * 4
    for summary in table.mean():
        c = curves[summary.method, summary.metric]
        assert (c.at[0], c.at[-1], c.baseline) == (0, 1, summary.baseline)
        steps = zip(c.at[:-1], c.at[1:], c.scores[:-1], c.scores[1:], strict=True)
        assert sum((b - a) * (s + t) / 2 for a, b, s, t in steps) == pytest.approx(summary.mean, abs=1e-5)


def test_targets_that_cannot_be_rebuilt_must_be_given() -> None:
    def target(raw: torch.Tensor) -> torch.Tensor:
        return raw[:, 0]

    model, x, result = explained(target=target)
    with pytest.raises(DoesNotFit, match="Give target="):
        evaluate(model, x, result, QUICK)
    assert len(evaluate(model, x, result, QUICK, target=target, baselines=False)) == 6


def test_what_does_not_belong_together_is_refused() -> None:
    model, x, result = explained()
    with pytest.raises(BadInput, match="other inputs"):
        evaluate(model, x.flip(0), result)
    with pytest.raises(BadInput, match="3 inputs"):
        evaluate(model, x[:2], result)
    with pytest.raises(BadInput, match="different targets"):
        evaluate(model, x, [result, Occlusion(window=4)(model, x, 2)])
    with pytest.raises(BadInput, match="empty"):
        evaluate(model, x, [])
    with pytest.raises(BadInput, match="No metric"):
        evaluate(model, x, result, [])
    with pytest.raises(UnknownName, match="Did you mean 'deletion'"):
        evaluate(model, x, result, "deletoin")


def test_cancel_and_the_model_as_found() -> None:
    model, x, result = explained()
    model.module.train()
    with pytest.raises(Cancelled):
        evaluate(model, x, result, QUICK, cancelled=lambda: True)
    assert model.module.training


def test_json_and_seeds() -> None:
    model, x, result = explained()
    first, again, other = (evaluate(model, x, result, QUICK, seed=s) for s in (0, 0, 1))
    assert json.dumps(first.to_json(), allow_nan=False) == json.dumps(again.to_json(), allow_nan=False)
    random = [[r.value for r in t if r.method == "random"] for t in (first, other)]
    assert random[0] != random[1]


def test_list_metrics() -> None:
    listed = {m.name: m for m in list_metrics()}
    assert listed["deletion"].cost.forward == listed["insertion"].cost.forward == 225
    assert not listed["deletion"].higher_is_better
    assert listed["insertion"].higher_is_better
    assert all(
        METRICS[name].__module__ and listed[name].bounds == (0, 1) for name in ("deletion", "insertion")
    )


# -- the table ---------------------------------------------------------------------------------------------


def table(values: dict[str, list[float]]) -> Table:
    rows = [
        Row(f"s{i}", m, "deletion", v, m == "random")
        for m, each in values.items()
        for i, v in enumerate(each)
    ]
    return Table(tuple(rows), {"deletion": False})


def test_means_and_intervals() -> None:
    drawn = torch.randn(400, generator=torch.Generator().manual_seed(0)).tolist()
    (summary,) = table({"rise": drawn}).mean()
    assert summary.mean == pytest.approx(sum(drawn) / 400)
    assert summary.low is not None
    assert summary.high is not None
    # The bootstrap of a mean of many normal numbers is near mean +- 1.96 / sqrt(n).
    assert summary.high - summary.low == pytest.approx(
        2 * 1.96 * torch.tensor(drawn).std().item() / 20, rel=0.1
    )
    assert table({"rise": drawn}).mean() == table({"rise": drawn}).mean()


def test_few_and_undefined_samples() -> None:
    nan = float("nan")
    one, some, none = table({"a": [0.5, nan], "b": [0.25, 0.75, nan], "c": [nan]}).mean()
    assert (one.mean, one.low, one.samples, one.undefined) == (0.5, None, 1, 1)
    assert (some.mean, some.samples, some.undefined) == (0.5, 2, 1)
    assert some.low == 0.25
    assert some.high == 0.75
    assert (none.mean, none.samples, none.undefined) == (None, 0, 1)
    document = table({"a": [0.5, nan]}).to_json()
    assert [r["value"] for r in document["rows"]] == [0.5, None]
    json.dumps(document, allow_nan=False)


def test_text_and_html() -> None:
    shown = table({"rise": [0.1, 0.3], "<b>": [0.5, 0.5], "random": [float("nan"), float("nan")]})
    assert str(shown) == (
        "method             deletion (lower is better)\n"
        "-----------------  --------------------------\n"
        "rise               0.200 [0.100, 0.300]\n"
        "<b>                0.500 [0.500, 0.500]\n"
        "random (baseline)  undefined\n"
        "\n"
        "Mean over 2 samples [95 % bootstrap interval over samples].\n"
        "deletion tells nothing apart on these 2 samples."
    )
    page = shown._repr_html_()
    assert "&lt;b&gt;" in page
    assert "<td>0.200 [0.100, 0.300]</td>" in page
    assert "No interval" not in str(table({"rise": [0.1, 0.2]}))
    assert str(table({"rise": [0.1]})).endswith("One sample; no interval can be told from it.")
