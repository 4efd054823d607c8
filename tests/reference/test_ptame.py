"""P-TAME against its formula in float64, and its file: what it remembers, what it refuses."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, interpolate

import explainers
import networks
import seewhy
from seewhy.errors import BadInput, DoesNotFit, UnreadableInput
from seewhy.methods.learned import explainer as files
from seewhy.methods.learned.attention_head import AttentionHead
from seewhy.methods.learned.ptame import PTAME
from seewhy.methods.learned.stages import find_stages, translated
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.training.attention import PTAMETraining
from seewhy.training.loop import train
from seewhy.training.schedule import Schedule


def as_published(head: AttentionHead, features: list[Tensor], c: int) -> Tensor:
    """Enlarge every channel, stack them, fuse them: the order of the paper, float64."""
    size = features[0].shape[2:]
    stacked = []
    for branch, f in zip(head.branches, features, strict=True):
        conv, norm = branch.conv, branch.norm
        z = conv2d(f, conv.weight.double(), conv.bias.double())
        statistics = norm.running_mean.double(), norm.running_var.double()
        z = batch_norm(z, *statistics, norm.weight.double(), norm.bias.double(), eps=norm.eps)
        stacked.append(interpolate((f + z).relu(), size=size, mode="bilinear", align_corners=False))
    row = head.fusion[c].double() + (0 if head.shared is None else head.shared.double())
    bias = 0 if head.bias is None else head.bias[c].double()
    return (torch.cat(stacked, 1) * row[:, None, None]).sum(1) + bias


def head(**options: bool) -> tuple[AttentionHead, list[Tensor]]:
    """A head with lively norms, and features of two stages."""
    torch.manual_seed(5)
    made = AttentionHead((4, 6), 5, **options)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.3 * torch.randn_like(p))
        for b in made.branches:
            b.norm.running_mean.normal_()
            b.norm.running_var.uniform_(0.5, 2)
    return made.eval(), [torch.randn(3, 4, 8, 6), torch.randn(3, 6, 4, 3)]


@pytest.mark.parametrize("options", [{}, {"bias": True}, {"shared": True}])
def test_maps_are_the_formula(options: dict[str, bool]) -> None:
    made, features = head(**options)
    classes = torch.tensor([4, 0, 2])
    found = made(features, classes)
    every = made.every(features, torch.arange(5))
    for i, c in enumerate(classes.tolist()):
        expected = as_published(made, [f[i : i + 1].double() for f in features], c)[0]
        torch.testing.assert_close(found[i].double(), expected, atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(every[i, c].double(), expected, atol=2e-5, rtol=1e-5)


def test_what_is_packed_gives_the_same_maps() -> None:
    made, features = head(bias=True, shared=True)
    small = {k: v.half() if v.is_floating_point() else v for k, v in made.packed([3, 0, 9, 0, 1]).items()}
    again, row = AttentionHead.unpacked(small, 5)
    assert row.tolist() == [0, 3, 1, 3, 2]
    for c in (0, 2, 4):
        expected = made(features, torch.full((3,), c))
        found = again(features, row[torch.full((3,), c)])
        assert float((found - expected).detach().abs().max()) < 5e-3 * float(expected.detach().abs().max())


def test_a_class_without_images_gets_the_shared_row_or_the_weighted_mean() -> None:
    made, _ = head()
    other = made.packed([3, 0, 1, 0, 0])["fusion"][-1]
    torch.testing.assert_close(other, (3 * made.fusion[0] + made.fusion[2]).detach() / 4)
    made, _ = head(shared=True)
    torch.testing.assert_close(made.packed([3, 0, 1, 0, 0])["fusion"][-1], made.shared.detach())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A network and the file of an explainer that was trained for a moment."""
    model = Model(networks.vit(), labels=list("abcde"))
    schedule = Schedule(steps=4, batch=8, precision="fp32", checkpoint=0)
    explainer = train(PTAMETraining(explainers.auxiliary()), model, explainers.Images(), schedule)
    return model, explainer.save(tmp_path_factory.mktemp("learned") / "e")


def test_the_method_gives_the_heads_maps_between_0_and_1(made: tuple[Model, Path]) -> None:
    model, file = made
    explainer = files.open_explainer(file)
    x = networks.batch((3, 16, 16), n=3)
    c = explainer.covered[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = PTAME(str(file))(model, x, c)
    every = PTAME(str(file)).all_classes(model, x)
    assert every.shape == (3, len(explainer.covered), *result.native.shape[1:])
    z = every[:, 0]
    low, high = z.amin((1, 2), keepdim=True), z.amax((1, 2), keepdim=True)
    torch.testing.assert_close(result.native, (z - low) / (high - low), atol=1e-5, rtol=1e-5)
    assert result.provenance["auxiliary"]["passes"] == 1
    assert result.provenance["passes"] == {"forward": 1, "backward": 0}


def test_classes_that_training_hardly_met_are_warned_of(made: tuple[Model, Path], tmp_path: Path) -> None:
    model, file = made
    x = networks.batch((3, 16, 16), n=1)
    explainer = files.open_explainer(file)
    for images, words in ((0, "No image of the class"), (7, "Only 7 images of the class")):
        other = replace(explainer, coverage=(images, 500, 500, 500, 500)).save(tmp_path / f"{images}")
        with pytest.warns(UserWarning, match=rf"a: {words}.*such as grad_cam"):
            PTAME(str(other))(model, x, 0)
    rich = replace(explainer, coverage=(500,) * 5).save(tmp_path / "rich")
    PTAME(str(rich))(model, x, [0])  # warnings are errors here


def test_without_an_explainer_it_says_how_to_train_one() -> None:
    with pytest.raises(DoesNotFit, match="seewhy train ptame"):
        seewhy.explain(networks.cnn(), networks.batch((3, 16, 16)), "ptame")


def test_other_weights_and_other_class_names_are_refused(made: tuple[Model, Path]) -> None:
    model, file = made
    x = networks.batch((3, 16, 16))
    with pytest.raises(DoesNotFit, match=r"trained for ViT .*not for these weights"):
        PTAME(str(file))(networks.cnn(), x)
    with pytest.raises(DoesNotFit, match="other class names"):
        PTAME(str(file))(Model(model.module, labels=list("edcba")), x)
    moved = networks.vit()
    with torch.no_grad():
        moved.head.weight[0, 0] += 1e-3
    with pytest.raises(DoesNotFit, match="not for these weights"):
        PTAME(str(file))(moved, x)


def test_targets_that_are_no_class_are_refused(made: tuple[Model, Path]) -> None:
    model, file = made
    with pytest.raises(DoesNotFit, match="maps of single classes only"):
        PTAME(str(file))(model, networks.batch((3, 16, 16)), "a vs b")


def test_files_that_were_changed_or_are_none_are_refused(made: tuple[Model, Path], tmp_path: Path) -> None:
    _, file = made
    content = bytearray(file.read_bytes())
    tampered = tmp_path / "t.safetensors"
    for at in (len(content) - 3, content.index(b"coverage") + 13):
        changed = bytearray(content)
        changed[at] = changed[at] ^ 1
        tampered.write_bytes(bytes(changed))
        with pytest.raises(UnreadableInput, match=r"changed after training|damaged"):
            files.open_explainer(tampered)
    for wrong in (b"", b"nothing", content[:100]):
        tampered.write_bytes(bytes(wrong))
        with pytest.raises(UnreadableInput, match="no explainer"):
            files.open_explainer(tampered)
    with pytest.raises(UnreadableInput, match="cannot be read"):
        files.open_explainer(tmp_path / "absent")


def test_the_file_remembers_what_it_is_of(made: tuple[Model, Path]) -> None:
    model, file = made
    explainer = files.open_explainer(file)
    assert explainer.model["weights_sha256"] == model.weights_hash
    assert explainer.auxiliary is not None
    assert explainer.auxiliary["stages"]
    assert sum(explainer.coverage) == 32
    assert explainer.settings["ce"] == 0.16143
    assert explainer.record["steps"] == 4
    json.dumps([explainer.settings, explainer.record])
    assert files.open_explainer(file) is explainer  # same content, opened once


def test_an_auxiliary_network_with_other_weights_is_refused(made: tuple[Model, Path]) -> None:
    _, file = made
    explainer = files.open_explainer(file)
    other = files.provide(Model(networks.cnn()))
    fake = replace(explainer, auxiliary={**(explainer.auxiliary or {}), "spec": other, "weights_sha256": "0"})
    with pytest.raises(BadInput, match="those of the training were 0"):
        files.auxiliary_of(fake)
    code = replace(explainer, auxiliary={"spec": "a.py:b", "weights_sha256": "0", "stages": []})
    with pytest.raises(BadInput, match="Code is not run"):
        files.auxiliary_of(code)


@pytest.mark.parametrize("fault", ["", "a provided network is taken for one that was loaded here"])
def test_a_provided_network_is_looked_at_in_every_call(
    made: tuple[Model, Path], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = files.open_explainer(made[1])
    net = networks.cnn(classes=7)
    model = Model(net)
    name, weights = files.provide(model), model.weights_hash
    mine = replace(explainer, auxiliary={"spec": name, "weights_sha256": weights, "stages": []})
    assert files.auxiliary_of(mine) is model
    net[0].weight.data.mul_(2)
    if fault:
        monkeypatch.setattr(files, "is_ours", lambda model: True)
        assert files.auxiliary_of(mine).weights_hash != weights
        return
    with pytest.raises(BadInput, match=f"those of the training were {weights}"):
        files.auxiliary_of(mine)


def test_a_network_that_was_loaded_for_an_explainer_is_looked_at_once(
    made: tuple[Model, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = files.auxiliary_network("torchvision:resnet18?pretrained=false")
    about = {"spec": loaded.name, "weights_sha256": loaded.weights_hash, "stages": []}
    theirs = replace(files.open_explainer(made[1]), auxiliary=about)
    assert not any(p.requires_grad for p in loaded.module.parameters())

    def summed(module: object) -> None:
        raise AssertionError("the weights were added up again")

    monkeypatch.setattr("seewhy.models.weights.sweep", summed)
    assert files.auxiliary_of(theirs) is loaded
    with pytest.raises(AssertionError, match="added up again"):
        loaded.weights_hash.strip()


def test_weights_beyond_half_precision_are_refused(made: tuple[Model, Path], tmp_path: Path) -> None:
    explainer = files.open_explainer(made[1])
    huge = replace(explainer, tensors={**explainer.tensors, "fusion": torch.full((2, 2), 1e6)})
    with pytest.raises(BadInput, match="beyond half precision"):
        huge.save(tmp_path / "h")
    assert not list(tmp_path.iterdir())


def test_stages_are_the_last_blocks_of_each_resolution() -> None:
    resnet = seewhy.load("torchvision:resnet18?pretrained=false")
    found = find_stages(resnet, (3, 224, 224))
    assert [s.layer for s in found] == ["layer1", "layer2", "layer3", "layer4"]
    assert [(s.channels, s.grid.cells) for s in found][::3] == [(64, (56, 56)), (512, (7, 7))]
    named = find_stages(resnet, (3, 224, 224), ["layer3", "layer1"])
    assert [s.layer for s in named] == ["layer1", "layer3"]
    vit = seewhy.load("timm:test_vit?pretrained=false")
    assert [s.layer for s in find_stages(vit, (3, 160, 160))] == [f"blocks.{i}" for i in (1, 2, 3, 5)]


def test_pixels_are_handed_on_as_the_other_network_reads_them() -> None:
    look = Preprocessing((8, 8), mean=(0.5,), std=(0.25,))
    x = torch.rand(2, 1, 8, 8)
    goal = Model(
        networks.cnn(),
        preprocess=Preprocessing((8, 8), mean=(1.0, 1.0, 1.0), std=(0.5,) * 3, scale=1 / 127.5),
    )
    pixels = (x * 0.25 + 0.5) * 255
    expected = ((pixels / 127.5 - 1.0) / 0.5).expand(-1, 3, -1, -1)
    torch.testing.assert_close(translated(x, look, goal), expected)
    torch.testing.assert_close(translated(x, None, goal), x)
    wide = Model(networks.cnn(), preprocess=Preprocessing((16, 16)))
    assert translated(torch.rand(1, 3, 8, 8), Preprocessing((8, 8)), wide).shape == (1, 3, 16, 16)


def test_a_network_that_shows_no_layer_is_explained(tmp_path: Path) -> None:
    """Only outputs and the gradient with respect to the input are used."""
    inner = networks.cnn()

    class Opaque(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = (inner,)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner[0](x)

    inner.requires_grad_(False)
    opaque = Model(Opaque())
    schedule = Schedule(steps=2, batch=8, precision="fp32", checkpoint=0)
    explainer = train(PTAMETraining(explainers.auxiliary()), opaque, explainers.Images(), schedule)
    file = explainers.with_coverage(explainer, tuple(500 * (c > 0) for c in explainer.coverage)).save(
        tmp_path / "o"
    )
    x = networks.batch((3, 16, 16))
    assert seewhy.explain(opaque, x, "ptame", explainer.covered[0], explainer=str(file)).values.shape == (
        2,
        16,
        16,
    )
