"""The geometry of known families, at random weights: change a patch, the mapped cell changes most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import pytest
import torch
from torch import Tensor, nn

from seewhy.errors import DoesNotFit
from seewhy.models.grids import Grid
from seewhy.models.layers import default_layer, survey
from seewhy.models.model import Model

timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")
transformers = pytest.importorskip("transformers")

PLACES = 4


def tv(name: str, **options: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        net = torchvision.models.get_model(name, weights=None, **options)
        for head in ("heads.head",):  # torchvision's ViT starts with a head of zeros: no layer would be live
            if head in dict(net.named_modules()):
                nn.init.normal_(net.get_submodule(head).weight)
        return net

    return build


def tm(name: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, pretrained=False, **options)


def hf(kind: str, model: str = "ForImageClassification", **options: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        config = getattr(transformers, kind + "Config")(**options)
        return getattr(transformers, kind + model)(config)

    return build


def mvit(spatial: int, frames: int) -> Callable[[], nn.Module]:
    """torchvision's multiscale transformer, version 2, with four blocks instead of sixteen."""

    def build() -> nn.Module:
        from torchvision.models.video.mvit import MSBlockConfig, MViT

        steps = [(1, 16, 16, 1, 4), (2, 16, 32, 2, 4), (4, 32, 64, 2, 2), (4, 64, 64, 1, 2)]
        settings = [
            MSBlockConfig(heads, a, b, [3, 3, 3], [3, 3, 3], [1, q, q], [1, kv, kv])
            for heads, a, b, q, kv in steps
        ]
        return MViT((spatial, spatial), frames, settings, True, False, True, True)

    return build


SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}


@dataclass
class Row:
    """One family: how it is built, its input, its default layer, that layer's cells and prefix."""

    build: Callable[[], nn.Module]
    layer: str
    cells: tuple[int, ...]
    prefix: int = 0
    shape: tuple[int, ...] = (3, 224, 224)
    layout: str = "channels_first"
    off: int = -1

    @property
    def tolerance(self) -> int:
        """Tokens stay where they are; overlapping receptive fields may pull by a cell."""
        if self.off >= 0:
            return self.off
        return 0 if self.prefix > 0 and len(self.cells) == 2 else 1


WIDE = (3, 192, 320)
ROWS = {
    "tv resnet18": Row(tv("resnet18"), "layer4", (7, 7)),
    "tv resnet50 wide": Row(tv("resnet50"), "layer4", (6, 10), shape=WIDE),
    "tv vgg11 wide": Row(tv("vgg11"), "features.19", (12, 20), shape=WIDE),
    "tv densenet121": Row(tv("densenet121"), "features", (7, 7)),
    "tv mobilenet_v2 wide": Row(tv("mobilenet_v2"), "features", (6, 10), shape=WIDE),
    "tv mobilenet_v3_small": Row(tv("mobilenet_v3_small"), "features", (7, 7)),
    "tv efficientnet_b0 wide": Row(tv("efficientnet_b0"), "features", (6, 10), shape=WIDE),
    "tv convnext_tiny wide": Row(tv("convnext_tiny"), "features", (6, 10), shape=WIDE),
    "tv swin_t": Row(tv("swin_t"), "norm", (7, 7), layout="channels_last"),
    "tv vit_b_32": Row(tv("vit_b_32"), "encoder.layers.encoder_layer_11.ln_1", (7, 7), 1, layout="tokens"),
    "timm vit": Row(tm("vit_tiny_patch16_224"), "blocks.11.norm1", (14, 14), 1, layout="tokens"),
    "timm vit wide": Row(
        tm("vit_tiny_patch16_224", img_size=(192, 320), depth=4),
        "blocks.3.norm1",
        (12, 20),
        1,
        WIDE,
        "tokens",
    ),
    "timm vit, mean pooled": Row(
        tm("vit_medium_patch16_gap_256", depth=3), "norm", (16, 16), 0, (3, 256, 256), "tokens"
    ),
    "timm deit": Row(tm("deit_tiny_patch16_224", depth=4), "blocks.3.norm1", (14, 14), 1, layout="tokens"),
    "timm deit distilled": Row(
        tm("deit_tiny_distilled_patch16_224", depth=4), "blocks.3.norm1", (14, 14), 2, layout="tokens"
    ),
    "timm dinov2 with registers": Row(
        tm("vit_small_patch14_reg4_dinov2", img_size=224, depth=4),
        "blocks.3.norm1",
        (16, 16),
        5,
        layout="tokens",
    ),
    "timm dinov2 with registers wide": Row(
        tm("vit_small_patch14_reg4_dinov2", dynamic_img_size=True, img_size=224, depth=3),
        "blocks.2.norm1",
        (14, 22),
        5,
        (3, 196, 308),
        "tokens",
    ),
    "timm swin": Row(tm("swin_tiny_patch4_window7_224"), "norm", (7, 7), layout="channels_last"),
    "timm swin wide": Row(
        tm("swin_tiny_patch4_window7_224", img_size=(192, 320), depths=(1, 1, 2, 1)),
        "norm",
        (6, 10),
        0,
        WIDE,
        "channels_last",
    ),
    "timm convnext wide": Row(tm("convnext_atto"), "stages", (6, 10), shape=WIDE),
    "timm efficientnet wide": Row(tm("efficientnet_b0"), "bn2", (6, 10), shape=WIDE),
    "hf vit": Row(hf("ViT", **SMALL), "vit.{layers}.2.layernorm_before", (14, 14), 1, layout="tokens"),
    "hf swin": Row(
        hf("Swin", embed_dim=24, depths=[1, 1, 2, 1], num_heads=[2, 2, 4, 4]),
        "swin.layernorm",
        (7, 7),
        layout="tokens",
    ),
    "hf swin wide": Row(
        hf("Swin", embed_dim=24, depths=[1, 1, 2, 1], num_heads=[2, 2, 4, 4], image_size=(224, 448)),
        "swin.layernorm",
        (7, 14),
        0,
        (3, 224, 448),
        "tokens",
    ),
    # Its classifier reads the class token and the mean of the patches, so that the last norm is live.
    "hf dinov2": Row(
        hf("Dinov2", **SMALL), "dinov2.layernorm", (14, 14), 1, layout="tokens", shape=(3, 196, 196)
    ),
    # Patches of 14 pixels leave 10 x 12 pixels unseen; cells are read in proportion, so up to one off.
    "hf dinov2 encoder wide": Row(
        hf("Dinov2", "Model", **SMALL), "encoder.layer.2.norm1", (13, 22), 1, WIDE, "tokens", 1
    ),
    "hf dinov2 with registers": Row(
        hf("Dinov2WithRegisters", **SMALL), "dinov2_with_registers.layernorm", (14, 14), 5, layout="tokens"
    ),
    "hf resnet wide": Row(
        hf("ResNet", embedding_size=16, hidden_sizes=[16, 32, 64, 96], depths=[1, 1, 1, 2]),
        "resnet.encoder",
        (6, 10),
        shape=WIDE,
    ),
    "tv r3d_18 wide": Row(tv("r3d_18"), "layer4", (2, 4, 6), shape=(3, 16, 64, 96)),
    "tv mvit": Row(mvit(112, 8), "blocks.3.norm1", (4, 7, 7), 1, (3, 8, 112, 112), "tokens"),
    "tv swin3d_t wide": Row(tv("swin3d_t"), "norm", (4, 3, 5), 0, (3, 8, 96, 160), "channels_last"),
}
SLOW = {
    "tv r3d_18": Row(tv("r3d_18"), "layer4", (2, 7, 7), shape=(3, 16, 112, 112)),
    "tv densenet121 wide": Row(tv("densenet121"), "features", (6, 10), shape=WIDE),
    "tv vgg11": Row(tv("vgg11"), "features.19", (14, 14)),
    "tv swin_v2_t wide": Row(tv("swin_v2_t"), "norm", (6, 10), shape=WIDE, layout="channels_last"),
    "tv resnet50": Row(tv("resnet50"), "layer4", (7, 7)),
    "tv vgg16": Row(tv("vgg16"), "features.29", (14, 14)),
    "tv vit_b_16": Row(tv("vit_b_16"), "encoder.layers.encoder_layer_11.ln_1", (14, 14), 1, layout="tokens"),
    "timm vit_base": Row(tm("vit_base_patch16_224"), "blocks.11.norm1", (14, 14), 1, layout="tokens"),
    # Sixteen pooling blocks with random weights carry a change up to two frames away; rows and columns hold.
    "tv mvit_v2_s, full size": Row(
        tv("mvit_v2_s"), "blocks.15.norm1", (8, 7, 7), 1, (3, 16, 224, 224), "tokens", off=2
    ),
}
ALL = [pytest.param(row, id=name) for name, row in ROWS.items()]
ALL += [pytest.param(row, id=name, marks=pytest.mark.slow) for name, row in SLOW.items()]


def missed(
    model: Model,
    layer: str,
    cells: tuple[int, ...],
    shape: tuple[int, ...],
    read: Callable[[Tensor], Tensor],
    tolerance: int,
) -> int:
    """Return at how many of `PLACES` random cells a change of just their pixels is not strongest there."""
    draw = torch.Generator().manual_seed(5)
    size = shape[1:]
    base = torch.randn(shape, generator=draw)
    places = [tuple(int(torch.randint(n, (), generator=draw)) for n in cells) for _ in range(PLACES)]
    inputs = [base]
    for place in places:
        pixels = tuple(
            slice(i * s // n, ceil((i + 1) * s / n)) for i, n, s in zip(place, cells, size, strict=True)
        )
        changed = base.clone()
        changed[(slice(None), *pixels)] += 3 * torch.randn(
            changed[(slice(None), *pixels)].shape, generator=draw
        )
        inputs.append(changed)
    with model.untouched(), torch.no_grad():
        maps = read(model.answer(torch.stack(inputs), [layer]).activations[layer])
    strength = (maps[1:] - maps[:1]).norm(dim=1)
    peaks = [tuple(int(i) for i in torch.unravel_index(s.argmax(), s.shape)) for s in strength]
    return sum(
        max(abs(a - b) for a, b in zip(peak, place, strict=True)) > tolerance
        for peak, place in zip(peaks, places, strict=True)
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("row", ALL)
def test_default_layer_and_its_geometry(row: Row) -> None:
    torch.manual_seed(1)
    model = Model(row.build())
    found = default_layer(model, row.shape)
    names = {row.layer.replace("{layers}", a) for a in ("layers", "encoder.layer")}  # transformers renamed it
    assert found.name in names
    assert found.grid == Grid(row.layout, row.cells, row.prefix)  # type: ignore[arg-type]
    assert missed(model, found.name, row.cells, row.shape, found.grid.read, row.tolerance) == 0
    survey(model, row.shape)
    assert default_layer(model, row.shape) == found, "a look at the last calls finds what a look at all finds"


def rolled(grid: Grid) -> Callable[[Tensor], Tensor]:
    """A reader that takes one token too few for the prefix."""
    return lambda a: grid.read(a.roll(1, 1))


def transposed(grid: Grid) -> Callable[[Tensor], Tensor]:
    """A reader that takes columns for rows."""
    return lambda a: grid.read(a).transpose(-1, -2)


def unordered(grid: Grid) -> Callable[[Tensor], Tensor]:
    """A reader that takes the other order of space and time."""
    return Grid(grid.layout, grid.cells, grid.prefix, not grid.space_major).read


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("timm vit", rolled),
        ("timm vit", transposed),
        ("tv resnet18", transposed),
        ("tv swin_t", transposed),
        ("hf vit", rolled),
        ("tv mvit", unordered),
    ],
)
def test_a_wrong_reading_fails_the_same_check(
    name: str, bug: Callable[[Grid], Callable[[Tensor], Tensor]]
) -> None:
    row = ROWS[name]
    torch.manual_seed(1)
    model = Model(row.build())
    found = default_layer(model, row.shape)
    assert found.grid is not None
    assert missed(model, found.name, row.cells, row.shape, bug(found.grid), row.tolerance) > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "build",
    [
        tv("vit_b_32"),
        tm("vit_tiny_patch16_224", depth=1),
        hf("ViT", **SMALL),
        tm("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1)),
        hf("Swin", embed_dim=24, depths=[1, 1, 2, 1], num_heads=[2, 2, 4, 4]),
    ],
    ids=["tv vit", "timm vit", "hf vit", "timm swin", "hf swin"],
)
def test_a_network_made_for_one_size_refuses_another_plainly(build: Callable[[], nn.Module]) -> None:
    with pytest.raises(
        DoesNotFit, match=r"inputs of shape \(3, 192, 320\).*size that the model was made for"
    ):
        default_layer(Model(build()), WIDE)


@pytest.mark.filterwarnings("ignore")
def test_every_token_layer_of_a_family_has_the_same_prefix() -> None:
    model = Model(ROWS["timm deit distilled"].build())
    grids = [layer.grid for layer in survey(model, (3, 224, 224)) if layer.grid and layer.shape[0] == 198]
    assert len(grids) > 20
    assert {g.prefix for g in grids} == {2}
