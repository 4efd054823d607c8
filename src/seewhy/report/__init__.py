"""Results to one self-contained HTML page."""

from seewhy.report.numbers import Mean, Plot
from seewhy.report.page import render, write_report
from seewhy.report.sections import Entry

__all__ = ["Entry", "Mean", "Plot", "render", "write_report"]
