"""Concepts with a known effect: `python -m benchmarks.concept_truth`."""
