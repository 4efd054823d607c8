"""Which layers there are, which one is the default, and what is said of those that do not fit."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

import networks
from seewhy.errors import BadInput, DoesNotFit, UnknownName
from seewhy.models import layers
from seewhy.models.layer_trace import LATE, explored
from seewhy.models.layers import default_layer, grid_of, layer_of, survey
from seewhy.models.model import Model

SHAPE = (3, 32, 32)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=True)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


class Twice(nn.Module):
    """One convolution called twice, a branch that nobody reads, and a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.conv = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.aside, self.unused = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(torch.relu(self.stem(x)))
        x = self.conv(torch.relu(x))
        self.aside(x)
        return self.head(torch.relu(x).mean((2, 3)))


def test_layers_stand_in_order_of_execution_with_their_shapes() -> None:
    found = survey(Model(net()), SHAPE)
    assert [layer.name for layer in found] == ["0.0", "0.1", "0.2", "0", "1.0", "1.1", "1", "2", "3", "4"]
    assert [layer.shape for layer in found][2:4] == [(8, 16, 16), (8, 16, 16)]
    assert {layer.name for layer in found if layer.fits} == {"0.0", "0.1", "0.2", "0", "1.0", "1.1", "1"}
    assert {layer.name: layer.reason for layer in found}["2"] == "it has a single cell"
    assert {layer.name: layer.reason for layer in found}["4"].startswith("its output has no cells")


def test_the_default_is_the_outermost_name_of_the_last_live_map() -> None:
    assert default_layer(Model(net()), SHAPE).name == "1"


@pytest.mark.parametrize("behind", [0, LATE, 2 * LATE])
def test_the_default_needs_no_survey_unless_it_lies_far_from_the_end(
    behind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    surveys: list[object] = []
    monkeypatch.setattr(layers, "explored", lambda *asked: surveys.append(asked) or explored(*asked))
    model = Model(nn.Sequential(*net(), *(nn.Identity() for _ in range(behind))))
    assert default_layer(model, SHAPE).name == "1"
    assert grid_of(model, "1", SHAPE).cells == (16, 16)
    assert len(surveys) == (behind > 0)
    survey(model, SHAPE)
    assert default_layer(model, SHAPE).name == "1"


def test_a_container_that_ends_in_pooling_is_not_the_default() -> None:
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout())
    model = Model(nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval())
    assert default_layer(model, SHAPE).name == "0.1"
    assert layer_of(model, "0", SHAPE).fits


def test_a_layer_called_twice_stands_at_its_last_call_and_an_unread_one_is_not_live() -> None:
    found = survey(Model(Twice()), SHAPE)
    assert [layer.name for layer in found] == ["stem", "conv", "aside", "head"]
    by_name = {layer.name: layer for layer in found}
    assert by_name["conv"].live
    assert by_name["aside"].grid is not None
    assert "does not depend" in by_name["aside"].reason
    # `conv` stands for two calls, so that the default is the layer before.
    assert default_layer(Model(Twice()), SHAPE).name == "stem"
    assert layer_of(Model(Twice()), "conv", SHAPE).fits


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ("head", DoesNotFit, r"layer 'head' of Twice.*put out \(4,\).*Layers that fit: stem"),
        ("unused", DoesNotFit, r"never calls it.*Layers that fit: stem"),
        ("steem", UnknownName, r"no such layer. Did you mean 'stem'\?"),
        ("xyz", UnknownName, r"Layers that fit: stem"),
        ("", UnknownName, r"Layers that fit: stem"),
    ],
)
def test_a_layer_without_a_grid_is_refused_with_those_that_fit(
    layer: str, error: type[BadInput], message: str
) -> None:
    with pytest.raises(error, match=message):
        grid_of(Model(Twice()), layer, SHAPE)
    with pytest.raises(error, match=message):
        layer_of(Model(Twice()), layer, SHAPE)


def test_a_layer_that_is_not_live_has_a_grid_but_does_not_fit() -> None:
    model = Model(Twice())
    assert grid_of(model, "aside", SHAPE).cells == (32, 32)
    with pytest.raises(DoesNotFit, match="gradient is zero"):
        layer_of(model, "aside", SHAPE)
    assert layer_of(model, None, SHAPE) == default_layer(model, SHAPE)


def test_a_forward_only_model_has_no_fitting_layer() -> None:
    model = Model(net(), differentiable=False)
    assert not any(layer.fits for layer in survey(model, SHAPE))
    with pytest.raises(DoesNotFit, match="only runs forward"):
        default_layer(model, SHAPE)


def test_a_head_of_zeros_is_named() -> None:
    module = net()
    nn.init.zeros_(module[4].weight)
    with pytest.raises(DoesNotFit, match="head of zeros"):
        default_layer(Model(module), SHAPE)


def test_an_input_that_the_network_cannot_take_is_refused() -> None:
    with pytest.raises(DoesNotFit, match=r"inputs of shape \(4, 32, 32\).*RuntimeError.*size"):
        survey(Model(net()), (4, 32, 32))
    with pytest.raises(BadInput, match="channels, height, width"):
        survey(Model(net()), (3, 32))


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.calls = net(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(x)


def test_the_experiment_is_made_once_for_each_input_shape() -> None:
    module = Counted()
    model = Model(module)
    survey(model, SHAPE)
    after_one = module.calls
    assert after_one == 2
    default_layer(model, SHAPE)
    grid_of(model, "net.1", SHAPE)
    assert module.calls == after_one
    survey(model, (3, 16, 24))
    assert module.calls == 2 * after_one


class Failing(Counted):
    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        if self.calls == 2:
            raise KeyboardInterrupt
        return out


@pytest.mark.parametrize("kind", [Counted, Failing])
def test_the_experiment_leaves_no_trace(kind: type[Counted]) -> None:
    module = kind()
    module.net[1].train()
    module.net[0][0].weight.requires_grad_(False)
    module.eval()
    module.net[1].train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    modes = [m.training for m in module.modules()]
    flags = [p.requires_grad for p in module.parameters()]
    state = torch.get_rng_state()
    try:
        survey(Model(module), SHAPE)
    except KeyboardInterrupt:
        assert kind is Failing
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert [m.training for m in module.modules()] == modes
    assert [p.requires_grad for p in module.parameters()] == flags
    assert all(p.grad is None for p in module.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_caller_may_have_switched_gradients_off(mode: type) -> None:
    model = Model(net())
    with mode():
        assert default_layer(model, SHAPE).name == "1"


def test_a_bare_network_is_surveyed_once_and_again_after_surgery() -> None:
    net, passes = networks.cnn(), []
    net[0].register_forward_hook(lambda *_: passes.append(1))
    survey(Model(net), (3, 16, 16))
    first = len(passes)
    survey(Model(net), (3, 16, 16))
    assert len(passes) == first > 0
    net[5] = torch.nn.Sequential(torch.nn.ReLU())
    assert "5.0" in [layer.name for layer in survey(Model(net), (3, 16, 16))]


def test_what_is_remembered_of_a_network_goes_with_it() -> None:
    net = networks.cnn()
    survey(Model(net), (3, 16, 16))
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
