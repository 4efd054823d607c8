"""What a source of models is: it registers under a name, lists what it knows, and builds a `Model`."""

from __future__ import annotations

import importlib
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from seewhy.errors import BadInput, MissingExtra, SeeWhyError, UnknownName, UnreadableInput
from seewhy.models.model import Model
from seewhy.registry import Registry

Value = bool | int | float | str
T = TypeVar("T", bound=bool | int | float | str)

MODELS = "pip install 'seewhy[models]'"
DEMO = "pip install 'seewhy[demo]'"
ONNX = "pip install 'seewhy[onnx]'"


class Options:
    """The `?key=value&key=value` part of a spec: what is not taken by someone is refused in the end.

    Parameters
    ----------
    spec
        The whole spec, for messages.
    values
        The parsed options.
    """

    def __init__(self, spec: str, values: dict[str, Value]) -> None:
        self.spec, self.values = spec, dict(values)
        self._asked: list[str] = []

    def take(self, key: str, default: T) -> T:
        """Return the option `key`, of the type of `default`.

        Raises
        ------
        BadInput
            For a value of another type.
        """
        self._asked.append(key)
        value = self.values.pop(key, default)
        wanted = type(default)
        if wanted is str or (wanted is float and isinstance(value, int) and not isinstance(value, bool)):
            value = wanted(value)
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise BadInput(
                f"Asked for {self.spec}",
                f"The option {key!r} is {value!r}",
                f"Give {'true or false' if wanted is bool else f'a value of type {wanted.__name__}'}",
            )
        return value

    def rest(self) -> dict[str, Value]:
        """Take and return everything that is left."""
        values, self.values = self.values, {}
        return values

    def done(self) -> None:
        """Refuse what nobody took.

        Raises
        ------
        UnknownName
            With the options that there are.
        """
        for key in self.values:
            raise UnknownName("model option", key, self._asked)


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


def optional(module: str, package: str, asked: str, install: str) -> ModuleType:
    """Import an optional package; the warnings of its import are its own affair.

    Raises
    ------
    MissingExtra
        When it is not installed.
    """
    if find_spec(module.partition(".")[0]) is None:
        raise MissingExtra(asked, package, install)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)


def packaged_file(module: str, file: str, package: str, asked: str, install: str) -> Path:
    """Return the path of a file inside an installed package, which is not imported.

    Raises
    ------
    MissingExtra
        When the package, or the file in it, is not there.
    """
    spec = find_spec(module)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(place) / file).is_file():
            return Path(place) / file
    raise MissingExtra(asked, package, install)


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
