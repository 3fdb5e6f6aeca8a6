"""The report of a night: one HTML file that needs nothing else."""

from ccdnight.report.writing import write_report

__all__ = ["write_report"]
