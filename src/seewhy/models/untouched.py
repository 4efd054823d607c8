"""Leave the model as found: modes, gradients' flags, random state and device, also after an exception."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

Parts: TypeAlias = tuple[list[nn.Module], list[Tensor]]
"""Modules, and parameters and buffers."""


@contextmanager
def untouched(module: nn.Module, device: torch.device | str | None = None) -> Iterator[Parts]:
    """Run the block in evaluation mode with frozen weights, then restore everything.

    Parameters
    ----------
    module
        The network; every submodule's mode and every parameter's `requires_grad` are remembered one by one.
    device
        Where to run; the network returns to where it was. `None` stays.

    Yields
    ------
    tuple
        The `parts` of the network.
    """
    modules, tensors = parts(module)
    # Only what is not yet as wanted is changed: this is entered often, and setting is slow.
    modes = [m for m in modules if m.training]
    flags = [t for t in tensors if t.requires_grad and isinstance(t, nn.Parameter)]
    home = tensors[0].device if tensors else None
    cpu_state = torch.get_rng_state()
    gpu_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        if device is not None and home is not None:
            module.to(device)
        for m in modes:
            m.training = False
        for p in flags:
            p.requires_grad_(False)
        yield modules, tensors
    finally:
        for m in modes:
            m.training = True
        for p in flags:
            p.requires_grad_(True)
        if device is not None and home is not None:
            module.to(home)
        torch.set_rng_state(cpu_state)
        if gpu_states:
            torch.cuda.set_rng_state_all(gpu_states)


def structure(module: nn.Module) -> tuple[tuple[str, int], ...]:
    """Return what changes when a module below `module` is exchanged, added, taken out or renamed.

    As comparing all `named_modules()` would tell, in a tenth of the time.
    """
    return tuple(_walked(module)[1])


def wiring(module: nn.Module) -> tuple[object, ...]:
    """Return what changes when a call of `module` may run something else, with the same weights.

    That is so when a module below it is exchanged, a hook is registered or removed, or a `forward` is put on
    a module. Copies of the network that are kept do what it did when they were made. The parts are good for
    comparing only.
    """
    modules, links = _walked(module)
    changed = []
    for m in modules:
        hooks = hooks_of(m)
        if hooks or "forward" in m.__dict__:
            changed.append((id(m), hooks, id(m.__dict__.get("forward"))))
    return tuple(links), tuple(changed)


def hooks_of(m: nn.Module) -> tuple[int, ...]:
    """Return the ids of the hooks that are registered on a module."""
    if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks:
        return (*m._forward_pre_hooks, *m._forward_hooks, *m._backward_pre_hooks, *m._backward_hooks)
    return ()


def parts(module: nn.Module) -> Parts:
    """Return all modules below and with `module`, and all their parameters and buffers, each once.

    As `modules()`, `parameters()` and `buffers()` do, parameters first, in a tenth of the time.
    """
    modules = _walked(module)[0]
    tensors: dict[int, Tensor] = {}
    for m in modules:
        for p in m._parameters.values():
            if p is not None:
                tensors[id(p)] = p
    for m in modules:
        for b in m._buffers.values():
            if b is not None:
                tensors[id(b)] = b
    return modules, list(tensors.values())


def _walked(module: nn.Module) -> tuple[list[nn.Module], list[tuple[str, int]]]:
    """Return all modules below and with `module`, each once, and the names by which they hold each other."""
    modules, waiting, found = [module], [module], {id(module)}
    links: list[tuple[str, int]] = []
    while waiting:
        for name, child in waiting.pop()._modules.items():
            links.append((name, id(child)))
            if child is not None and id(child) not in found:
                found.add(id(child))
                modules.append(child)
                waiting.append(child)
    return modules, links
