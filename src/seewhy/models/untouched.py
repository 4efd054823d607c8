"""Leave the model as found: modes, gradients' flags, random state and device, also after an exception."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def untouched(module: nn.Module, device: torch.device | str | None = None) -> Iterator[None]:
    """Run the block in evaluation mode with frozen weights, then restore everything.

    Parameters
    ----------
    module
        The network; every submodule's mode and every parameter's `requires_grad` are remembered one by one.
    device
        Where to run; the network returns to where it was. `None` stays.
    """
    modes = [(m, m.training) for m in module.modules()]
    flags = [(p, p.requires_grad) for p in module.parameters()]
    home = next((t.device for t in (*module.parameters(), *module.buffers())), None)
    cpu_state = torch.get_rng_state()
    gpu_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        if device is not None and home is not None:
            module.to(device)
        for m, _ in modes:
            m.training = False
        for p, _ in flags:
            p.requires_grad_(False)
        yield
    finally:
        for m, training in modes:
            m.training = training
        for p, wanted in flags:
            p.requires_grad_(wanted)
        if device is not None and home is not None:
            module.to(home)
        torch.set_rng_state(cpu_state)
        if gpu_states:
            torch.cuda.set_rng_state_all(gpu_states)
