"""Encoders of images and texts: transformers' own answers, a user's pair of functions, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from seewhy.errors import BadInput, NotFinite
from seewhy.models.dual_encoder import DualEncoder, load_dual_encoder
from seewhy.models.preprocessing import Preprocessing
from small_clip import save_clip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


def test_vectors_are_those_of_transformers(checkpoint: Path) -> None:
    from transformers import CLIPModel

    encoder = load_dual_encoder(f"hf:{checkpoint}")
    reference = CLIPModel.from_pretrained(checkpoint).eval()
    photos = [
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (40, 50, 3), dtype=np.uint8))
        for i in range(3)
    ]
    # "a photo of cherry" and "leaf", by the vocabulary; the second is shorter.
    ids = torch.tensor([[1, 4, 5, 6, 7, 2], [1, 8, 2, 0, 0, 0]])
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    look = Preprocessing((32, 32), "crop", 32, "bicubic", mean, std, centre="down")
    with torch.no_grad():
        output = reference(
            input_ids=ids,
            attention_mask=(ids > 0).long(),
            pixel_values=torch.stack([look(p) for p in photos]),
        )
    texts = encoder.of_texts(["a photo of cherry", "leaf"])
    torch.testing.assert_close(texts, normalize(output.text_embeds, dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        encoder.of_images(photos), normalize(output.image_embeds, dim=1), rtol=1e-4, atol=1e-5
    )
    assert len(encoder.weights_hash) == 16
    many = encoder.of_texts(["leaf", "dog"] * 50)
    torch.testing.assert_close(many[0], many[98])
    assert not torch.allclose(many[0], many[1])


def test_a_users_own_pair(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\nfrom seewhy.models.dual_encoder import DualEncoder\n"
        "def pair(d='3'):\n"
        "    d = int(d)\n"
        "    return DualEncoder('mine', lambda p: 5 * torch.ones(len(p), d), lambda t: torch.eye(d))\n"
        "def wrong():\n    return 3\n"
    )
    encoder = load_dual_encoder(f"{file}:pair?d=4", allow_code=True)
    assert encoder.of_images([Image.new("RGB", (2, 2))]).tolist() == [[0.5] * 4]
    assert torch.equal(encoder.of_texts(["a", "b", "c", "d"]), torch.eye(4))
    with pytest.raises(BadInput, match="only on the command line"):
        load_dual_encoder(f"{file}:pair")
    with pytest.raises(BadInput, match="It returned int"):
        load_dual_encoder(f"{file}:wrong", allow_code=True)


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    ViTModel(
        ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path / "vit")
    for spec, message in (
        (f"hf:{tmp_path / 'vit'}", "no text beside images"),
        ("timm:resnet18", "no such encoder"),
        (f"hf:{tmp_path}", "cannot be loaded"),
    ):
        with pytest.raises(BadInput, match=message):
            load_dual_encoder(spec)
    flat = DualEncoder(
        "flat", lambda photos: torch.ones(3), lambda texts: torch.full((len(texts), 2), torch.nan)
    )
    with pytest.raises(BadInput, match=r"Return a tensor \(1, d\)"):
        flat.of_images([Image.new("RGB", (2, 2))])
    with pytest.raises(NotFinite):
        flat.of_texts(["a"])
