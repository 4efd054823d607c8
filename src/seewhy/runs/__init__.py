"""At scale: a plan of samples, methods and metrics, worked off on all there is, interrupted and resumed."""

from seewhy.runs.plan import Choice, Plan

__all__ = ["Choice", "Plan"]
