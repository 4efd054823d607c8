"""Can the metrics be believed: measures of metrics, from the table of an evaluation."""

from seewhy.metrics.meta.friedman import Friedman, critical_difference, friedman
from seewhy.metrics.meta.krippendorff import krippendorff_alpha
from seewhy.metrics.meta.outcomes import Outcomes, outcomes
from seewhy.metrics.meta.paired import Comparison, comparisons, holm, sign_flip, wilcoxon
from seewhy.metrics.meta.reliability import Reliability, metric_reliability

__all__ = [
    "Comparison",
    "Friedman",
    "Outcomes",
    "Reliability",
    "comparisons",
    "critical_difference",
    "friedman",
    "holm",
    "krippendorff_alpha",
    "metric_reliability",
    "outcomes",
    "sign_flip",
    "wilcoxon",
]
