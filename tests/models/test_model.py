"""Model: kinds, predictions, the identity of its weights, and what it prepares."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from seewhy.errors import BadInput, DoesNotFit, NotFinite
from seewhy.models import Model, Preprocessing
from seewhy.models.labels import Labels


class Tiny(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).mean((2, 3)))


@pytest.fixture
def tiny() -> Tiny:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Tiny()


# -- weights ---------------------------------------------------------------------------------------


def test_hash_is_the_same_for_the_same_weights(tiny: Tiny) -> None:
    twin = Tiny()
    twin.load_state_dict(tiny.state_dict())
    assert Model(tiny).weights_hash == Model(twin).weights_hash
    assert len(Model(tiny).weights_hash) == 16


EDITS: dict[str, Any] = {
    "in place": lambda m: torch.no_grad()(lambda: m.conv.weight[0, 0, 0, 0].add_(1e-6))(),
    "through data": lambda m: m.conv.weight.data.view(-1)[5].add_(1e-6),
    "a buffer": lambda m: m.norm.running_mean[1].add_(1),
    "an integer buffer": lambda m: m.norm.num_batches_tracked.add_(1),
    "two values exchanged": lambda m: m.head.bias.data.copy_(m.head.bias.data.flip(0)),
    "a new parameter": lambda m: setattr(m.head, "bias", nn.Parameter(m.head.bias.detach() + 1)),
    "precision": lambda m: m.to(torch.bfloat16),
}


@pytest.mark.parametrize("edit", EDITS)
def test_hash_notices_every_change_of_a_weight(tiny: Tiny, edit: str) -> None:
    model = Model(tiny)
    before = model.weights_hash
    EDITS[edit](tiny)
    assert model.weights_hash != before
    assert model.weights_hash == Model(tiny).weights_hash


def test_version_counters_alone_would_miss_an_edit(tiny: Tiny) -> None:
    # Why the hash is guarded by a check sum: torch's own marks do not see what goes through `.data`.
    def marks() -> list[tuple[int, int]]:
        return [(t.data_ptr(), t._version) for t in tiny.state_dict().values()]

    before = marks()
    EDITS["through data"](tiny)
    assert marks() == before


def test_hash_comes_back_with_the_weights(tiny: Tiny) -> None:
    model = Model(tiny)
    before, kept = model.weights_hash, tiny.head.bias.detach().clone()
    tiny.head.bias.data += 1
    assert model.weights_hash != before
    tiny.head.bias.data.copy_(kept)
    assert model.weights_hash == before


def test_hash_knows_names_and_shapes() -> None:
    flat, square = nn.Module(), nn.Module()
    flat.register_buffer("w", torch.arange(4.0))
    square.register_buffer("w", torch.arange(4.0).reshape(2, 2))
    other = nn.Module()
    other.register_buffer("v", torch.arange(4.0))
    assert len({Model(m).weights_hash for m in (flat, square, other)}) == 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_hash_and_check_of_other_types(dtype: torch.dtype) -> None:
    module = nn.Module()
    module.register_buffer("w", torch.ones(3, 2, dtype=dtype).T)  # not contiguous
    model = Model(module)
    assert len(model.weights_hash) == 16
    model.check_weights()


def test_hash_is_computed_once(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = hashlib.sha256
    monkeypatch.setattr(hashlib, "sha256", lambda *a: calls.append(1) or real(*a))
    model = Model(tiny)
    assert model.weights_hash == model.weights_hash
    assert calls == [1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_named(tiny: Tiny, value: float, dtype: torch.dtype) -> None:
    tiny.to(dtype).norm.weight.data[2] = value
    with pytest.raises(NotFinite, match=r"Its weight 'norm\.weight' holds NaN or infinity"):
        Model(tiny).check_weights()


def test_large_weights_whose_sum_overflows_are_sound() -> None:
    module = nn.Module()
    module.register_buffer("w", torch.full((8,), 60_000.0, dtype=torch.float16))
    Model(module).check_weights()


def test_weights_are_looked_at_anew_when_one_has_changed(tiny: Tiny) -> None:
    model = Model(tiny)
    sound = model.check_weights()
    weight = tiny.norm.weight.data
    kept, weight[2] = weight[2].clone(), torch.nan
    assert model.weights_hash != sound
    with pytest.raises(NotFinite, match=r"'norm\.weight'"):
        model.check_weights()
    weight[2] = kept
    assert model.check_weights() == sound


def test_modules_without_parameters() -> None:
    model = Model(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    model.check_weights()
    assert model.device == torch.device("cpu")
    assert model.dtype == torch.float32
    assert model.answer(torch.rand(2, 3, 4, 4)).output.shape == (2, 3)
    assert model.weights_hash == Model(nn.Identity()).weights_hash


def test_a_compiled_module_is_explained_through_its_eager_twin(tiny: Tiny) -> None:
    compiled = torch.compile(tiny)
    model = Model(compiled)  # type: ignore[arg-type]
    assert model.module is tiny
    assert model.name == "Tiny"
    assert model.weights_hash == Model(tiny).weights_hash


def test_what_is_no_module_is_refused() -> None:
    # In a process of its own: here the annotations themselves are checked, as no user's installation does.
    code = """
from seewhy import Model
from seewhy.errors import BadInput
try:
    Model(print)
except BadInput as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Found builtin_function_or_method" in done.stdout


# -- kinds and predictions -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "labels", "given", "expected"),
    [
        (3, None, None, "classes"),
        (3, None, "embedding", "embedding"),
        (1, None, None, "regression"),
        (1, ["only"], None, "classes"),
        (3, None, "regression", "regression"),
    ],
)
def test_kinds(classes: int, labels: list[str] | None, given: Any, expected: str) -> None:
    model = Model(Tiny(classes), labels=labels, kind=given)
    output = model.answer(torch.rand(2, 3, 8, 8)).output
    assert model.kind(output) == expected
    assert bool(model.predictions(output)[0]) == (expected == "classes")


class Fixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([[0.0, 2.0, -1.0, 1.0]]).expand(len(x), -1)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "none"])
def test_predictions(activation: Any) -> None:
    model = Model(Fixed(), labels=["a", "b"], activation=activation)
    (row,) = model.predict(torch.rand(1, 3, 4, 4), k=3)
    logits = [0.0, 2.0, -1.0, 1.0]
    total = sum(2.718281828459045**v for v in logits)
    probability = {
        "softmax": lambda v: 2.718281828459045**v / total,
        "sigmoid": lambda v: 1 / (1 + 2.718281828459045**-v),
        "none": lambda v: v,
    }[activation]
    assert [(p.label, p.index) for p in row] == [("b", 1), ("class 3", 3), ("a", 0)]
    assert [p.probability for p in row] == pytest.approx([probability(v) for v in (2.0, 1.0, 0.0)])


def test_more_predictions_than_classes() -> None:
    assert len(Model(Fixed()).predict(torch.rand(1, 3, 4, 4), k=10)[0]) == 4


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_log_probabilities_keep_small_numbers(activation: Any) -> None:
    model = Model(Fixed(), activation=activation)
    output = torch.tensor([[300.0, -300.0]])
    assert model.log_probabilities(output)[0, 1].item() == pytest.approx(
        -600 if activation == "softmax" else -300
    )


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_log_odds_are_the_class_against_all_others(activation: Any) -> None:
    output = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([0, 1, 2, 3, 0, 1])
    exact = output.double()
    p = (exact.softmax(1) if activation == "softmax" else exact.sigmoid()).gather(1, classes[:, None])[:, 0]
    found = Model(Fixed(), activation=activation).log_odds(output, classes)
    torch.testing.assert_close(found.double(), (p / (1 - p)).log(), rtol=1e-5, atol=1e-5)


def test_log_odds_of_a_sure_answer_are_known_and_have_a_slope() -> None:
    output = torch.tensor([[40.0, 0.0, 0.0]], requires_grad=True)  # its probability is 1 in single precision
    odds = Model(Fixed()).log_odds(output, torch.tensor([0]))
    assert float(odds.detach()) == pytest.approx(40 - math.log(2), rel=1e-5)
    odds.sum().backward()
    assert float(output.grad[0, 0]) == pytest.approx(1, rel=1e-5)


def test_labels_given_as_labels_are_kept() -> None:
    labels = Labels(["cat"], [["pussy", "puss"]])
    assert Model(Fixed(), labels=labels).labels is labels


def test_layers_that_are_never_called_are_named(tiny: Tiny) -> None:
    tiny.unused = nn.Identity()
    with pytest.raises(DoesNotFit, match="never calls it"):
        Model(tiny).answer(torch.rand(1, 3, 8, 8), ["unused"])


def test_answers_are_given_in_the_models_own_type(tiny: Tiny) -> None:
    model = Model(tiny.to(torch.bfloat16).eval())
    assert model.answer(torch.rand(1, 3, 8, 8)).output.dtype == torch.bfloat16
    assert model.probabilities(model.answer(torch.rand(1, 3, 8, 8)).output).dtype == torch.float32


# -- preparing -------------------------------------------------------------------------------------


def test_photos_become_a_batch(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (255, 0, 0)).save(tmp_path / "red.png")
    model = Model(Fixed(), preprocess=Preprocessing((8, 10)))
    inputs = model.prepare([tmp_path / "red.png", Image.new("L", (9, 9))])
    assert inputs.tensor.shape == (2, 3, 8, 10)
    assert inputs.names == (str(tmp_path / "red.png"), "input 1")
    assert model.prepare(str(tmp_path / "red.png")).names == (str(tmp_path / "red.png"),)
    assert model.prepare(inputs) is inputs
    assert model.input_size() == (8, 10)


def test_a_model_of_clips_takes_frames_or_several_clips() -> None:
    model = Model(Fixed(), preprocess=Preprocessing((8, 8), frames=2))
    frames = [Image.new("RGB", (9, 9)), Image.new("RGB", (9, 9), "white")]
    assert model.prepare(frames).tensor.shape == (1, 3, 2, 8, 8)
    assert model.prepare([frames, frames, frames]).tensor.shape == (3, 3, 2, 8, 8)
    assert model.input_size() == (2, 8, 8)


@pytest.mark.parametrize(
    ("source", "match"),
    [([], "The list is empty"), ([3], "Found int"), (3.5, "Found float"), ([None], "Found NoneType")],
)
def test_what_is_no_photo_is_refused(source: Any, match: str) -> None:
    with pytest.raises(BadInput, match=match):
        Model(Fixed(), preprocess=Preprocessing()).prepare(source)


def test_photos_that_keep_differing_sizes_make_no_batch() -> None:
    model = Model(Fixed(), preprocess=Preprocessing(fit="none"))
    assert model.input_size() is None
    with pytest.raises(BadInput, match="Their sizes differ"):
        model.prepare([Image.new("RGB", (8, 8)), Image.new("RGB", (8, 9))])


def test_without_preprocessing_only_tensors_are_taken(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="It has no preprocessing"):
        Model(Fixed()).prepare("cat.png")
    assert Model(Fixed()).prepare(torch.rand(3, 4, 4)).tensor.shape == (1, 3, 4, 4)
