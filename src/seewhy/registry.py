"""Names to classes: a decorator registers, everything else (command line, studio, docs, tests) discovers."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from seewhy.errors import UnknownName

T = TypeVar("T")
C = TypeVar("C", bound=type)


class Registry(Generic[T]):
    """The classes of one kind, found by importing every module of one package on first use.

    Parameters
    ----------
    kind
        Singular noun used in messages: "method", "metric", "model family".
    package
        Dotted name of the package whose modules register themselves.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._entries: dict[str, type[T]] = {}
        self._discovered = False

    def register(self, cls: C) -> C:
        """Class decorator: enter `cls` under its class attribute `name`."""
        name: str = cls.name  # type: ignore[attr-defined]
        existing = self._entries.get(name)
        if existing is not None and existing.__qualname__ != cls.__qualname__:
            raise ValueError(
                f"Two {self.kind}s are named {name!r}: {existing.__qualname__}, {cls.__qualname__}"
            )
        self._entries[name] = cls
        return cls

    def __getitem__(self, name: str) -> type[T]:
        self._discover()
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownName(self.kind, name, self.names()) from None

    def __iter__(self) -> Iterator[type[T]]:
        return (self[name] for name in self.names())

    def __contains__(self, name: object) -> bool:
        self._discover()
        return name in self._entries

    def names(self) -> list[str]:
        """Return every name, sorted."""
        self._discover()
        return sorted(self._entries)

    def _discover(self) -> None:
        if self._discovered:
            return
        root = importlib.import_module(self.package)
        walk: Callable[..., Iterator[pkgutil.ModuleInfo]] = pkgutil.walk_packages
        for module in walk(root.__path__, prefix=f"{self.package}."):
            importlib.import_module(module.name)
        self._discovered = True
