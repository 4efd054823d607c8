"""Weights: a number that changes when they do, and whether they are sound, which is asked when it has."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors

from seewhy.inputs.batch import all_finite
from seewhy.models.check_sums import on_accelerator, summable
from seewhy.models.untouched import parts

_SMALL = 1 << 16
"""Bytes of a weight below which it is looked at together with others."""
_SIDE = 256
"""Words of eight bytes in a row of large weights, and rows in a block."""


@dataclass(frozen=True)
class Sweep:
    """One look at all weights, still under way on accelerators.

    Parameters
    ----------
    parts
        For some weights each: a check sum that depends on every bit and its place; a number, or an int64
        tensor of several.
    """

    parts: tuple[int | Tensor, ...]

    def settle(self) -> tuple[int, ...]:
        """Return the check sums."""
        return tuple(n for p in self.parts for n in (p.tolist() if isinstance(p, Tensor) else [p]))


def sweep(module: nn.Module) -> Sweep:
    """Begin to look at all parameters and buffers; an accelerator works on while the caller does."""
    there: list[Tensor] = []
    here: list[Tensor] = []
    for t in parts(module)[1]:
        (there if summable(t) else here).append(t)
    looks: list[int | Tensor] = []
    with torch.no_grad():
        if there:
            looks.append(on_accelerator(module, there))
        alike: dict[torch.dtype, list[Tensor]] = {}
        for t in here:
            alike.setdefault(t.dtype, []).append(t)
        for those in alike.values():
            small = [t for t in those if t.nbytes < _SMALL]
            looks += [zlib.crc32(_bytes_of(_flatten_dense_tensors(small)))] if small else []
            looks += [_digits(_bytes_of(t.detach())) for t in those if t.nbytes >= _SMALL]
    return Sweep(tuple(looks))


def weights(module: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name, detached."""
    return {k: t.detach() for k, t in module.state_dict().items() if isinstance(t, Tensor)}


def digest(module: nn.Module) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of all weights, names and types included."""
    sha = hashlib.sha256()
    for name, t in weights(module).items():
        sha.update(f"{name} {t.dtype} {tuple(t.shape)}\n".encode())
        sha.update(_bytes_of(t))
    return sha.hexdigest()[:16]


def unsound(module: nn.Module) -> str | None:
    """Return the name of the first weight that holds NaN or infinity."""
    return next((name for name, t in weights(module).items() if not _finite(t)), None)


def _finite(t: Tensor) -> bool:
    if not (t.is_floating_point() or t.is_complex()):
        return True
    return all_finite(t)


def _bytes_of(t: Tensor) -> memoryview:
    return t.cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _digits(content: memoryview) -> int:
    """Return a check sum of many bytes, four times as fast as CRC alone: that of sums over rows and columns.

    Any change of one word changes the sum of its row, and an exchange of two that of a row or a column.
    """
    block = 8 * _SIDE * _SIDE
    found = 0
    for start in range(0, len(content), block):
        part = np.frombuffer(content[start : start + block], np.uint8)
        whole = len(part) // (8 * _SIDE) * (8 * _SIDE)
        table = part[:whole].view(np.uint64).reshape(-1, _SIDE)
        for sums in (np.add.reduce(table, 1), np.add.reduce(table, 0), part[whole:]):
            found = zlib.crc32(sums.data, found)
    return found
