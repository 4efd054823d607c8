"""TensorFloat-32: what accelerators may do instead of single precision, switched off where digits count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def without_tensor_float() -> Iterator[None]:
    """Run the block in true single precision: TensorFloat-32's noise would hide whether a copy is true."""
    libraries: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    try:
        allowed = [library.allow_tf32 for library in libraries]
    except RuntimeError:  # set through torch's newer switches, which these must not be mixed with
        libraries, allowed = [], []
    try:
        for library in libraries:
            library.allow_tf32 = False
        yield
    finally:
        for library, was in zip(libraries, allowed, strict=True):
            library.allow_tf32 = was
