"""How it is explained. One method, one file; its head is its page."""

from __future__ import annotations

from typing import Any

from seewhy.methods.base import METHODS, Cost, Estimate, Method, Paper

__all__ = ["METHODS", "Cost", "Estimate", "Method", "Paper"]


def __getattr__(name: str) -> Any:
    """Find a method's class by its name in Python (`GradCAM`): no list to keep."""
    if not name.startswith("_"):
        for cls in METHODS:
            if cls.__name__ == name:
                return cls
    raise AttributeError(f"module 'seewhy.methods' has no attribute {name!r}")
