"""Metrics with parameters in their names, and several variants of one in a table."""

from __future__ import annotations

import pytest

import networks
import seewhy
from seewhy.errors import BadInput, UnknownName
from seewhy.metrics.base import METRICS
from seewhy.metrics.evaluation import evaluate
from seewhy.metrics.faithfulness.average_drop import AverageDrop
from seewhy.metrics.faithfulness.deletion import Deletion
from seewhy.metrics.robustness.jpeg_stability import JPEGStability
from seewhy.metrics.variants import class_of, labels, metric_of
from seewhy.report.numbers import means, plots


def test_names_with_parameters() -> None:
    assert metric_of("deletion") == Deletion()
    assert metric_of("deletion?steps=5&operator=blur:20&units=slic:30") == Deletion(5, "blur:20", "slic:30")
    assert metric_of("average_drop?keep=15") == AverageDrop(keep=15.0)
    assert metric_of("jpeg_stability?qualities=60+20") == JPEGStability((60, 20))
    assert metric_of("jpeg_stability?qualities=60") == JPEGStability((60,))
    assert metric_of("deletion?steps=5", steps=9, draws=3) == Deletion(5)
    assert metric_of("deletion", steps=9, draws=3) == Deletion(9)
    for cls in METRICS:
        assert metric_of(cls.name) == cls()


def test_refusals() -> None:
    with pytest.raises(UnknownName, match="deletion"):
        metric_of("deletionn?steps=5")
    with pytest.raises(UnknownName, match="steps"):
        metric_of("deletion?step=5")
    for wrong in ("deletion?steps=many", "deletion?steps=2.5", "deletion?steps=true",
                  "jpeg_stability?qualities=a+b"):  # fmt: skip
        with pytest.raises(BadInput, match=r"Give (steps|qualities) as in"):
            metric_of(wrong)
    with pytest.raises(BadInput, match="at least 1"):
        metric_of("deletion?steps=0")
    with pytest.raises(BadInput, match="named twice"):
        labels([Deletion(5), Deletion(5)])


def test_variants_stand_beside_each_other() -> None:
    net, x = networks.cnn().eval(), 3 * networks.batch((3, 16, 16), n=2) - 2
    result = seewhy.explain(net, x, "gradient", target=[1, 2])
    kept = ["average_drop", "average_drop?keep=50", "average_drop?keep=15", "deletion?steps=4"]
    table = evaluate(net, x, result, kept)
    assert list(table.higher_is_better) == [*kept[:3], "deletion"]
    assert class_of("average_drop?keep=15") is AverageDrop
    assert table.provenance["metrics"]["average_drop?keep=15"]["keep"] == 15
    for text in kept[:3]:
        alone = evaluate(net, x, result, metric_of(text))
        assert [r.value for r in table if r.metric == text] == [r.value for r in alone]
    by_keep = [[r.value for r in table if r.metric == text and not r.baseline] for text in kept[:3]]
    assert by_keep[0] != by_keep[1] != by_keep[2], "one variant in the place of another would be seen"
    assert {m.metric: m.higher_is_better for m in means(table)} == dict.fromkeys(
        [*kept[:3], "deletion"], False
    )
    curves = evaluate(net, x, result, ["deletion?steps=4", "deletion?steps=8"])
    assert [p.metric for p in plots(curves)] == ["deletion?steps=4", "deletion?steps=8"]
    assert "deletion?steps=8" in str(curves)
