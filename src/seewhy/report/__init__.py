"""Results to one self-contained HTML page."""

from seewhy.report.entry import Entry
from seewhy.report.numbers import Mean, Plot
from seewhy.report.page import render, write_report

__all__ = ["Entry", "Mean", "Plot", "render", "write_report"]
