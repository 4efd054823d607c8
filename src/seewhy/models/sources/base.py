"""What a source of models is: it registers under a name, lists what it knows, and builds a `Model`."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from seewhy.errors import BadInput, SeeWhyError, UnreadableInput
from seewhy.models.model import Model
from seewhy.registry import Registry
from seewhy.specs import Options

MODELS = "pip install 'seewhy[models]'"
DEMO = "pip install 'seewhy[demo]'"
ONNX = "pip install 'seewhy[onnx]'"


class Family(ABC):
    """Many models behind one prefix: `name:WHICH`.

    Attributes
    ----------
    name
        The prefix.
    example
        A spec as a user would type it.
    """

    name: ClassVar[str]
    example: ClassVar[str]

    @abstractmethod
    def load(self, which: str, options: Options) -> Model:
        """Build the model; the module is on the CPU."""

    def names(self) -> list[str]:
        """Return what may stand behind the prefix, or nothing where that cannot be listed."""
        return []


class PackagedModel(ABC):
    """One model whose weights come inside a package of the registry: works without a network.

    Attributes
    ----------
    name
        The whole spec.
    title
        What it is, in one line.
    """

    name: ClassVar[str]
    title: ClassVar[str]

    @abstractmethod
    def load(self, options: Options) -> Model:
        """Build the model; the module is on the CPU."""


FAMILIES: Registry[Family] = Registry("model family", "seewhy.models.sources")
PACKAGED: Registry[PackagedModel] = Registry("model", "seewhy.models.sources")


def read_weights(path: Path, asked: str) -> dict[str, Tensor]:
    """Return the tensors of a `.pth` file; nothing in it is executed (`weights_only=True`).

    Raises
    ------
    UnreadableInput
        When it holds anything else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UnreadableInput(
            asked,
            f"Its weights cannot be read from {path}: {type(error).__name__}",
            "Install the package again",
        ) from error
    return dict(state)


@contextmanager
def from_network(asked: str, do: str) -> Iterator[None]:
    """Turn the many errors of hubs and connections into one plain message."""
    try:
        yield
    except SeeWhyError:
        raise
    except Exception as error:
        home = type(error).__module__.partition(".")[0]
        if not isinstance(error, OSError) and home not in ("huggingface_hub", "httpx", "requests", "urllib3"):
            raise
        raise BadInput(
            asked, "Its weights are not on this machine and could not be downloaded", do
        ) from error


def pair(text: str, spec: str) -> tuple[int, int]:
    """Return `(height, width)` of "192x320" or "224".

    Raises
    ------
    BadInput
        For anything else.
    """
    found = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if not found:
        raise BadInput(
            f"Asked for {spec}", f"The size {text!r} is none", "Write HEIGHTxWIDTH in pixels, such as 192x320"
        )
    return int(found[1]), int(found[2] or found[1])
