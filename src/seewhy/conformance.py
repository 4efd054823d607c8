"""What every method must hold to: run these checks on your own method, too.

    from seewhy.conformance import CHECKS
    for check in CHECKS.values():
        check(MyMethod(), network, inputs)

Each check takes a method, a `torch.nn.Module` and a normalised `(n, c, *size)` batch of at least two
samples, and raises `AssertionError` with the reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seewhy.attribution import Attribution
from seewhy.errors import SeeWhyError
from seewhy.execution import Execution
from seewhy.methods.base import Method

Check = Callable[[Method, nn.Module, Tensor], None]
CHECKS: dict[str, Check] = {}
"""Name to check, in the order in which they are worth reading."""


def _check(function: Check) -> Check:
    CHECKS[function.__name__] = function
    return function


@_check
def smoke(method: Method, module: nn.Module, x: Tensor) -> None:
    """One float32 map a sample at input resolution, on the CPU, finite, not constant; provenance is JSON."""
    import json

    result = method(module, x, 1)
    assert result.values.shape == (len(x), *x.shape[2:]), f"values have shape {tuple(result.values.shape)}"
    assert result.values.dtype == torch.float32
    assert result.values.device.type == "cpu"
    assert bool(result.values.isfinite().all()), "values are not finite"
    assert float(result.values.flatten(1).std(1).min()) > 0, "a map is constant"
    assert result.signed or float(result.values.min()) >= 0, "an unsigned map has negative values"
    json.dumps(result.provenance)


@_check
def batch_equals_singles(method: Method, module: nn.Module, x: Tensor) -> None:
    """A batch gives what its samples give alone, within 1e-5 of the largest value; so does any batch size."""
    whole = method(module, x, 1).values
    singles = torch.cat([method(module, sample[None], 1).values for sample in x])
    small = method(module, x, 1, Execution(batch_size=3)).values
    for other, name in ((singles, "singles"), (small, "a batch size of 3")):
        _close(whole, other, f"the batch and {name}")


@_check
def target_each(method: Method, module: nn.Module, x: Tensor) -> None:
    """A target a sample gives what each target gives alone; the target matters (or never, as declared)."""
    classes = [i % 3 for i in range(len(x))]
    mixed = method(module, x, classes).values
    for i, c in enumerate(classes):
        _close(mixed[i], method(module, x[i : i + 1], c).values[0], f"the mixed batch and class {c} alone")
    other = method(module, x[:1], 2).values
    same = torch.equal(other, method(module, x[:1], 0).values)
    assert same != method.targeted, f"the map does {'not ' * same}depend on the target"


@_check
def same_seed_same_bits(method: Method, module: nn.Module, x: Tensor) -> None:
    """The same call twice gives the same bits, whatever the global generators do in between."""
    first = method(module, x, 1, Execution(seed=5))
    torch.rand(3)
    second = method(module, x, 1, Execution(seed=5))
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.native, second.native)


@_check
def stream_ends_in_the_result(method: Method, module: nn.Module, x: Tensor) -> None:
    """The last estimate of a stream is what a call returns; estimates before it have its shape."""
    estimates = list(method.stream(module, x, 1))
    final = method(module, x, 1)
    assert torch.equal(estimates[-1].values, final.values)
    assert all(e.values.shape == final.values.shape for e in estimates)
    assert not method.streams or len(estimates) > 1, "it says that it streams and yields once"


@_check
def save_and_open(method: Method, module: nn.Module, x: Tensor) -> None:
    """What is saved comes back bit for bit."""
    result = method(module, x, 1)
    with tempfile.TemporaryDirectory() as folder:
        result.save(Path(folder) / "map")
        back = Attribution.open(Path(folder) / "map")
    assert torch.equal(back.values, result.values)
    assert torch.equal(back.native, result.native)
    assert torch.equal(back.pixels, result.pixels)
    assert back.provenance == result.provenance


@_check
def leaves_no_trace(method: Method, module: nn.Module, x: Tensor) -> None:
    """Nothing is changed: hooks, modes, flags, gradients, weights, random states, types, devices.

    Tested after success, and after an exception or an interruption inside the model in its first, second or
    third pass.
    """
    for p in module.parameters():
        p.requires_grad_(True)
    next(iter(module.children())).train()  # a mixed state must come back mixed
    before = state_of(module)
    method(module, x, 1)
    changed = [k for k, v in state_of(module).items() if v != before[k]]
    assert not changed, f"after success, these changed: {changed}"
    last = list(module.modules())[-1]
    for error in (RuntimeError("planted"), KeyboardInterrupt()):
        for calls in (0, 1, 2):
            with _Failing(last, error, after=calls):
                inside, raised = state_of(module), None
                try:
                    method(module, x, 1)
                except (type(error), SeeWhyError) as caught:
                    raised = caught
                assert raised is None or error in (raised, raised.__cause__), f"{raised!r} hides {error!r}"
                assert state_of(module) == inside, f"something changed after {error!r} in pass {calls + 1}"
    assert state_of(module) == before
    module.eval()


def state_of(module: nn.Module) -> dict[str, Any]:
    """Return everything about a network, and the random generators, that an explanation must not change."""
    return {
        "hooks": [
            (name, sorted((k, len(v)) for k, v in vars(m).items() if k.endswith("hooks") and v))
            for name, m in module.named_modules()
        ],
        "attributes": [(name, sorted(vars(m))) for name, m in module.named_modules()],
        "modules": [(name, id(m)) for name, m in module.named_modules()],
        "modes": [m.training for m in module.modules()],
        "parameters": [
            (n, p.requires_grad, p.grad is None, p.dtype, str(p.device), p.stride(), _bytes(p))
            for n, p in module.named_parameters()
        ],
        "buffers": [(n, b.dtype, str(b.device), _bytes(b)) for n, b in module.named_buffers()],
        "random": (_bytes(torch.get_rng_state()), repr(np.random.get_state())),  # noqa: NPY002
        "grad enabled": torch.is_grad_enabled(),
    }


class _Failing:
    """Let a module raise after some calls, without hooks."""

    def __init__(self, module: nn.Module, error: BaseException, after: int) -> None:
        self.module, self.error, self.left = module, error, after
        self.kind = type(module)

    def __enter__(self) -> None:
        outer = self

        class Failing(self.kind):  # type: ignore[name-defined, misc]
            def forward(self, *args: Any, **kwargs: Any) -> Any:
                outer.left -= 1
                if outer.left < 0:
                    raise outer.error
                return super().forward(*args, **kwargs)

        self.module.__class__ = Failing

    def __exit__(self, *_: object) -> None:
        self.module.__class__ = self.kind


def _bytes(t: Tensor) -> bytes:
    return t.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _close(a: Tensor, b: Tensor, names: str) -> None:
    gap, scale = float((a - b).abs().max()), max(float(a.abs().max()), 1e-12)
    assert gap <= 1e-5 * max(scale, 1.0), f"{names} differ by {gap:.2e} (largest value {scale:.2e})"
