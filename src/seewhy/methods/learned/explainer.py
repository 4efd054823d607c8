"""A trained explainer: one small file that knows which model it explains, what it was trained on, and how.

The file is safetensors: half-precision tensors, and one JSON text that carries the digest of the tensors
and of itself. It is bound to the weights of the explained model: opened beside another one, it is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from weakref import WeakSet

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from seewhy.errors import BadInput, UnreadableInput
from seewhy.files import write_atomically
from seewhy.models.labels import Labels
from seewhy.models.loading import load
from seewhy.models.model import Model
from seewhy.types import Json

FORMAT = 1
FEW = 100
"""Images, repeats included, below which a class's own row is no good map yet: a warning says so."""
_KEY, _DIGEST = "seewhy_explainer", "sha256"
_KEPT = 4
_OWN = "weights:"
_OPENED: OrderedDict[str, Explainer] = OrderedDict()
_PROVIDED: dict[str, Model] = {}
_LOADED: WeakSet[Model] = WeakSet()
"""Auxiliary networks that were loaded here: nobody else holds them, so that one look at them is enough."""


@dataclass(frozen=True, eq=False)
class Explainer:
    """What training leaves.

    Parameters
    ----------
    method
        Name of the method that uses it.
    model
        `name`, `weights_sha256`, `classes` and `labels_sha256` of the explained model.
    auxiliary
        `spec`, `weights_sha256` and `stages` of the network that gives the features; None where the explained
        model or the explainer itself does.
    coverage
        For each class, how many images trained it, repeats included.
    settings
        What training was asked for.
    record
        What happened: steps, losses, seconds, versions, data.
    tensors
        Weights by name, in the method's own form.
    """

    method: str
    model: Json
    auxiliary: Json | None
    coverage: tuple[int, ...]
    settings: Json
    record: Json
    tensors: Mapping[str, Tensor]

    @property
    def classes(self) -> int:
        """How many classes the explained model has."""
        return len(self.coverage)

    @property
    def covered(self) -> list[int]:
        """Classes that at least one image trained."""
        return [c for c, images in enumerate(self.coverage) if images]

    def unfit(self, method: str, model: Model) -> str:
        """Return why this explainer cannot explain `model` by `method`, or ""."""
        if method != self.method:
            return f"the explainer was trained for {self.method}, not for {method}"
        theirs, ours = self.model["weights_sha256"], model.weights_hash
        if theirs != ours:
            known = f"{self.model['name']} (weights {theirs})"
            return f"the explainer was trained for {known}, not for these weights ({ours})"
        labels, known = labels_hash(model.labels), self.model["labels_sha256"]
        if labels is not None and known is not None and labels != known:
            return "the explainer was trained for the same network with other class names, or another order"
        return ""

    def warning(self, index: int, name: str, advice: str) -> str:
        """Return what a user must know before trusting the map of a class, or ""."""
        images = self.coverage[index]
        if images >= FEW:
            return ""
        what = (
            f"No image of the class trained this explainer: the map shows {self._untrained}"
            if not images
            else f"Only {images} images of the class trained this explainer"
        )
        return f"{name}: {what}. For this class use another method, such as {advice}."

    @property
    def _untrained(self) -> str:
        held = (
            "what its auxiliary network holds for it, and " if (self.auxiliary or {}).get("evidence") else ""
        )
        return f"{held}what stands out for any class"

    def save(self, path: str | Path) -> Path:
        """Write the explainer to `path`, whole or not at all, and return the path with its ending.

        Raises
        ------
        BadInput
            When the folder cannot be written, or a weight is beyond half precision.
        """
        file = Path(path)
        file = file if file.suffix == ".safetensors" else file.with_name(f"{file.name}.safetensors")
        small = {name: _half(name, t) for name, t in self.tensors.items()}
        about = {k: v for k, v in asdict(self).items() if k != "tensors"}
        text = json.dumps(
            {"format": FORMAT, **about, "tensors_sha256": _tensors_digest(small)}, sort_keys=True
        )
        write_atomically(file, to_bytes(small, {_KEY: text, _DIGEST: _sha(text.encode())}))
        return file


def described(model: Model, classes: int) -> Json:
    """Return what an explainer remembers of the model that it explains."""
    return {
        "name": model.name,
        "weights_sha256": model.weights_hash,
        "classes": classes,
        "labels_sha256": labels_hash(model.labels),
    }


def labels_hash(labels: Labels | None) -> str | None:
    """Return a digest of class names in their order; None where there are none."""
    return None if labels is None else _sha(json.dumps(list(labels)).encode())[:16]


def open_explainer(path: str | Path) -> Explainer:
    """Read what `Explainer.save` wrote; files with the same content are read once.

    Raises
    ------
    UnreadableInput
        When the file is missing, damaged or changed, or no explainer.
    """
    file = Path(path).expanduser()
    asked = f"Asked for the trained explainer {file}"
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UnreadableInput(
            asked, f"It cannot be read: {error.strerror or error}", "Train one: seewhy train --help"
        ) from error
    key = _sha(content)
    if key in _OPENED:
        _OPENED.move_to_end(key)
        return _OPENED[key]
    explainer = _parsed(content, asked)
    _OPENED[key] = explainer
    while len(_OPENED) > _KEPT:
        _OPENED.popitem(last=False)
    return explainer


def misfit(file: str | None, method: str, model: Model) -> str:
    """Return why `method` cannot explain `model` with the explainer in a file (None: there is none), or "".

    Raises
    ------
    UnreadableInput
        As `open_explainer` does.
    """
    if file is None:
        return (
            f"it needs an explainer trained for {model.name}: seewhy train {method} --model SPEC "
            "--data FOLDER --out FILE, then --explainer FILE"
        )
    return open_explainer(file).unfit(method, model)


def _parsed(content: bytes, asked: str) -> Explainer:
    try:
        (length,) = (int.from_bytes(content[:8], "little"),)
        about = json.loads(content[8 : 8 + length])["__metadata__"]
        text, digest = about[_KEY], about[_DIGEST]
        tensors = from_bytes(content)
        facts = json.loads(text)
        sound = _sha(text.encode()) == digest and facts.pop("tensors_sha256") == _tensors_digest(tensors)
        version = facts.pop("format")
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UnreadableInput(
            asked, "It is no explainer that `seewhy train` wrote, or it is damaged", "Train it again"
        ) from error
    if version != FORMAT:
        raise UnreadableInput(asked, f"It is of format {version}, this is {FORMAT}", "Train it again")
    if not sound:
        raise UnreadableInput(
            asked, "It was changed after training: its digest is not that of its content", "Train it again"
        )
    if isinstance((facts["auxiliary"] or {}).get("evidence"), str):
        raise UnreadableInput(asked, "Its evidence is of a form that is read no more", "Train it again")
    facts["coverage"] = tuple(facts["coverage"])
    return Explainer(**facts, tensors=tensors)


def provide(auxiliary: Model) -> str:
    """Keep a network of one's own as an auxiliary network; return the name by which trainings take it.

    Explainers name their auxiliary network by its spec; a network made in Python has none, and code
    (`FILE.py:FUNCTION`) is not run because a file says so. Such a network must be provided again in each
    process that uses the explainer.
    """
    key = auxiliary.weights_hash
    _PROVIDED[key] = auxiliary
    return f"{_OWN}{key}"


def auxiliary_network(spec: str) -> Model:
    """Return the auxiliary network that a spec, or the name that `provide` returned, means.

    Raises
    ------
    BadInput
        When it is code, or was not provided, or cannot be loaded.
    """
    asked = f"Asked for the auxiliary network {spec}"
    do = "In Python: seewhy.methods.learned.explainer.provide(model), and its answer as the name"
    if spec.startswith(_OWN):
        known = _PROVIDED.get(spec.removeprefix(_OWN))
        if known is None:
            raise BadInput(asked, "It was not provided to this process", do)
        return known
    if ".py:" in spec:
        raise BadInput(asked, "Code is not run because an explainer's file names it", do)
    model = load(spec)
    model.module.requires_grad_(False)
    _PROVIDED[model.weights_hash] = model
    _LOADED.add(model)
    return model


def is_ours(auxiliary: Model) -> bool:
    """Tell whether an auxiliary network was loaded by its spec, and is out of a user's reach."""
    return auxiliary in _LOADED


def auxiliary_of(explainer: Explainer) -> Model:
    """Return the auxiliary network that an explainer names, loaded once.

    Raises
    ------
    BadInput
        When it cannot be loaded, or has other weights than it had in training.
    """
    about = explainer.auxiliary
    assert about is not None
    wanted = about["weights_sha256"]
    model = _PROVIDED.get(wanted)
    if model is not None and is_ours(model):
        return model
    model = model or auxiliary_network(about["spec"])
    if model.weights_hash != wanted:
        raise BadInput(
            f"Asked for the auxiliary network {about['spec']} of an explainer",
            f"Its weights are {model.weights_hash}; those of the training were {wanted}",
            "Install the version with which the explainer was trained, or train it again",
        )
    return model


def _half(name: str, t: Tensor) -> Tensor:
    small = t.detach().cpu().contiguous()
    if small.is_floating_point():
        small = small.half()
        if not bool(small.isfinite().all()):
            raise BadInput(
                "Asked to save an explainer",
                f"Its weight {name!r} holds NaN, or numbers beyond half precision",
                "Train with a lower rate",
            )
    return small


def _tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    sha = hashlib.sha256()
    for name in sorted(tensors):
        t = tensors[name]
        sha.update(f"{name} {t.dtype} {tuple(t.shape)}\n".encode())
        sha.update(t.contiguous().flatten().view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
