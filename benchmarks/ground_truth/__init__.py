"""Where the evidence is known, do maps find it: `python -m benchmarks.ground_truth`."""
