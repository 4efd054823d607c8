"""The activation functions as torch calls them, whether a module or plain code calls."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

RELU: set[Any] = {functional.relu, torch.relu, Tensor.relu}
RELU_IN_PLACE: set[Any] = {functional.relu_, torch.relu_, Tensor.relu_}
RELU6: set[Any] = {functional.relu6, functional.hardtanh, functional.hardtanh_}
OTHERS: dict[Any, str] = {
    f: name
    for name, functions in {
        "GELU": (functional.gelu,),
        "SiLU": (functional.silu,),
        "Mish": (functional.mish,),
        "ELU": (functional.elu, functional.elu_),
        "SELU": (functional.selu, functional.selu_, torch.selu, torch.selu_),
        "CELU": (functional.celu, functional.celu_, torch.celu, torch.celu_),
        "LeakyReLU": (functional.leaky_relu, functional.leaky_relu_),
        "RReLU": (functional.rrelu, functional.rrelu_, torch.rrelu, torch.rrelu_),
        "PReLU": (functional.prelu, torch.prelu, Tensor.prelu),
        "Softplus": (functional.softplus,),
        "Hardswish": (functional.hardswish,),
        "GLU": (functional.glu,),
    }.items()
    for f in functions
}
"""Activations that stand where a ReLU might stand and for which the papers give no rule."""
GATES: set[Any] = {
    torch.sigmoid,
    Tensor.sigmoid,
    functional.sigmoid,
    functional.hardsigmoid,
    torch.tanh,
    Tensor.tanh,
}
"""Elementwise functions that usually gate or squash."""
