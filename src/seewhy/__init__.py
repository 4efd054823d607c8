"""SeeWhy explains the decisions of vision models.

`load` a model, `explain` an input, `evaluate` the explanation; everything is imported on first use, so that
`import seewhy` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seewhy import concepts, methods, metrics, targets
    from seewhy.attribution import Attribution
    from seewhy.errors import SeeWhyError
    from seewhy.execution import Execution
    from seewhy.models.loading import load
    from seewhy.models.model import Model
    from seewhy.models.preprocessing import Preprocessing
    from seewhy.verbs import benchmark, evaluate, explain, list_methods, list_metrics, open

__version__ = "0.1.0"

_HOMES = {
    "Attribution": "seewhy.attribution",
    "Execution": "seewhy.execution",
    "Model": "seewhy.models.model",
    "Preprocessing": "seewhy.models.preprocessing",
    "SeeWhyError": "seewhy.errors",
    "benchmark": "seewhy.verbs",
    "evaluate": "seewhy.verbs",
    "explain": "seewhy.verbs",
    "list_methods": "seewhy.verbs",
    "list_metrics": "seewhy.verbs",
    "load": "seewhy.models.loading",
    "open": "seewhy.verbs",
}
_ROOMS = ("concepts", "methods", "metrics", "targets")

__all__ = [
    "Attribution",
    "Execution",
    "Model",
    "Preprocessing",
    "SeeWhyError",
    "benchmark",
    "concepts",
    "evaluate",
    "explain",
    "list_methods",
    "list_metrics",
    "load",
    "methods",
    "metrics",
    "open",
    "targets",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"seewhy.{name}")
    raise AttributeError(f"module 'seewhy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
