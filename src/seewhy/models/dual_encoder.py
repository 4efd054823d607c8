"""Dual encoders: images and texts in one space, where what belongs together is near.

`load_dual_encoder("hf:ORG/NAME")` (or `hf:FOLDER`) reads CLIP, SigLIP and their kind with transformers;
`FILE.py:FUNCTION` returns a `DualEncoder` of one's own: any pair of functions will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from seewhy.errors import BadInput, DoesNotFit, NotFinite, UnreadableInput
from seewhy.extras import optional
from seewhy.models.loading import CODE, made_by_code
from seewhy.models.sources.base import MODELS, from_network
from seewhy.models.sources.hugging_face import preprocessing_of, quietly
from seewhy.models.weights import digest
from seewhy.specs import Options, parse

_AT_ONCE = 64
"""Texts a pass."""


@dataclass(frozen=True, eq=False)
class DualEncoder:
    """Two functions into one space.

    Parameters
    ----------
    name
        How results call it.
    images, texts
        From a list of PIL images, and of texts, to `(n, d)` vectors, of any length but 0.
    weights_hash
        What tells one version from another, where there is such a thing.
    """

    name: str
    images: Callable[[Sequence[Image.Image]], Tensor]
    texts: Callable[[Sequence[str]], Tensor]
    weights_hash: str = ""

    def of_images(self, images: Sequence[Image.Image]) -> Tensor:
        """Return `(n, d)` float32 vectors of length 1, on the CPU.

        Raises
        ------
        BadInput
            When the function returns anything else than one vector an image.
        NotFinite
            For NaN or infinity.
        """
        return self._vectors(self.images(images), len(images), "image")

    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """Return `(n, d)` float32 vectors of length 1, on the CPU; raises as `of_images` does."""
        parts = [texts[i : i + _AT_ONCE] for i in range(0, len(texts), _AT_ONCE)]
        return torch.cat([self._vectors(self.texts(part), len(part), "text") for part in parts])

    def _vectors(self, found: Any, count: int, what: str) -> Tensor:
        asked = f"Asked {self.name} for {count} {what} vectors"
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != count:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise BadInput(asked, f"Found {shape}", f"Return a tensor ({count}, d)")
        vectors = found.detach().float().cpu()
        if not bool(vectors.isfinite().all()):
            raise NotFinite(asked, "Some values are NaN or infinite", "Check the encoder")
        return normalize(vectors, dim=1)


def load_dual_encoder(
    spec: str, *, allow_code: bool = False, device: torch.device | str | None = None
) -> DualEncoder:
    """Return the encoder of a spec.

    Parameters
    ----------
    spec
        `hf:ORG/NAME`, `hf:FOLDER` or `FILE.py:FUNCTION`.
    allow_code
        Let `FILE.py:FUNCTION` execute the file; only for files that one trusts.
    device
        Where it runs; the CPU by default.

    Raises
    ------
    BadInput
        For any other spec, code that may not be run, or a function that returns no `DualEncoder`.
    DoesNotFit
        For a checkpoint without both sides.
    MissingExtra
        When transformers is not installed.
    """
    head, values = parse(spec)
    options = Options(spec, values)
    asked = f"Asked for the encoder {spec!r}"
    if code := CODE.fullmatch(head):
        made = made_by_code(Path(code["file"]), code["function"], options, asked, allow_code=allow_code)
        options.done()
        if not isinstance(made, DualEncoder):
            raise BadInput(
                asked, f"It returned {type(made).__name__}", "Return a seewhy.models.dual_encoder.DualEncoder"
            )
        return made
    family, _, which = head.partition(":")
    if family != "hf" or not which:
        raise BadInput(asked, "There is no such encoder", "Give hf:ORG/NAME, hf:FOLDER or FILE.py:FUNCTION")
    options.done()
    transformers = optional("transformers", "transformers", asked, MODELS)
    folder = Path(which).expanduser()
    try:
        if folder.is_dir():
            return _of_checkpoint(transformers, str(folder), spec, asked, device)
        with from_network(asked, "Check the name and the connection, or give a local folder: hf:FOLDER"):
            return _of_checkpoint(transformers, which, spec, asked, device)
    except BadInput:
        raise
    except Exception as error:
        # Damaged files make the readers of three libraries raise what they like.
        found = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnreadableInput(asked, f"It cannot be loaded: {found}", "Save it again") from error


def _of_checkpoint(
    transformers: Any, which: str, spec: str, asked: str, device: torch.device | str | None
) -> DualEncoder:
    config = transformers.AutoConfig.from_pretrained(which)
    if not (hasattr(config, "text_config") and hasattr(config, "vision_config")):
        raise DoesNotFit(
            asked, f"{config.model_type} has no text beside images", "Give CLIP, SigLIP or alike"
        )
    module, loading = quietly(transformers, transformers.AutoModel, which)
    if not (hasattr(module, "get_image_features") and hasattr(module, "get_text_features")):
        raise DoesNotFit(asked, f"{config.model_type} has no vectors of both", "Give CLIP, SigLIP or alike")
    if missing := sorted(loading["missing_keys"]):
        raise UnreadableInput(asked, f"The checkpoint lacks {len(missing)} weights: {missing[0]}", "Get all")
    preprocess, _ = preprocessing_of(transformers, which, config)
    if preprocess is None:
        raise DoesNotFit(asked, "Its preprocessing has no counterpart here", "Give FILE.py:FUNCTION instead")
    tokens = transformers.AutoTokenizer.from_pretrained(which)
    module = module.eval().requires_grad_(False).to(device or "cpu")
    full = str(config.model_type).startswith("siglip")  # was trained on texts of one length
    longest = int(config.text_config.max_position_embeddings)

    def images(photos: Sequence[Image.Image]) -> Tensor:
        x = torch.stack([preprocess(photo) for photo in photos])
        with torch.inference_mode():
            return _pooled(module.get_image_features(pixel_values=x.to(module.device, module.dtype)))

    def texts(lines: Sequence[str]) -> Tensor:
        ready = tokens(
            list(lines),
            padding="max_length" if full else True,
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        )
        known = {k: v.to(module.device) for k, v in ready.items() if k in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            return _pooled(module.get_text_features(**known))

    return DualEncoder(spec, images, texts, digest(module))


def _pooled(output: Any) -> Tensor:
    """Return the vectors, which newer versions of transformers wrap."""
    vectors: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return vectors
