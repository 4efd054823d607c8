"""Targets: what each asks, how they combine, what they refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import networks
from seewhy import targets
from seewhy.errors import BadInput, DoesNotFit, UnknownName
from seewhy.execution import Execution
from seewhy.models.model import Model
from seewhy.question import Question, ask
from seewhy.targets import Class, Combination, Custom, Output, Similarity, contrast

LABELS = ["tabby, tabby cat", "tiger cat", "Egyptian_cat", "lynx", "snow leopard"]
X = networks.batch((3, 16, 16), n=3)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(networks.cnn(), labels=LABELS)


def question(model: Model, target: object, prefers: str = "logit") -> Question:
    with model.untouched():
        return ask(model, X, target, Execution(), prefers)  # type: ignore[arg-type]


def logits(model: Model) -> Tensor:
    with torch.no_grad():
        return model.module(X)


CASES: dict[str, tuple[object, Callable[[Tensor], Tensor]]] = {
    "index": (3, lambda z: z[:, 3]),
    "label": ("lynx", lambda z: z[:, 3]),
    "synonym": ("Tabby Cat", lambda z: z[:, 0]),
    "underscore": ("egyptian cat", lambda z: z[:, 2]),
    "number in text": ("4", lambda z: z[:, 4]),
    "top": (None, lambda z: z.amax(1)),
    "second": ("top 2", lambda z: z.topk(2).values[:, 1]),
    "probability": (Class(1, "probability"), lambda z: z.softmax(1)[:, 1]),
    "log probability": (Class(1, "log_probability"), lambda z: z.log_softmax(1)[:, 1]),
    "contrast": ("lynx vs tiger cat", lambda z: z[:, 3] - z[:, 1]),
    "contrast, composed": (contrast(3, "tiger cat"), lambda z: z[:, 3] - z[:, 1]),
    "weighted": (0.5 * Class(0) + Class(1) - 2 * Class(2), lambda z: 0.5 * z[:, 0] + z[:, 1] - 2 * z[:, 2]),
    "negative": (-Class(0), lambda z: -z[:, 0]),
    "output": (Output(2), lambda z: z[:, 2]),
    "function": (lambda z: z.square().sum(1), lambda z: z.square().sum(1)),
    "one each": (
        [0, "lynx", Custom(lambda z: z[:, 2] * 3)],
        lambda z: torch.stack([z[0, 0], z[1, 3], z[2, 2] * 3]),
    ),
    "cosine": (Similarity(torch.ones(5)), lambda z: torch.cosine_similarity(z, torch.ones(1, 5), dim=1)),
    "own embedding": (Similarity(), lambda z: z.norm(dim=1)),
}


@pytest.mark.parametrize("case", CASES)
def test_scores(model: Model, case: str) -> None:
    target, formula = CASES[case]
    q = question(model, target)
    torch.testing.assert_close(q.clean, formula(logits(model)))
    # Any batch of copies, in any order, gets the score of the sample it belongs to.
    rows = torch.tensor([2, 0, 0, 1])
    with torch.no_grad():
        torch.testing.assert_close(q.scores(X[rows], rows), formula(logits(model))[rows])


def test_the_method_chooses_the_score_that_the_target_leaves_open(model: Model) -> None:
    assert question(model, 2, "logit").target.descriptions[0]["score"] == "logit"
    assert question(model, 2, "probability").target.descriptions[0] == {
        "label": "Egyptian_cat",
        "index": 2,
        "score": "probability",
    }
    assert question(model, Class(2, "logit"), "probability").target.descriptions[0]["score"] == "logit"


def test_descriptions_read_like_the_question(model: Model) -> None:
    assert question(model, "lynx vs tiger cat").target.descriptions[0]["label"] == "lynx - tiger cat"
    assert (
        question(model, 0.5 * Class("lynx") + Class(1)).target.descriptions[0]["label"]
        == "0.5 x lynx + tiger cat"
    )


def test_layers_of_combined_targets_are_collected() -> None:
    both = targets.Neuron("0", 1) + targets.Neuron("3", 2) * 2
    assert isinstance(both, Combination)
    assert targets.layers_of([both, None, 3]) == ("0", "3")


def test_neuron_is_the_channel_of_a_layer(model: Model) -> None:
    with torch.no_grad():
        maps = model.module[:4](X)
    torch.testing.assert_close(question(model, targets.Neuron("3", 2)).clean, maps[:, 2].mean((1, 2)))
    torch.testing.assert_close(question(model, targets.Neuron("3", 2, (1, 5))).clean, maps[:, 2, 1, 5])


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("tabi", UnknownName, "Did you mean 'tabby'"),
        ("linx", UnknownName, "lynx"),
        (5, BadInput, "classes 0 to 4"),
        (-1, BadInput, "classes 0 to 4"),
        ("top 9", BadInput, "5 classes"),
        (True, BadInput, "Found True"),
        ([1, 2], BadInput, "There are 3 samples"),
        (lambda z: z, BadInput, r"Return one number a sample: shape \(3,\)"),
        (Similarity(torch.ones(4)), BadInput, "width 5"),
        (targets.Neuron("nowhere", 0), UnknownName, "layer 'nowhere'"),
        (targets.Neuron("3", 99), BadInput, "It has 8"),
        (targets.Neuron("3", 2, (8, 0)), BadInput, "Choose one of 8 x 8"),
        (targets.Neuron("3", 2, (0, -1)), BadInput, "Choose one of 8 x 8"),
        (targets.Neuron("3", 2, (1,)), BadInput, "Choose one of 8 x 8"),
        (targets.Neuron("7", 2, (0, 0)), BadInput, "It has no cells"),
    ],
)
def test_refuses(model: Model, target: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        question(model, target)


def test_a_label_needs_labels() -> None:
    with pytest.raises(BadInput, match="has no labels"):
        question(Model(networks.cnn()), "tabby")


def test_encoders_have_no_classes_and_a_default_of_their_own() -> None:
    encoder = Model(networks.cnn(), kind="embedding")
    with pytest.raises(DoesNotFit, match=r"an embedding, not classes.*Similarity"):
        question(encoder, 3)
    assert question(encoder, None).target.descriptions[0]["label"] == "similarity to its own embedding"


def test_regression_takes_its_only_output() -> None:
    q = question(Model(networks.cnn(classes=1)), None)
    torch.testing.assert_close(q.clean, logits(Model(networks.cnn(classes=1)))[:, 0])
    assert q.target.descriptions[0]["label"] == "output 0"


def test_sigmoid_and_ready_probabilities() -> None:
    z = logits(Model(networks.cnn()))
    for activation, expected in (("sigmoid", z.sigmoid()), ("none", z)):
        q = question(Model(networks.cnn(), activation=activation), Class(1, "probability"))  # type: ignore[arg-type]
        torch.testing.assert_close(q.clean, expected[:, 1])


def test_a_class_each_is_one_look_up_for_all(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [4, "lynx", Class(0)]
    expected = [float(question(model, t, "probability").clean[i]) for i, t in enumerate(wanted)]
    calls: list[int] = []
    probabilities = Model.probabilities
    monkeypatch.setattr(Model, "probabilities", lambda *a: calls.append(0) or probabilities(*a))
    q = question(model, wanted, "probability")
    assert calls == [0]
    assert q.clean.tolist() == expected
    assert [d["index"] for d in q.target.descriptions] == [4, 3, 0]
    mixed = question(model, [Class(4, "logit"), Class(4, "probability"), 0], "probability")
    assert mixed.clean.tolist() == pytest.approx(
        [float(logits(model)[0, 4]), float(logits(model).softmax(1)[1, 4]), expected[2]], rel=1e-5
    )
