"""Photos in numbers, from the user's own files: one module a layout of folders or annotations."""

from seewhy.inputs.datasets.base import DATASETS, Dataset, Sample, open_dataset

__all__ = ["DATASETS", "Dataset", "Sample", "open_dataset"]
