"""Replica: a copy of a network that gives the same answers sooner, for passes without gradients.

Four changes, none of them to the original. Convolutions get their weights in the order of memory that they
prefer (channels last). Batch normalisation is folded into the convolution before it, which saves reading and
writing every activation once more. What follows a convolution may be done by its kernel (`models.packing`).
And weights may be kept in half precision. Which normalisation follows which convolution is found by watching
one pass, not by names; whether the copy is true is for the caller to test, since a network may look at what a
folded layer returned.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from seewhy.models import cudnn, onednn
from seewhy.models.packing import pack
from seewhy.models.tensor_float import without_tensor_float
from seewhy.models.untouched import hooks_of
from seewhy.types import Json

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True)
class Replica:
    """A copy of a network.

    Parameters
    ----------
    module
        The copy, in evaluation mode and frozen.
    dtype
        Of its weights; beside bf16 what is left of batch normalisation keeps single precision.
    folded
        How many batch normalisations went into convolutions.
    fused
        How many convolutions do what follows them.
    """

    module: nn.Module
    dtype: torch.dtype
    folded: int
    fused: int = 0

    @property
    def facts(self) -> Json:
        """What a result should say of the copy."""
        return {"folded": self.folded, **({"fused": self.fused} if self.fused else {})}

    @cached_property
    def compiled(self) -> Replica:
        """The same copy through `torch.compile`, for batches of one size."""
        fast: Any = torch.compile(self.module, dynamic=False)
        return Replica(fast, self.dtype, self.folded, self.fused)

    def place(self, x: Tensor) -> Tensor:
        """Return `x` as the copy takes it: in its type, and on accelerators in its order of memory."""
        x = x.to(self.dtype) if x.is_cuda else x
        return x.contiguous(memory_format=_order(x)) if x.is_cuda and x.ndim in (4, 5) else x


def replicate(
    module: nn.Module,
    x: Tensor,
    dtype: torch.dtype,
    *,
    fold: bool,
    fuse: bool = False,
    shown: Sequence[str] = (),
) -> Replica:
    """Copy a network.

    Parameters
    ----------
    module
        The network, in evaluation mode.
    x
        `(n, c, *size)` inputs that it takes, to watch a pass on.
    dtype
        Type of the copy's weights.
    fold
        Whether to fold batch normalisation.
    fuse
        Whether to fuse convolutions with what follows them, too.
    shown
        Names of layers whose outputs packing leaves as they are.

    Raises
    ------
    Exception
        Whatever copying or running a network that does not lend itself to it raises.
    """
    twin = copy.deepcopy(module).eval().requires_grad_(False)
    folded = _fold(twin, x[:1]) if fold else 0
    twin.to(dtype)
    if dtype == torch.bfloat16:
        for m in twin.modules():
            if isinstance(m, _BatchNorm):
                m.float()  # eight bits are too few for statistics; kernels take them in single precision
    if x.ndim in (4, 5):
        twin.to(memory_format=_order(x))
    fits = fuse and folded and x.ndim == 4 and packs(x.device)
    with without_tensor_float():  # how convolutions pad is told by what they give
        fused = pack(twin, x[:1].to(dtype), shown) if fits else 0
    return Replica(twin.eval(), dtype, folded, fused)


def packs(device: torch.device) -> bool:
    """Tell whether a device has kernels for convolutions that take in what follows them."""
    return (device.type == "cpu" and onednn.able()) or (device.type == "cuda" and cudnn.able())


def _order(x: Tensor) -> torch.memory_format:
    return torch.channels_last if x.ndim == 4 else torch.channels_last_3d


def _fold(module: nn.Module, x: Tensor) -> int:
    """Fold, in place, every batch normalisation that takes exactly what a convolution just gave."""
    pairs = _pairs(module, x)
    for convolution, norm in pairs:
        _merge(convolution, norm)
    merged = {id(norm): norm for _, norm in pairs}
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in merged:
                setattr(parent, name, _rest(merged[id(child)]))
    return len(pairs)


def _pairs(module: nn.Module, x: Tensor) -> list[tuple[Convolution, _BatchNorm]]:
    outputs: dict[int, tuple[Any, Tensor]] = {}  # the tensors are kept, so that ids stay unique
    found: list[tuple[Convolution, _BatchNorm]] = []
    calls: dict[int, int] = {}

    def watch(m: nn.Module, args: Any, output: Any) -> None:
        calls[id(m)] = calls.get(id(m), 0) + 1
        if isinstance(m, _BatchNorm):
            source = outputs.get(id(args[0])) if args else None
            if source is not None:
                found.append((source[0], m))
        elif isinstance(output, Tensor):
            outputs[id(output)] = (m, output)

    hooked = {id(m) for m in module.modules() if hooks_of(m)}
    with _watching(module, watch), torch.no_grad():
        module(x)
    owners: dict[int, int] = {}
    for m in module.modules():
        for p in m.parameters(recurse=False):
            owners[id(p)] = owners.get(id(p), 0) + 1
    return [
        (convolution, norm)
        for convolution, norm in found
        if calls[id(convolution)] == calls[id(norm)] == 1
        and not {id(convolution), id(norm)} & hooked
        and isinstance(convolution._parameters.get("weight"), nn.Parameter)
        and owners[id(convolution.weight)] == 1
        and norm.running_mean is not None
        and _rest(norm) is not None
        and sum(convolution is c for c, _ in found) == 1
    ]


@contextmanager
def _watching(module: nn.Module, watch: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for m in module.modules():
            if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d | _BatchNorm):
                stack.callback(m.register_forward_hook(watch).remove)
        yield


def _rest(norm: _BatchNorm) -> nn.Module | None:
    """Return what a normalisation does besides normalising; None where that is not known."""
    if type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
        return nn.Identity()
    drop, act = getattr(norm, "drop", None), getattr(norm, "act", None)  # timm's BatchNormAct2d
    return nn.Sequential(drop, act) if isinstance(drop, nn.Module) and isinstance(act, nn.Module) else None


def _merge(convolution: Convolution, norm: _BatchNorm) -> None:
    """Give the convolution the weights with which it does the normalisation's work, too."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = (variance + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    bias = -mean if convolution.bias is None else convolution.bias.double() - mean
    bias = bias * scale + (0 if norm.bias is None else norm.bias.double())
    weight = convolution.weight
    shaped = scale.reshape(-1, *[1] * (weight.ndim - 1))
    convolution.weight = nn.Parameter((weight.double() * shaped).to(weight), requires_grad=False)
    convolution.bias = nn.Parameter(bias.to(weight), requires_grad=False)
