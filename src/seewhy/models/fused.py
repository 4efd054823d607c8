"""Fused convolutions: what follows a convolution is done while its result is written.

After a folded convolution (`models.replica`) come, in most networks, a bias, the sum with a shortcut and a
rectifier. Each is one more trip of all activations through an accelerator's memory; in half precision these
trips take about as long as the convolutions themselves. cuDNN does them in the convolution's own kernel,
without a gradient. Where they follow each other is read off the graph that `torch.fx` traces; a network that
it cannot trace raises, and whether the result is true is for the caller to test, as with any replica. While
it traces, for some tenths of a second, `torch.fx` changes how every module of the process is called: other
threads should not run networks then.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node, symbolic_trace
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from seewhy.batching import is_out_of_memory

_RECTIFIERS = {torch.relu, torch.relu_, functional.relu, functional.relu_, "relu", "relu_"}
_SUMS = {operator.add, operator.iadd, torch.add, "add", "add_", "__add__", "__iadd__"}
_IDLE = (nn.Identity, nn.Dropout, nn.Dropout2d)
"""What does nothing in evaluation mode."""


class FusedConvolution(nn.Module):
    """A convolution, the sum with a shortcut if there is one, and a rectifier.

    Parameters
    ----------
    convolution
        With a bias, padded with zeros.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution
        assert not isinstance(convolution.padding, str)
        self.padding = convolution.padding
        self.able = True
        """Whether cuDNN has a kernel for it, as far as is known."""

    def forward(self, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
        """Return `relu(convolution(x) + shortcut)`."""
        c = self.convolution
        if x.is_cuda and self.able:
            at = (c.stride, self.padding, c.dilation)
            try:
                if shortcut is None:
                    return torch.cudnn_convolution_relu(x, c.weight, c.bias, *at, c.groups)
                return torch.cudnn_convolution_add_relu(x, c.weight, shortcut, 1.0, c.bias, *at, c.groups)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                self.able = False
        y: Tensor = c(x)
        return functional.relu(y if shortcut is None else y + shortcut)


def fuse(module: nn.Module, x: Tensor) -> tuple[nn.Module, int]:
    """Return a network that does the same in fewer kernels, and how many convolutions were fused.

    Parameters
    ----------
    module
        In evaluation mode, folded; the returned network shares its weights and changes some biases.
    x
        `(n, c, h, w)` inputs that it takes.

    Raises
    ------
    Exception
        Whatever tracing a network that does not lend itself to it raises.
    """
    traced = symbolic_trace(module)
    _drop_identities(traced)
    with torch.no_grad():
        ShapeProp(traced).propagate(x)
    count = 0
    for node in list(traced.graph.nodes):
        if _rectifies(traced, node) and (found := _before(traced, node)) is not None:
            convolution, shortcut = found
            if shortcut is not None:
                _take_over_bias(traced, convolution, shortcut)
            _put(traced, node, convolution, shortcut, f"fused_{count}")
            count += 1
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return traced, count


def _drop_identities(traced: GraphModule) -> None:
    for node in list(traced.graph.nodes):
        if node.op == "call_module" and isinstance(traced.get_submodule(str(node.target)), _IDLE):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)


def _rectifies(traced: GraphModule, node: Node) -> bool:
    if node.op == "call_module":
        return type(traced.get_submodule(str(node.target))) is nn.ReLU
    return node.op in ("call_function", "call_method") and node.target in _RECTIFIERS


def _before(traced: GraphModule, node: Node) -> tuple[Node, Node | None] | None:
    """Return the convolution whose result a rectifier takes, and the shortcut that is added to it."""
    source = node.args[0]
    if not isinstance(source, Node) or len(source.users) > 1:
        return None
    if _convolution(traced, source) is not None:
        return source, None
    if source.op not in ("call_function", "call_method") or source.target not in _SUMS or source.kwargs:
        return None
    for convolution, shortcut in _orders(source):
        same = _shape(convolution) == _shape(shortcut) is not None
        if same and _convolution(traced, convolution) is not None and len(convolution.users) == 1:
            return convolution, shortcut
    return None


def _orders(total: Node) -> Iterator[tuple[Node, Node]]:
    """Yield the two terms of a sum in both orders, as far as nobody sees a term that is changed in place."""
    if len(total.args) != 2 or not all(isinstance(a, Node) for a in total.args):
        return
    first, second = total.args
    assert isinstance(first, Node)
    assert isinstance(second, Node)
    yield first, second
    if total.target in (operator.add, torch.add, "add", "__add__") or len(first.users) == 1:
        yield second, first


def _convolution(traced: GraphModule, node: Node) -> nn.Conv2d | None:
    """Return the convolution that a node calls, if it is one that cuDNN fuses and is called once."""
    if node.op != "call_module":
        return None
    module = traced.get_submodule(str(node.target))
    fit = type(module) is nn.Conv2d and module.padding_mode == "zeros" and module.bias is not None
    if not fit or isinstance(module.padding, str):
        return None
    once = len(traced.graph.find_nodes(op="call_module", target=node.target)) == 1
    return module if once and isinstance(module, nn.Conv2d) else None


def _take_over_bias(traced: GraphModule, convolution: Node, shortcut: Node) -> None:
    """Add the bias of a shortcut's convolution here, where it costs nothing."""
    own, other = _convolution(traced, convolution), _convolution(traced, shortcut)
    if own is None or other is None or len(shortcut.users) > 1:
        return
    assert own.bias is not None
    assert other.bias is not None
    total = own.bias.detach().float() + other.bias.detach().float()
    own.bias = nn.Parameter(total.to(own.bias), requires_grad=False)
    other.bias = None


def _put(traced: GraphModule, node: Node, convolution: Node, shortcut: Node | None, name: str) -> None:
    module = _convolution(traced, convolution)
    assert module is not None
    traced.add_submodule(name, FusedConvolution(module))
    given = (convolution.args[0],) if shortcut is None else (convolution.args[0], shortcut)
    with traced.graph.inserting_before(node):
        fused = traced.graph.call_module(name, given)
    fused.meta = dict(node.meta)
    node.replace_all_uses_with(fused)
    chain = [node] if shortcut is None else [node, node.args[0]]
    for used in (*chain, convolution):
        assert isinstance(used, Node)
        traced.graph.erase_node(used)


def _shape(node: Node) -> torch.Size | None:
    return getattr(node.meta.get("tensor_meta"), "shape", None)
