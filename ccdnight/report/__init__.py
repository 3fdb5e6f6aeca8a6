"""The report of a night: one HTML file that needs nothing else."""

from ccdnight.report.writing import prepare_report, write_report

__all__ = ["prepare_report", "write_report"]
