"""Can I believe it: measures of an explanation, each beside its baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seewhy.metrics.base import METRICS, Metric, Scored

if TYPE_CHECKING:
    from seewhy.metrics.meta import metric_reliability

__all__ = ["METRICS", "Metric", "Scored", "metric_reliability"]


def __getattr__(name: str) -> Any:
    """Find a metric's class by its name in Python (`Deletion`): no list to keep."""
    if name == "metric_reliability":
        from seewhy.metrics.meta import metric_reliability

        return metric_reliability
    if not name.startswith("_"):
        for cls in METRICS:
            if cls.__name__ == name:
                return cls
    raise AttributeError(f"module 'seewhy.metrics' has no attribute {name!r}")
