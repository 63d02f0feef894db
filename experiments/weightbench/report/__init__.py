"""The report: one HTML file with every cell of some stores, to look through, to filter and to mail."""

from weightbench.report.write import write_report

__all__ = ["write_report"]
