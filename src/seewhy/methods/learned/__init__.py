"""Explainers that are trained once for one model and then answer in one pass."""
