"""Photos in numbers, from the user's own files: one module a layout of folders or annotations."""

from seewhy.inputs.datasets.base import DATASETS, Category, Dataset, Sample, fingerprint
from seewhy.inputs.datasets.opening import for_model, open_dataset

__all__ = ["DATASETS", "Category", "Dataset", "Sample", "fingerprint", "for_model", "open_dataset"]
