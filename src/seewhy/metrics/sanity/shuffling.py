"""A network whose weights change places, layer by layer: what it learned goes, its scales stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import DoesNotFit
from seewhy.models.model import Model
from seewhy.perturb.counters import uniform
from seewhy.types import Batch

_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True)
class Shuffled:
    """A copy of a model and its layers with weights.

    Parameters
    ----------
    model
        The copy; its weights are those of the original until `shuffle`.
    layers
        Names of the modules that hold parameters of their own, in order of execution.
    seed
        Of the orders. That of a layer follows from the seed and its place in `layers`.
    """

    model: Model
    layers: tuple[str, ...]
    seed: int
    _trained: tuple[tuple[Tensor, ...], ...]

    @classmethod
    def of(cls, model: Model, x: Batch, seed: int) -> Shuffled:
        """Copy a model, and run the copy once on one input `(1, c, *size)` to learn the order of its layers.

        Raises
        ------
        DoesNotFit
            When the model holds no weights, or cannot be copied.
        """
        if not any(_state(module) for module in model.module.modules()):
            raise DoesNotFit(
                f"Asked to change the weights of {model.name}",
                "Its network holds none",
                "Choose a model that runs in PyTorch, or a metric of faithfulness (deletion, insertion)",
            )
        copied = model.copy()
        layers = _in_order(copied, x)
        parts = (_state(copied.module.get_submodule(name)) for name in layers)
        return cls(copied, layers, seed, tuple(tuple(t.detach().clone() for t in each) for each in parts))

    def shuffle(self, which: Sequence[int]) -> None:
        """Give the layers with these places in `layers` other orders, and all others their own weights."""
        with torch.no_grad():
            for i, (name, trained) in enumerate(zip(self.layers, self._trained, strict=True)):
                for now, own in zip(_state(self.model.module.get_submodule(name)), trained, strict=True):
                    now.copy_(self._moved(own, i) if i in which else own)

    def _moved(self, t: Tensor, layer: int) -> Tensor:
        """Return the elements in another order: one for all vectors of a layer, another for its matrices."""
        address = torch.arange(t.numel(), device=t.device) + (2 * layer + (t.ndim > 1)) * (1 << 32)
        order = uniform(self.seed, address, 1)[:, 0].argsort(stable=True)
        return t.flatten()[order].reshape(t.shape)


def _in_order(model: Model, x: Batch) -> tuple[str, ...]:
    """Return the modules with parameters by first call; one that is not called follows the one around it."""
    first: dict[str, int] = {}

    def note(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_module: nn.Module, _args: Any) -> None:
            first.setdefault(name, len(first))

        return hook

    with ExitStack() as hooks, model.untouched(), torch.no_grad():
        for name, module in model.module.named_modules():
            hooks.callback(module.register_forward_pre_hook(note(name)).remove)
        model.answer(x)
    owners = [name for name, module in model.module.named_modules() if _state(module)]

    def place(name: str) -> int:
        while name not in first:
            name = name.rpartition(".")[0]
        return first[name]

    return tuple(sorted(owners, key=place))


def _state(module: nn.Module) -> list[Tensor]:
    """Return a module's own parameters; with them, as far as it has any, its running statistics."""
    own: list[Tensor] = [p for p in module.parameters(recurse=False) if p.is_floating_point()]
    if not own:
        return []
    statistics = (b for name, b in module.named_buffers(recurse=False) if name in _STATISTICS)
    return own + [b for b in statistics if b is not None]
