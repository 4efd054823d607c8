"""Read or replace what a layer puts out, and leave no trace.

A tap is a forward hook that lives as long as its `with` block. The tapped tensor and the one that flows on
are different objects, so that in-place operations behind the layer (an in-place ReLU, say) cannot change what
was read, and gradients reach the tapped tensor all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

from torch import Tensor, nn

from seewhy.errors import UnknownName
from seewhy.models.outputs import pick, swap

Edit: TypeAlias = Callable[[Tensor], Tensor]


def find_layer(module: nn.Module, name: str) -> nn.Module:
    """Return the submodule called `name` (as `named_modules` spells it).

    Raises
    ------
    UnknownName
        With the nearest names.
    """
    try:
        if name:
            return module.get_submodule(name)
    except AttributeError:
        pass
    layers = [known for known, _ in module.named_modules() if known]
    do = "" if layers else "This model has no layers to choose from"
    raise UnknownName("layer", name, layers, do=do)


@contextmanager
def read(
    module: nn.Module, layers: Sequence[str], *, differentiable: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of `layers` during forward passes inside the block.

    Parameters
    ----------
    module
        The network.
    layers
        Names as in `module.named_modules()`. A layer called several times in one pass keeps its last output.
    differentiable
        Make each tapped output a tensor that gradients can be taken with respect to. Where nothing before the
        layer requires gradients, the graph starts at the layer: the part before it costs a plain forward
        pass.

    Yields
    ------
    dict
        Filled by each forward pass: layer name to its output tensor, `(n, ...)`, in order of execution.
    """
    taken: dict[str, Tensor] = {}

    def tap(name: str) -> Edit:
        def take(output: Tensor) -> Tensor:
            if differentiable and not output.requires_grad and output.is_floating_point():
                output = output.detach().requires_grad_()
            taken.pop(name, None)  # the last call counts, and its place in the order
            taken[name] = output
            return output.clone()

        return take

    with replace(module, {name: tap(name) for name in layers}):
        yield taken


@contextmanager
def replace(module: nn.Module, edits: Mapping[str, Edit]) -> Iterator[None]:
    """Inside the block, let each named layer put out `edit(output)` instead of `output`."""
    with ExitStack() as hooks:
        for name, edit in edits.items():

            def hook(_module: nn.Module, _args: Any, output: Any, edit: Edit = edit) -> Any:
                return swap(output, edit(pick(output)))

            handle = find_layer(module, name).register_forward_hook(hook)
            hooks.callback(handle.remove)
        yield
