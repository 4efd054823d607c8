"""Linear probes: the fit is the optimum, and a saved probe comes back the same or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from seewhy.errors import BadInput, UnreadableInput
from seewhy.models import Model
from seewhy.models.loading import load
from seewhy.models.probe import LinearProbe, fit_linear_probe, open_probe, save_probe


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"vector": self.conv(x).relu().mean((2, 3))}


@pytest.fixture
def encoder() -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Model(Encoder().eval(), output="vector", kind="embedding")


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    """Forty pictures, red, green or blue by class, with noise."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(42) % 3
    x = torch.rand(42, 3, 8, 8, generator=generator)
    x[torch.arange(42), y] += 0.8
    return x, y


def objective(encoder: Model, x: Tensor, y: Tensor, penalty: float, head: nn.Linear) -> Tensor:
    """The objective in the original, not standardised, coordinates, with numbers of its own."""
    with torch.no_grad():
        features = encoder.answer(x).output.double()
    spread = features.std(0, correction=0)
    logits = features @ head.weight.double().T + head.bias.double()
    fit = -logits.log_softmax(1)[torch.arange(len(y)), y].mean()
    return fit + penalty / 2 * (head.weight.double() * spread).square().sum()


def test_the_fit_is_the_optimum(encoder: Model, data: tuple[Tensor, Tensor]) -> None:
    x, y = data
    probe = fit_linear_probe(encoder, x, y, ["red", "green", "blue"], penalty=0.05)
    assert isinstance(probe.module, LinearProbe)
    head = probe.module.head
    best = objective(encoder, x, y, 0.05, head)
    (gradient,) = torch.autograd.grad(best, head.weight)
    assert gradient.abs().max().item() < 1e-4 * head.weight.abs().max().item()
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):  # a convex objective: every other head is worse
        other = nn.Linear(6, 3)
        with torch.no_grad():
            other.weight.copy_(head.weight + 0.05 * torch.randn(3, 6, generator=generator))
            other.bias.copy_(head.bias)
        assert objective(encoder, x, y, 0.05, other).item() > best.item()


def test_the_probe_classifies(encoder: Model, data: tuple[Tensor, Tensor]) -> None:
    x, y = data
    probe = fit_linear_probe(encoder, x, y.tolist(), ["red", "green", "blue"])
    assert [row[0].index for row in probe.predict(x, k=1)] == y.tolist()
    assert probe.predict(x[:1])[0][0].label == "red"


def test_fitting_is_deterministic_and_changes_nothing(encoder: Model, data: tuple[Tensor, Tensor]) -> None:
    before, state = encoder.weights_hash, torch.get_rng_state()
    first, second = (fit_linear_probe(encoder, *data, batch_size=b) for b in (16, 16))
    assert first.weights_hash == second.weights_hash
    assert encoder.weights_hash == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.requires_grad and p.grad is None for p in encoder.module.parameters())


def test_a_saved_probe_comes_back(encoder: Model, data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    probe = fit_linear_probe(encoder, *data, ["red", "green", "blue"])
    again = open_probe(save_probe(probe, tmp_path / "colours"), encoder)
    assert torch.equal(again.answer(data[0]).output, probe.answer(data[0]).output)
    assert again.labels is not None
    assert list(again.labels) == ["red", "green", "blue"]


def test_a_probe_is_opened_by_spec(data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    spec = "timm:test_vit?pretrained=false&num_classes=0&size=32"
    probe = fit_linear_probe(
        load(spec), torch.nn.functional.interpolate(data[0], (32, 32)), data[1], ["r", "g", "b"]
    )
    file = save_probe(probe, tmp_path / "p.safetensors")
    model = load(f"{spec}&probe={file}")
    assert len(model.predict(torch.rand(1, 3, 32, 32))[0]) == 3
    with pytest.raises(BadInput, match="fitted on other weights"):
        load(f"{spec}&seed=9&probe={file}")


def test_refusals(encoder: Model, data: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    x, y = data
    for labels, names in (
        (y[:5], None),
        (y * 0, None),
        (y, ["only"]),
        (y, ["a", "b", "c", "d"]),
        (y - 1, None),
    ):
        with pytest.raises(BadInput, match="Asked for a linear probe"):
            fit_linear_probe(encoder, x, labels, names)
    with pytest.raises(BadInput, match="penalty"):
        fit_linear_probe(encoder, x, y, penalty=0.0)
    with pytest.raises(BadInput, match="It is none"):
        save_probe(encoder, tmp_path / "x")
    with pytest.raises(UnreadableInput, match="no such file"):
        open_probe(tmp_path / "nowhere.safetensors", encoder)
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(UnreadableInput, match="no probe"):
        open_probe(tmp_path / "junk.safetensors", encoder)
