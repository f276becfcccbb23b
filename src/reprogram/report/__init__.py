"""Reports: one self-contained HTML file, pictures first."""

from reprogram.report.page import write_report

__all__ = ["write_report"]
