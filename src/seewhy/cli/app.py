"""The tree of commands."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import App

import seewhy
from seewhy.cli import (
    benchmark,
    compare,
    concepts,
    demo,
    doctor,
    evaluate,
    explain,
    lists,
    report,
    studio,
    train,
    watch,
)

HELP = """Where did a vision model look, and can the answer be believed?

Begin with `seewhy demo`, or `seewhy explain cat.jpg`. Results go to stdout and files, notes to stderr. Exit
codes: 0 done, 1 failed, 2 bad input, 130 interrupted."""


def build(tokens: Sequence[str]) -> App:
    """Return the app for one command line.

    `explain` depends on it: the parameters of the method that it names are its flags.
    """
    app = App(name="seewhy", version=seewhy.__version__, help=HELP, help_format="plaintext")
    app.command(demo.demo)
    app.command(explain.command(tokens) if tokens[:1] == ["explain"] else explain.explain, name="explain")
    app.command(train.command(tokens) if tokens[:1] == ["train"] else train.train, name="train")
    app.command(watch.command(tokens) if tokens[:1] == ["watch"] else watch.watch, name="watch")
    for command in (
        compare.compare,
        evaluate.evaluate,
        report.report,
        benchmark.benchmark,
        lists.methods,
        lists.metrics,
        lists.layers,
        doctor.doctor,
    ):
        app.command(command)
    app.command(studio.studio)
    app.command(concepts.GROUP)
    return app


def elsewhere(option: str, tokens: Sequence[str]) -> str:
    """Return whose parameter an unknown option of `explain` is, as a sentence; "" for nobody's."""
    if tokens[:1] != ["explain"]:
        return ""
    owners = explain.owners(option)
    return f" It is a parameter of {', '.join(owners)}, not of {explain.method_in(tokens)}." if owners else ""
