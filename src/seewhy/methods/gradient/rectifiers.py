"""Another way back through ReLU: what guided backpropagation, deconvnet and Guided Grad-CAM share.

Every call of a torch function passes by while a rule is in force, so that ReLUs are found wherever they are
called: as modules, as functions, in place, many times. The model itself is not touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from seewhy.errors import DoesNotFit
from seewhy.methods.gradient.activations import OTHERS, RELU, RELU6, RELU_IN_PLACE
from seewhy.methods.gradient.slopes import input_slopes
from seewhy.question import Question
from seewhy.types import Batch

Rule: TypeAlias = Literal["guided", "deconvnet"]

_UNRULED_MODULES = (nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU, nn.CELU, nn.LeakyReLU, nn.RReLU, nn.PReLU,
                    nn.Softplus, nn.Hardswish, nn.GLU)  # fmt: skip


class _Rectified(torch.autograd.Function):
    """A ReLU, cut off at `top`, that sends back the positive part of what comes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, top: float, in_place: bool, guided: bool) -> Tensor:
        out = x.clamp_(0, top) if in_place else x.clamp(0, top)
        if in_place:
            ctx.mark_dirty(x)
        if guided:
            ctx.save_for_backward((out > 0) & (out < top))
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = gradients
        back = gradient.clamp_min(0)
        if ctx.saved_tensors:
            back = back * ctx.saved_tensors[0]
        return back, None, None, None


class Rectifiers(TorchFunctionMode):
    """Inside this context every ReLU and ReLU6 sends gradients back by `rule`.

    Parameters
    ----------
    rule
        "guided": the positive part of the gradient, where the ReLU let the signal through. "deconvnet": the
        positive part of the gradient, wherever it comes.
    """

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.guided = rule == "guided"
        self.seen = 0
        """ReLUs that were called."""
        self.unruled: set[str] = set()
        """Other activations that were called."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Let everything but ReLUs pass."""
        kwargs = kwargs or {}
        if func in RELU or func in RELU_IN_PLACE or func in RELU6:
            return self._relu(func, *args, **kwargs)
        if func in OTHERS:
            self.unruled.add(OTHERS[func])
        return func(*args, **kwargs)

    def _relu(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        top, in_place = float("inf"), func in RELU_IN_PLACE or func is functional.hardtanh_
        if func in RELU:
            in_place = _argument("inplace", 1, args, kwargs, False)
        elif func is functional.relu6:
            top, in_place = 6.0, _argument("inplace", 1, args, kwargs, False)
        elif func in RELU6:
            low, top = _argument("min_val", 1, args, kwargs, -1.0), _argument("max_val", 2, args, kwargs, 1.0)
            in_place = in_place or _argument("inplace", 3, args, kwargs, False)
            if low != 0:
                self.unruled.add("Hardtanh")
                return func(*args, **kwargs)
        self.seen += 1
        x = args[0] if args else kwargs["input"]
        return _Rectified.apply(x, float(top), bool(in_place), self.guided)


def _argument(name: str, place: int, args: Any, kwargs: Any, default: Any) -> Any:
    return args[place] if len(args) > place else kwargs.get(name, default)


def rectified_slopes(question: Question, rule: Rule, what: str) -> Batch:
    """Return the `(n, c, *size)` float32 gradients at the inputs with every ReLU ruled by `rule`.

    Raises
    ------
    DoesNotFit
        When the forward pass calls no ReLU, or other activations that the rule says nothing about.
    """
    ruled = Rectifiers(rule)
    with ruled:
        found = input_slopes(question, what)
    if ruled.unruled or not ruled.seen:
        names = ", ".join(sorted(ruled.unruled))
        raise DoesNotFit(
            f"Asked {what} to explain {question.model.name}",
            f"Its forward pass calls {f'{names}, for which the method has no rule' if names else 'no ReLU'}",
            "Choose a method that fits any activation (gradient, smooth_grad, integrated_gradients)",
        )
    return found


def unfit_activations(module: nn.Module) -> str:
    """Return which modules of a network the rules say nothing about, "" where all may fit.

    A look at the modules alone: functions are only seen when they are called.
    """
    names = sorted({type(m).__name__ for m in module.modules() if isinstance(m, _UNRULED_MODULES)})
    return f"its rule is for ReLU; the network has {', '.join(names)}" if names else ""
