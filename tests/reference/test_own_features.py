"""TAME, T-TAME and L-CAM against plain loops in double precision; the layers they read; who is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import networks
import trained
from seewhy.errors import DoesNotFit, UnknownName
from seewhy.methods import METHODS
from seewhy.methods.learned.attention_head import AttentionHead, Branch
from seewhy.methods.learned.explainer import open_explainer
from seewhy.methods.learned.own_stages import last_blocks, last_map, last_resolutions
from seewhy.models.model import Model

Rows = Sequence[np.ndarray]


# -- which layers ---------------------------------------------------------


def test_layers_of_a_residual_network_are_the_published_ones() -> None:
    from torchvision.models.resnet import BasicBlock, ResNet

    model = Model(ResNet(BasicBlock, [1, 1, 1, 1]).eval())
    found = last_resolutions(model, (3, 64, 64))
    assert [(s.layer, s.channels, s.grid.cells) for s in found] == [
        ("layer2", 128, (8, 8)),
        ("layer3", 256, (4, 4)),
        ("layer4", 512, (2, 2)),
    ]
    assert [s.layer for s in last_map(model, (3, 64, 64))] == ["layer4"]


def test_layers_of_a_transformer_are_the_published_ones() -> None:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    network = VisionTransformer(32, 16, 4, 2, 16, 32, num_classes=5).eval()
    nn.init.normal_(network.heads.head.weight)
    found = last_blocks(Model(network), (3, 32, 32))
    assert [s.layer for s in found] == [f"encoder.layers.encoder_layer_{i}.ln_1" for i in (1, 2, 3)]
    assert all((s.channels, s.grid.cells, s.grid.prefix) == (16, (2, 2), 1) for s in found)


def test_layers_of_a_transformer_that_averages_tokens_are_its_blocks() -> None:
    class Averaged(networks.ViT):
        def forward(self, x: Tensor) -> Tensor:
            x = self.patch(x).flatten(2).transpose(1, 2) + self.positions[:, 1:]
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x).mean(1))

    torch.manual_seed(4)
    found = last_blocks(Model(Averaged(depth=4).eval()), (3, 16, 16))
    assert [s.layer for s in found] == ["blocks.1", "blocks.2", "blocks.3"]


def test_layers_can_be_named() -> None:
    model = Model(networks.cnn())
    assert [s.layer for s in last_resolutions(model, (3, 16, 16), ["3", "0"])] == ["0", "3"]
    assert [s.layer for s in last_blocks(model, (3, 16, 16), ["2"])] == ["2"]
    with pytest.raises(UnknownName, match="layer"):
        last_resolutions(model, (3, 16, 16), ["nowhere"])


@pytest.mark.parametrize(
    ("find", "network", "other"),
    [(last_resolutions, networks.vit, "ttame"), (last_blocks, networks.cnn, "tame")],
)
def test_the_other_kind_of_network_is_sent_to_the_other_method(
    find: Callable[..., object], network: Callable[[], nn.Module], other: str
) -> None:
    with pytest.raises(DoesNotFit, match=f"Use {other}"):
        find(Model(network()), (3, 16, 16))


# -- what they compute ---------------------------------------------------------


def enlarged(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear with half-pixel centres, one cell after the other."""
    out = np.zeros(size)
    for i in range(size[0]):
        for j in range(size[1]):
            y = min(max((i + 0.5) * grid.shape[0] / size[0] - 0.5, 0), grid.shape[0] - 1)
            x = min(max((j + 0.5) * grid.shape[1] / size[1] - 0.5, 0), grid.shape[1] - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, grid.shape[0] - 1), min(x0 + 1, grid.shape[1] - 1)
            out[i, j] = (grid[y0, x0] * (y0 + 1 - y) + grid[y1, x0] * (y - y0)) * (x0 + 1 - x) + (
                grid[y0, x1] * (y0 + 1 - y) + grid[y1, x1] * (y - y0)
            ) * (x - x0)
    return out


def published(features: Rows, head: AttentionHead, index: int, *, skip: bool = True) -> np.ndarray:
    """The class's map as published: branches, each enlarged to the finest grid, stacked, convolved 1 x 1."""
    size = features[0].shape[1:]
    stacked = []
    for f, branch in zip(features, head.branches, strict=True):
        a = f
        if isinstance(branch, Branch):
            w = branch.conv.weight.detach().double().numpy()[:, :, 0, 0]
            norm, bias = branch.norm, branch.conv.bias
            assert isinstance(norm, nn.BatchNorm2d)
            assert bias is not None
            gain, shift, mean, var = (
                t.detach().double().numpy()[:, None, None]
                for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
            )
            mixed = np.einsum("oc,chw->ohw", w, f) + bias.detach().double().numpy()[:, None, None]
            mixed = (mixed - mean) / np.sqrt(var + norm.eps) * gain + shift
            a = np.maximum(mixed + f * skip, 0)
        stacked += [enlarged(channel, size) for channel in a]
    assert head.bias is not None
    row = head.fusion[index].detach().double().numpy()
    return sum(w * a for w, a in zip(row, stacked, strict=True)) + head.bias[index].item()


def own_features(name: str, network: nn.Module, x: Tensor) -> Rows:
    """The features that a method reads in the small networks, from hooks and plain reshaping."""
    layers = {"tame": ["2", "5"], "lcam": ["5"], "ttame": ["blocks.0.norm1", "blocks.1.norm1"]}[name]
    found: list[Tensor] = []
    modules = dict(network.named_modules())
    hooks = [modules[n].register_forward_hook(lambda _m, _a, out: found.append(out.clone())) for n in layers]
    with torch.no_grad():
        network(x[None])
    for hook in hooks:
        hook.remove()
    if name == "ttame":  # one class token, then rows of four patches
        found = [f[:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2) for f in found]
    return [f[0].double().numpy() for f in found]


def randomised(name: str, network: nn.Module, file: Path) -> tuple[AttentionHead, str]:
    """Return a head whose parameters are all random, and the file it was saved to."""
    trainee = trained.training(name).begin(Model(network), (3, 16, 16), 5, 0)
    generator = torch.Generator().manual_seed(1)
    for key, t in trainee.module.state_dict().items():
        if t.is_floating_point():
            t.copy_(torch.rand(t.shape, generator=generator) * (1 if "var" in key or "norm" in key else 0.4))
    trainee.module.eval()
    made = trainee.finished((200,) * 5, trained.training(name).parameters(), {"steps": 0})
    return trainee.module, str(made.save(file))


@pytest.mark.parametrize("name", ["tame", "ttame", "lcam"])
def test_maps_equal_the_published_formula(name: str, tmp_path: Path) -> None:
    network = networks.vit() if name == "ttame" else networks.cnn()
    head, file = randomised(name, network, tmp_path / name)
    x = networks.batch((3, 16, 16))
    result = METHODS[name].make(explainer=file)(network, x, [1, 3])
    every = METHODS[name].make(explainer=file).all_classes(network, x, [3, 1])  # type: ignore[attr-defined]
    for i, c in enumerate((1, 3)):
        features = own_features(name, network, x[i])
        z = published(features, head, c)
        unit = (z - z.min()) / (z.max() - z.min())
        assert np.abs(result.native[i].numpy() - unit).max() < 3e-3  # the file is in half precision
        assert np.abs(every[i, 1 - i].numpy() - z).max() < 5e-3 * np.abs(z).max()
        if name != "lcam":  # a planted bug: no skip connection
            wrong = published(features, head, c, skip=False)
            wrong = (wrong - wrong.min()) / (wrong.max() - wrong.min())
            assert np.abs(result.native[i].numpy() - wrong).max() > 3e-2
    assert result.provenance["passes"] == {"forward": 1, "backward": 0}
    assert not result.signed


def test_an_uncovered_class_warns_with_its_number(tmp_path: Path) -> None:
    network = networks.cnn()
    trainee = trained.training("lcam").begin(Model(network), (3, 16, 16), 5, 0)
    made = trainee.finished((0, 3, 500, 500, 500), {}, {"steps": 0})
    method = METHODS["lcam"].make(explainer=str(made.save(tmp_path / "e")))
    x = networks.batch((3, 16, 16), n=1)
    with pytest.warns(UserWarning, match="No image of the class"):
        method(network, x, 0)
    with pytest.warns(UserWarning, match="Only 3 images"):
        method(network, x, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method(network, x, 2)


# -- who is refused ---------------------------------------------------------


def test_wrong_networks_and_methods_are_refused(tmp_path: Path) -> None:
    other, x = networks.cnn(), networks.batch((3, 16, 16))
    file = str(trained.drawn("tame")(networks.cnn(), x, tmp_path / "e"))
    with torch.no_grad():
        other[0].bias.add_(0.1)
    with pytest.raises(DoesNotFit, match="not for these weights"):
        METHODS["tame"].make(explainer=file)(other, x, 0)
    with pytest.raises(DoesNotFit, match="trained for tame, not for lcam"):
        METHODS["lcam"].make(explainer=file)(networks.cnn(), x, 0)
    with pytest.raises(DoesNotFit, match="seewhy train ttame"):
        METHODS["ttame"].make()(networks.vit(), x, 0)
    frozen = Model(networks.cnn(), differentiable=False)
    with pytest.raises(DoesNotFit, match="only runs forward"):
        METHODS["tame"].make(explainer=file)(frozen, x, 0)


def test_the_file_names_its_layers(tmp_path: Path) -> None:
    file = trained.drawn("ttame")(networks.vit(), networks.batch((3, 16, 16)), tmp_path / "e")
    assert file is not None
    made = open_explainer(file)
    assert made.settings["stages"] == ["blocks.0.norm1", "blocks.1.norm1"]
    assert made.auxiliary is None
