"""`reprogram report`: write a finished run's report anew."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reprogram.cli.console import emit


def report_command(run: Path, /, *, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Write report.html into a finished run's folder, from its result.

    Args:
        run: the run folder.
        json: print where it is as JSON.
    """
    from reprogram.report.page import write_report

    path = write_report(run)
    if json:
        emit({"report": str(path)})
    else:
        print(path)
    return 0
