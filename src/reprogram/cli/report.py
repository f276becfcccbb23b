"""`reprogram report`: write a finished run's report anew."""

from pathlib import Path


def report_command(run: Path) -> int:
    """Write report.html into a finished run's folder, from its result.

    Args:
        run: the run folder.
    """
    from reprogram.report import write_report

    print(write_report(run))
    return 0
