"""Weights: a number that changes when they do, and whether they are sound, which is asked when it has."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors

from seewhy.inputs.batch import all_finite
from seewhy.models.untouched import parts

_TOGETHER = 1 << 24
"""Elements that one check on an accelerator looks at: few launches, and little memory."""
_SMALL = 1 << 16
"""Bytes of a weight below which it is looked at together with others."""
_SIDE = 256
"""Words of eight bytes in a row of large weights, and rows in a block."""
_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Sweep:
    """One look at all weights, still under way on accelerators.

    Parameters
    ----------
    parts
        For some weights each: a check sum that depends on every bit and its place; a number, or an int64
        tensor.
    """

    parts: tuple[int | Tensor, ...]

    def settle(self) -> tuple[int, ...]:
        """Return the check sums."""
        waiting = [p for p in self.parts if isinstance(p, Tensor)]
        arrived = iter(torch.stack(waiting).tolist() if waiting else ())
        return tuple(int(next(arrived)) if isinstance(p, Tensor) else p for p in self.parts)


def sweep(module: nn.Module) -> Sweep:
    """Begin to look at all parameters and buffers; an accelerator works on while the caller does."""
    looks: list[int | Tensor] = []
    alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for t in parts(module)[1]:
        alike.setdefault((t.device, t.dtype), []).append(t)
    with torch.no_grad():
        for (device, dtype), tensors in alike.items():
            if device.type == "cuda" and dtype.itemsize in _WHOLE and not dtype.is_complex:
                looks += [_check_sum(group) for group in _groups(tensors)]
            else:
                small = [t for t in tensors if t.nbytes < _SMALL]
                looks += [zlib.crc32(_bytes_of(_flatten_dense_tensors(small)))] if small else []
                looks += [_digits(_bytes_of(t.detach())) for t in tensors if t.nbytes >= _SMALL]
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


def _groups(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    group: list[Tensor] = []
    held = 0
    for t in tensors:
        if group and held + t.numel() > _TOGETHER:
            yield group
            group, held = [], 0
        group.append(t)
        held += t.numel()
    yield group


def _check_sum(group: list[Tensor]) -> Tensor:
    """Return the check sum of tensors of one type, on their device."""
    flat = _flatten_dense_tensors(group)
    bits = flat.view(_WHOLE[flat.element_size()]).long()
    place = torch.arange(1, len(bits) + 1, device=flat.device)
    # Odd factors, one a place: no change of one element, and hardly an exchange of two, leaves the sum as is.
    total: Tensor = (bits * (place * _GOLDEN | 1)).sum()
    return total
