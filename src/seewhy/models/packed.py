"""Packed convolutions: oneDNN's kernels for processors, with weights in its own order and a rectifier inside.

torch brings the weights of a convolution into oneDNN's order anew with every pass, and pads and rectifies in
passes over memory of their own; on two cores these trips take a tenth to a third of what small networks need.
Packed, the weights are brought there once, and oneDNN pads and rectifies while it writes. Which rectifier
follows which convolution is found by watching one pass, and how a convolution of a foreign class pads by
trying; names and places of modules stay. Whether the result is true is for the caller to test, as with any
replica.

The kernels have no gradient and know plain tensors only. Whoever asks for more, or comes with inputs of
another size, is answered by the convolution and the rectifier themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

Margins: TypeAlias = tuple[int, int, int, int]
"""Cells that are added left, right, above and below."""

_KERNELS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
    nn.Hardswish: ("hardswish", []),
}
"""Rectifiers that oneDNN knows: its name and numbers for them."""
_ALIKE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
"""Largest distance of what a convolution is thought to do, as a part of the length of its result."""


class PackedConvolution(nn.Module):
    """A convolution and the rectifier behind it.

    Parameters
    ----------
    convolution
        Frozen, its weights in single precision or bf16.
    rectifier
        One of those that oneDNN knows; None where none follows.
    size
        `(c, h, w)` of the inputs that it is packed for.
    margins
        Zeros around the input.
    """

    def __init__(
        self, convolution: nn.Conv2d, rectifier: nn.Module | None, size: Sequence[int], margins: Margins
    ) -> None:
        super().__init__()
        self.convolution, self.rectifier = convolution, rectifier
        self.size, self.dtype = torch.Size(size), convolution.weight.dtype
        left, right, above, below = margins
        self.even = left == right and above == below
        """Whether the kernel can pad."""
        self.margins = margins
        self.at = ([above, left] if self.even else [0, 0], *_steps(convolution), convolution.groups)
        self.after = (*(("none", []) if rectifier is None else _KERNELS[type(rectifier)]), "")
        grown = self.size if self.even else (size[0], size[1] + above + below, size[2] + left + right)
        weight = convolution.weight.detach()
        pack: Any = torch.ops.mkldnn._reorder_convolution_weight
        # In a tuple, since modules look at the storage of tensors that they are given, and this one has none.
        self.packed: tuple[Tensor] = (pack(weight, *self.at, [1, *grown]),)

    def forward(self, x: Tensor) -> Tensor:
        """Return `rectifier(convolution(x))`."""
        plain = type(x) is not Tensor or x.shape[1:] != self.size or x.dtype != self.dtype
        if plain or x.device.type != "cpu" or (x.requires_grad and torch.is_grad_enabled()):
            y: Tensor = self.convolution(x)
            return y if self.rectifier is None else self.rectifier(y)
        if not self.even:
            x = functional.pad(x, self.margins)
        kernel: Any = torch.ops.mkldnn._convolution_pointwise
        done: Tensor = kernel(x, self.packed[0], self.convolution.bias, *self.at, *self.after)
        return done


def able() -> bool:
    """Tell whether this torch has the kernels: they are inductor's, and not promised to anyone else."""
    wanted = ("_convolution_pointwise", "_reorder_convolution_weight")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in wanted)


def pack(module: nn.Module, x: Tensor, shown: Sequence[str] = ()) -> int:
    """Pack, in place, the convolutions of a network, and return how many took a rectifier in.

    Where none does, nothing is packed: large convolutions gain nothing by that alone.

    Parameters
    ----------
    module
        In evaluation mode, frozen, folded.
    x
        `(n, c, h, w)` inputs that it takes.
    shown
        Names of layers whose outputs stay as they are: no rectifier goes in front of them.

    Raises
    ------
    Exception
        Whatever a network raises that cannot be run, or has convolutions that oneDNN does not take.
    """
    seen = _Watched(module, x, [module.get_submodule(name) for name in shown])
    if not seen.rectifiers:
        return 0
    made = {
        id(c): PackedConvolution(c, seen.rectifiers.get(id(c)), size, margins)
        for c, size, margins in seen.convolutions
    }
    gone = {id(r) for r in seen.rectifiers.values()}
    for parent in list(module.modules()):
        if isinstance(parent, PackedConvolution):
            continue
        for name, child in list(parent.named_children()):
            if id(child) in made:
                setattr(parent, name, made[id(child)])
            elif id(child) in gone:
                setattr(parent, name, nn.Identity())
    return len(seen.rectifiers)


class _Watched:
    """What one pass shows: convolutions that can be packed, and rectifiers that they can take in."""

    def __init__(self, module: nn.Module, x: Tensor, shown: Sequence[nn.Module]) -> None:
        self.convolutions: list[tuple[nn.Conv2d, torch.Size, Margins]] = []
        self.rectifiers: dict[int, nn.Module] = {}
        """By the convolution's id."""
        calls: dict[int, int] = {}
        sources: dict[int, nn.Conv2d] = {}
        alive: list[Tensor] = []  # tensors are kept, so that ids stay unique
        takes: dict[int, list[tuple[nn.Module, nn.Conv2d | None]]] = {}

        def watch(m: nn.Module, args: Any, output: Any) -> None:
            calls[id(m)] = calls.get(id(m), 0) + 1
            if isinstance(m, nn.Conv2d):
                margins = _margins(m, args[0], output)
                if margins is not None:
                    self.convolutions.append((m, args[0].shape[1:], margins))
                    sources[id(output)] = m
                    alive.append(output)
            else:
                takes.setdefault(id(m), []).append((m, sources.pop(id(args[0]), None)))

        def spare(_: nn.Module, args: Any, output: Any) -> None:
            sources.pop(id(output), None)

        with _watching(module, watch, shown, spare), torch.no_grad():
            module(x)
        self.convolutions = [entry for entry in self.convolutions if calls[id(entry[0])] == 1]
        once = {id(c) for c, _, _ in self.convolutions}
        for found in takes.values():
            if all(source is not None and id(source) in once for _, source in found):
                self.rectifiers.update({id(source): m for m, source in found})


@contextmanager
def _watching(
    module: nn.Module, watch: Callable[..., None], shown: Sequence[nn.Module], spare: Callable[..., None]
) -> Iterator[None]:
    """Watch convolutions and rectifiers; these work on copies meanwhile, so that results are seen whole."""
    with ExitStack() as stack:
        for m in module.modules():
            if isinstance(m, nn.Conv2d) or type(m) in _KERNELS:
                stack.callback(m.register_forward_hook(watch).remove)
            if isinstance(m, nn.ReLU | nn.ReLU6 | nn.SiLU | nn.Hardswish) and m.inplace:
                stack.callback(setattr, m, "inplace", True)
                m.inplace = False
        for m in shown:  # behind the others, so that what they found is there
            stack.callback(m.register_forward_hook(spare).remove)
        yield


def _margins(m: nn.Conv2d, x: Tensor, output: Tensor) -> Margins | None:
    """Return how a convolution pads with zeros; None for one that does anything else."""
    if x.ndim != 4 or "weight" not in m._parameters or x.dtype not in _ALIKE:
        return None
    (down, across), (apart_down, apart_across) = _steps(m)
    high, wide = m.kernel_size
    tall = (output.shape[2] - 1) * down + apart_down * (high - 1) + 1 - x.shape[2]
    broad = (output.shape[3] - 1) * across + apart_across * (wide - 1) + 1 - x.shape[3]
    above, left = max(tall, 0) // 2, max(broad, 0) // 2
    tries = [(left, max(broad, 0) - left, above, max(tall, 0) - above)]
    if not isinstance(m.padding, str):
        tries.insert(0, (m.padding[1], m.padding[1], m.padding[0], m.padding[0]))
    for margins in tries:
        y = functional.conv2d(functional.pad(x, margins), m.weight, m.bias, m.stride, 0, m.dilation, m.groups)
        if y.shape == output.shape:
            gap, length = (float(t.float().norm()) for t in (y - output, output))
            if gap <= _ALIKE[x.dtype] * length:
                return margins
    return None


def _steps(m: nn.Conv2d) -> tuple[list[int], list[int]]:
    return list(m.stride), list(m.dilation)
