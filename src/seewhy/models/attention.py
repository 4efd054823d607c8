"""Attention of a vision transformer: which tokens mix which, read from any implementation.

Fused kernels never hold the probabilities. Inside `reading` a torch function mode, which lives on this thread
and for the length of the block alone, computes every scaled dot-product attention in its explicit form, and
notes what softmax puts out where a network writes its attention by hand. No module and no setting is touched,
so nothing has to be put back.

`token_attention` finds out by experiment, once a network and input shape, what there is: which of the noted
probabilities are global self-attention between the tokens of one grid and reach the answer, whether the
explicit form gives the network's own answer, and which tokens the answer reads in the end. In the last layer
the rows of those tokens alone have a gradient: the class token's, or all of them behind mean pooling.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from seewhy.errors import DoesNotFit
from seewhy.models.geometry import Probe
from seewhy.models.grids import Grid
from seewhy.models.layers import survey
from seewhy.types import Size

if TYPE_CHECKING:
    from seewhy.models.model import Model
from seewhy.models.untouched import structure

RTOL = 1e-3
"""Largest difference of the explicit form from the network's own, in parts of the answer's largest value."""
_READ = 1e-6
"""Share of the largest gradient above which the answer reads a token."""
_UNUSED = "the answer does not depend on it"
_SOFTMAXES = (functional.softmax, torch.softmax, Tensor.softmax, torch.special.softmax)

# The function behind nn.MultiheadAttention hands itself over to a mode as a whole. This copy does not, so
# that what it calls comes by one by one.
_MULTI_HEAD = types.FunctionType(
    functional.multi_head_attention_forward.__code__,
    {**functional.multi_head_attention_forward.__globals__, "has_torch_function": lambda _tensors: False},
    argdefs=functional.multi_head_attention_forward.__defaults__,
)


@dataclass(frozen=True)
class TokenAttention:
    """The global self-attention of a network, for inputs of one shape.

    Parameters
    ----------
    grid
        How the tokens lie over the input; class, register and distillation tokens are its prefix.
    layers
        Positions in `reading`'s list, in order of execution.
    read
        Tokens that the answer reads behind the last layer.
    blocks
        For each layer the outermost module around it that holds no other attention and puts out the tokens;
        "" where there is none.
    """

    grid: Grid
    layers: tuple[int, ...]
    read: tuple[int, ...]
    blocks: tuple[str, ...]

    @property
    def tokens(self) -> int:
        """How many tokens attend to each other, the prefix included."""
        return self.grid.prefix + prod(self.grid.cells)

    def pick(self, taken: Sequence[Tensor]) -> list[Tensor]:
        """Return the probabilities of the layers, as they were noted: tensors to differentiate by."""
        return [taken[i] for i in self.layers]

    def heads(self, probabilities: Tensor, samples: int) -> Tensor:
        """Return `(samples, heads, tokens, tokens)` of one layer's probabilities or their gradients."""
        return probabilities.reshape(samples, -1, self.tokens, self.tokens)

    def cells(self, tokens: Tensor) -> Tensor:
        """Return `(n, *cells)`: what `(n, tokens)` says of the cells."""
        return self.grid.read(tokens[:, :, None])[:, 0]


@contextmanager
def reading(*, differentiable: bool = False) -> Iterator[list[Tensor]]:
    """Collect the probabilities of every attention computed inside the block, in order.

    Parameters
    ----------
    differentiable
        Make them tensors that gradients can be taken with respect to; the graph starts at the first of them
        where nothing before requires gradients.

    Yields
    ------
    list
        `(n, heads, tokens, tokens)`, or `(n * heads, tokens, tokens)` as some networks have it.
    """
    taken: list[Tensor] = []
    with _Reader(taken.append, differentiable):
        yield taken


def token_attention(model: Model, input_shape: Size) -> TokenAttention:
    """Return what attention a network computes on `(c, *size)` inputs. Kept as long as the network lives.

    Raises
    ------
    DoesNotFit
        For networks without attention between all tokens of one grid (CNNs, windows, pooled tokens), with the
        reason.
    """
    found = _found(model, tuple(input_shape))
    if isinstance(found, str):
        raise DoesNotFit(
            f"Asked for the attention between the tokens of {model.name}",
            f"There is none to read: {found}",
            "Choose a method that needs no attention (grad_cam, rise)",
        )
    return found


def why_none(model: Model, input_shape: Size) -> str:
    """Return why a network has no attention to read on `(c, *size)` inputs, or "" when it has."""
    found = _found(model, tuple(input_shape))
    return found if isinstance(found, str) else ""


def _found(model: Model, input_shape: Size) -> TokenAttention | str:
    if not model.differentiable:
        return "it only runs forward"
    built = structure(model.module)
    known: tuple[Any, TokenAttention | str] | None = model.facts.get(("attention", input_shape))
    if known is not None and known[0] == built:
        return known[1]
    with model.untouched(), torch.inference_mode(False):
        found = _explore(model, input_shape)
    if found != _UNUSED:  # a head of zeros, say, may yet be trained
        model.facts["attention", input_shape] = built, found
    return found


@dataclass
class _Noted:
    """One attention of the experiment and the modules around it, the outermost first."""

    probabilities: Tensor
    around: tuple[str, ...]


@dataclass
class _Trace:
    """What one pass met: attention, and for every module what it put out."""

    noted: list[_Noted] = field(default_factory=list)
    put_out: dict[str, tuple[int, ...]] = field(default_factory=dict)
    inside: list[str] = field(default_factory=list)

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[None]:
        """Keep `inside` and `put_out` up to date while the block runs."""

        def leave(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(_module: nn.Module, _args: Any, raw: Any) -> None:
                self.inside.remove(name)
                first = raw[0] if isinstance(raw, tuple | list) and raw else raw
                if isinstance(first, Tensor):
                    self.put_out[name] = tuple(first.shape)

            return hook

        with ExitStack() as hooks:
            for name, part in module.named_modules():
                enter = part.register_forward_pre_hook(lambda _m, _a, name=name: self.inside.append(name))
                hooks.callback(enter.remove)
                hooks.callback(part.register_forward_hook(leave(name)).remove)
            yield

    def note(self, probabilities: Tensor) -> None:
        self.noted.append(_Noted(probabilities, tuple(self.inside)))


def _explore(model: Model, input_shape: Size) -> TokenAttention | str:
    """Find the attention of a network, or say why there is none to read."""
    x = Probe.of(input_shape).x[:2]
    with torch.no_grad(), reading() as any_at_all:
        model.answer(x[:1])
    if not any_at_all:
        return "its forward pass computes no attention"
    with torch.no_grad():
        own = model.answer(x).output
    trace = _Trace()
    with torch.enable_grad(), trace.watching(model.module), _Reader(trace.note, differentiable=True):
        explicit = model.answer(x).output
    worst = float(
        (explicit.detach() - own).abs().max() / own.abs().max().clamp_min(torch.finfo(own.dtype).tiny)
    )
    if not worst <= max(RTOL, 10 * torch.finfo(own.dtype).eps):
        return f"computed in its explicit form it changes the answer by {worst:.1%}"
    direction = torch.randn(explicit.shape, generator=torch.Generator().manual_seed(1)).to(explicit)
    slopes: Sequence[Tensor | None] = [None] * len(trace.noted)
    if explicit.requires_grad:
        slopes = torch.autograd.grad(
            (explicit * direction).sum(), [noted.probabilities for noted in trace.noted], allow_unused=True
        )
    used = {i: slope for i, slope in enumerate(slopes) if slope is not None and bool(slope.any())}
    if not used:
        return _UNUSED
    square = {i for i in used if used[i].shape[-1] == used[i].shape[-2]}
    if not square:
        return "its tokens attend to others than themselves (pooled tokens)"
    if any(i not in square and i < max(square) for i in used):
        return "its tokens are pooled on the way"
    lengths = {used[i].shape[-1] for i in square}
    if len(lengths) > 1:
        return f"its layers mix different numbers of tokens ({', '.join(map(str, sorted(lengths)))})"
    if any(len(used[i]) != len(x) if used[i].ndim == 4 else len(used[i]) % len(x) for i in square):
        return "its tokens attend to each other within windows only"
    (length,) = lengths
    grids = [layer.grid for layer in survey(model, input_shape) if layer.grid is not None]
    grid = next((g for g in grids if g.layout == "tokens" and g.prefix + prod(g.cells) == length), None)
    if grid is None:
        cells = next((g.cells for g in grids if prod(g.cells) == length), None)
        if cells is None:
            return f"no layer has a grid of its {length} tokens (windows, for example)"
        grid = Grid("tokens", cells)
    layers = tuple(sorted(square))
    rows = used[layers[-1]].reshape(-1, length, length).abs().amax((0, 2))
    read = tuple((rows > _READ * rows.max()).nonzero().flatten().tolist())
    return TokenAttention(grid, layers, read, _blocks(trace, layers, (len(x), length)))


def _blocks(trace: _Trace, layers: Sequence[int], tokens: tuple[int, int]) -> tuple[str, ...]:
    around = [trace.noted[i].around for i in layers]
    held = [name for path in around for name in path]

    def block(path: tuple[str, ...]) -> str:
        own = (
            name
            for name in path
            if name and held.count(name) == 1 and trace.put_out.get(name, ())[:2] == tokens
        )
        return next(own, "")

    return tuple(block(path) for path in around)


class _Reader(TorchFunctionMode):
    """Hands every attention's probabilities to `take`; see `reading`."""

    def __init__(self, take: Callable[[Tensor], None], differentiable: bool) -> None:
        super().__init__()
        self.take, self.differentiable = take, differentiable

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one torch function, attention in its explicit form."""
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            with self:
                return _MULTI_HEAD(*args, **kwargs)
        out = func(*args, **kwargs)
        if func in _SOFTMAXES and out.ndim in (3, 4):
            dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
            if dim in (-1, out.ndim - 1):
                # A copy flows on: what follows may write into it.
                return self._note(out).clone()
        return out

    def _note(self, probabilities: Tensor) -> Tensor:
        if self.differentiable and not probabilities.requires_grad:
            probabilities = probabilities.detach().requires_grad_()
        self.take(probabilities)
        return probabilities

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Return softmax(scale * query key^T + mask) value."""
        if enable_gqa:
            repeats = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
        # Fused kernels add up halves in single precision, too.
        kind, wide = query.dtype, torch.promote_types(query.dtype, torch.float32)
        query, key, value = query.to(wide), key.to(wide), value.to(wide)
        logits = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            logits = logits.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            logits = logits + attn_mask
        probabilities = self._note(logits.softmax(-1))
        mixed: Tensor = functional.dropout(probabilities, dropout_p) @ value
        return mixed.to(kind)
