"""The samples of a plan, as every worker and the run itself see them."""

from __future__ import annotations

from seewhy.inputs.datasets import Dataset, for_model, open_dataset
from seewhy.models.model import Model
from seewhy.runs.plan import TRUTH, Plan


def samples_of(plan: Plan, model: Model) -> Dataset:
    """Return the data set of a plan; where each sample's own class is asked for, with classes of the model.

    Raises
    ------
    BadInput
        As `open_dataset` and `for_model` do.
    """
    data = open_dataset(plan.data)
    return for_model(data, model.labels) if plan.target == TRUTH and "target" in data.offers else data
