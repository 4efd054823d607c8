"""Tensors that hand every call with them to a session: how a network's own forward code is followed.

A `Tracked` tensor has the shape, type and device of the map that it stands for. The session holds what there
is of it; what the tensor itself holds is NaN, so that code which reads it past the session cannot be silently
wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seewhy.models.calls import leaves, map_tensors

_KNOWN_WITHOUT_VALUES = frozenset(
    [
        *(
            getattr(Tensor, name).__get__
            for name in ("shape", "dtype", "device", "layout", "ndim", "is_cuda", "requires_grad", "is_cpu")
        ),
        *(
            getattr(Tensor, name)
            for name in ("size", "dim", "numel", "nelement", "ndimension", "__len__", "is_floating_point")
        ),
        *(torch.numel, torch.is_floating_point, torch.is_tensor, Tensor.is_complex, torch.is_complex),
        Tensor.get_device,
    ]
)


class NoPatches(Exception):
    """Why a network cannot be run on patches."""


class Tracked(Tensor):
    """Stands for a map of a session."""

    session: Session
    node: int
    """Its number among the maps of which there are patches; -1 for others."""
    held: Tensor
    """Its patch, or the whole of it where `node` is -1."""

    @classmethod
    def of(cls, session: Session, node: int, held: Tensor, shape: tuple[int, ...]) -> Tracked:
        """Return a tensor that stands for a map of `shape`."""
        nan = float("nan") if held.is_floating_point() or held.is_complex() else 0
        found = torch.full((), nan, dtype=held.dtype, device=held.device).expand(shape).as_subclass(cls)
        found.session, found.node, found.held = session, node, held
        return found

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        keywords: dict[str, Any] | None = None,
    ) -> Any:
        """Hand a call to the session."""
        keywords = keywords or {}
        if function in _KNOWN_WITHOUT_VALUES:
            with torch._C.DisableTorchFunctionSubclass():
                return function(*args, **keywords)
        maps = [t for t in leaves((args, keywords)) if isinstance(t, Tracked)]
        return maps[0].session.call(function, args, keywords, maps)


class Session(ABC):
    """One pass that is followed."""

    @abstractmethod
    def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        keywords: dict[str, Any],
        maps: list[Tracked],
    ) -> Any:
        """Do a call in which `maps` occur."""

    @abstractmethod
    def whole(self, t: Tracked) -> Tensor:
        """Return the whole map that `t` stands for."""

    def on_wholes(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        keywords: dict[str, Any],
        maps: list[Tracked],
    ) -> Any:
        """Do a call on whole maps."""
        for t in maps:
            if t.node >= 0:
                t.held, t.node = self.whole(t), -1
        plain, named = map_tensors((args, keywords), lambda t: t.held if isinstance(t, Tracked) else t)
        return function(*plain, **named)

    def followed(self, name: str, found: Any, maps: list[Tracked]) -> Any:
        """Return the result of the call `name` on whole maps so that what is done to it is followed."""
        if found is None:  # written in place
            return None
        if not leaves(found):
            raise NoPatches(f"its code looks at values, or at memory ({name})")
        known = {id(t.held): t for t in maps}

        def wrap(t: Any) -> Any:
            same = known.get(id(t))
            return Tracked.of(self, -1, t, tuple(t.shape)) if same is None else same

        return map_tensors(found, wrap)

    def finished(self, raw: Any) -> Any:
        """Return what the network gave back, as plain tensors."""

        def plain(t: Any) -> Any:
            return t if not isinstance(t, Tracked) else t.held if t.node < 0 else self.whole(t)

        return map_tensors(raw, plain)
